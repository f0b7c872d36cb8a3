#!/usr/bin/env python3
"""Flower's own differential privacy on the task of `examples/federated_digits.rs`, at the same ε and δ.

    python3 benches/peers/flower_dp.py [--seeds 3]

Needs `pip install 'flwr[dp]==1.42.0'`. 240 clients share 1,437 digits; a linear classifier (650 weights), 60 rounds, 5 local
steps of SGD at 0.1, δ = 1e-4. Flower's strategies, mods and loop run in this process (`flower_in_process.py`). Our own figures
come from the example itself: build it with `cargo build --release --example federated_digits`. The noise for ε = 8 is what
Flower's accountant says and what ours says (`burn-dp-epsilon`, of `cargo build --release -p burn-dp-accounting --features cli`).
"""

import argparse
import os
import pathlib
import random
import re
import statistics
import subprocess

import numpy as np
from flower_in_process import InProcess, client_app, record
from flwr.app import ConfigRecord
from flwr.clientapp.mod import LocalDpMod, adaptiveclipping_mod, fixedclipping_mod
from flwr.serverapp import (
    GaussianPrivacyEvent,
    NeighboringRelation,
    PrivacyConfig,
    RdpAccountant,
    SamplingMethod,
)
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAvg,
    FedAvgM,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CLIENTS, COHORT, ROUNDS, LOCAL_STEPS = 240, 60, 60, 5
EPSILON, DELTA, CLIP, MOMENTUM = 8.0, 1e-4, 0.5, 0.8


# The task.


def digits(held_out):
    table = np.loadtxt(ROOT / "examples/data/digits.csv", delimiter=",", dtype=np.float32)
    table = table[(np.arange(len(table)) % 5 == 0) == held_out]
    return table[:, :64] / 8 - 1, table[:, 64].astype(int)


IMAGES, LABELS = digits(held_out=False)
HELD_OUT = digits(held_out=True)


def train(weights, client):
    """Five steps on one client's digits: every 240th of them."""
    images, labels = IMAGES[client::CLIENTS], LABELS[client::CLIENTS]
    matrix, bias = weights
    for _ in range(LOCAL_STEPS):
        logits = images @ matrix + bias
        chances = np.exp(logits - logits.max(1, keepdims=True))
        chances /= chances.sum(1, keepdims=True)
        chances[np.arange(len(labels)), labels] -= 1
        gradient = chances / np.float32(len(labels))
        matrix = matrix - np.float32(0.1) * (images.T @ gradient)
        bias = bias - np.float32(0.1) * gradient.sum(0)
    return matrix, bias


def accuracy(weights):
    matrix, bias = weights
    images, labels = HELD_OUT
    return 100 * float(np.mean((images @ matrix + bias).argmax(1) == labels))


def trained(strategy, seed, mods=()):
    """Accuracy after Flower's own loop. Both of its generators are seeded, so a run repeats."""
    random.seed(seed)
    np.random.seed(seed)
    app = client_app(train, mods)
    zeros = record(np.zeros((64, 10), np.float32), np.zeros(10, np.float32))
    ended = strategy.start(InProcess(CLIENTS, app), zeros, ROUNDS, timeout=None, train_config=ConfigRecord({}))
    return accuracy(ended.arrays.to_numpy_ndarrays())


# What noise ε = 8 takes.


def accountant(sampling=SamplingMethod.NO_AMPLIFICATION, limit=None, population=CLIENTS):
    relation = NeighboringRelation.ADD_OR_REMOVE_ONE
    if sampling is SamplingMethod.WITHOUT_REPLACEMENT:
        relation = NeighboringRelation.REPLACE_ONE
    return RdpAccountant(PrivacyConfig(DELTA, population, relation, sampling, limit))


def flower_epsilon(noise, sampling=SamplingMethod.NO_AMPLIFICATION, cohort=COHORT, rounds=ROUNDS):
    ledger = accountant(sampling)
    ledger.compose(GaussianPrivacyEvent(noise, cohort, CLIENTS), rounds)
    return ledger.get_epsilon(DELTA)


def flower_noise(sampling=SamplingMethod.NO_AMPLIFICATION, cohort=COHORT):
    """The least noise multiplier, to four digits, that Flower's accountant takes for ε = 8."""
    low, high = 0.1, 100.0
    while high / low > 1.0001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if flower_epsilon(middle, sampling, cohort) <= EPSILON else (middle, high)
    return high


def our_accountant(*arguments):
    program = next((TARGET / kind / "burn-dp-epsilon" for kind in ("release", "debug")
                    if (TARGET / kind / "burn-dp-epsilon").exists()), None)
    if program is None:
        raise SystemExit("build ours first: cargo build --release -p burn-dp-accounting --features cli")
    return subprocess.run([program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def our_noise(rate):
    said = our_accountant("--sampling-rate", rate, "--steps", ROUNDS, "--delta", DELTA,
                          "--solve", "noise-multiplier", "--epsilon", EPSILON)
    return float(re.search(r"least noise multiplier: ([\d.]+)", said)[1])


def our_epsilon(noise, rate=1.0, rounds=ROUNDS):
    said = our_accountant("--sampling-rate", rate, "--steps", rounds, "--delta", DELTA, "--noise-multiplier", noise)
    return float(re.search(r"best\s+┆\s+([\d.]+)", said)[1])


# The runs.


def fedavg(cohort, momentum):
    share = {"fraction_train": cohort / CLIENTS, "fraction_evaluate": 0.0, "min_train_nodes": cohort}
    return FedAvgM(**share, server_momentum=MOMENTUM) if momentum else FedAvg(**share)


def fixed(noise, cohort=COHORT, momentum=False, accounted=True, kind=DifferentialPrivacyServerSideFixedClipping):
    ledger = lambda: accountant(limit=EPSILON) if accounted else None
    return lambda: kind(fedavg(cohort, momentum), noise, CLIP, cohort, accountant=ledger())


def adaptive(noise, kind, momentum=False):
    return lambda: kind(fedavg(COHORT, momentum), noise, COHORT)


def runs():
    """What is compared: words, noise multiplier, ε by Flower, ε by ours, a strategy, mods."""
    accounted, everybody = flower_noise(), our_noise(1.0)
    poisson, ours = flower_noise(SamplingMethod.POISSON), our_noise(COHORT / CLIENTS)
    client_side = DifferentialPrivacyClientSideFixedClipping
    server_adaptive = DifferentialPrivacyServerSideAdaptiveClipping
    client_adaptive = DifferentialPrivacyClientSideAdaptiveClipping

    def gaussian(noise):
        return f"{flower_epsilon(noise):.2f}", f"{our_epsilon(noise):.2f}"

    unproven = ("refused", "none")
    yield "no privacy, FedAvgM", None, ("", ""), lambda: fedavg(COHORT, True), []
    yield "fixed, server, FedAvg, accountant", accounted, gaussian(accounted), fixed(accounted), []
    yield ("the same, all 240 in each round", accounted, gaussian(accounted), fixed(accounted, CLIENTS), [])
    yield ("the same, noise by our accountant", everybody, gaussian(everybody),
           fixed(everybody, CLIENTS, accounted=False), [])
    yield ("fixed, client, FedAvg, accountant, all 240", accounted, gaussian(accounted),
           fixed(accounted, CLIENTS, kind=client_side), [fixedclipping_mod])
    yield "fixed, server, FedAvgM", accounted, unproven, fixed(accounted, momentum=True, accounted=False), []
    yield ("fixed, server, FedAvgM, all 240", accounted, unproven,
           fixed(accounted, CLIENTS, momentum=True, accounted=False), [])
    yield ("fixed, server, FedAvgM, noise as if Poisson, by Flower", poisson, unproven,
           fixed(poisson, momentum=True, accounted=False), [])
    yield ("fixed, server, FedAvgM, noise as if Poisson, by ours", ours, unproven,
           fixed(ours, momentum=True, accounted=False), [])
    yield "adaptive, server, FedAvg", accounted, unproven, adaptive(accounted, server_adaptive), []
    yield "adaptive, server, FedAvg, noise as if Poisson", poisson, unproven, adaptive(poisson, server_adaptive), []
    yield ("adaptive, client, FedAvg, noise as if Poisson", poisson, unproven,
           adaptive(poisson, client_adaptive), [adaptiveclipping_mod])
    # A client's update may become any other of length 0.5, so the sensitivity is 1.
    yield ("LocalDpMod, ε = 8 in each round", None, ("8 a round", f"{our_epsilon(local_noise(EPSILON)):.0f}"),
           lambda: fedavg(COHORT, True), [LocalDpMod(CLIP, 2 * CLIP, EPSILON, DELTA)])
    whole = local_epsilon(everybody)
    yield (f"LocalDpMod, ε = {whole:.2f} in each round", None, (f"{whole:.2f} a round", "8.00"),
           lambda: fedavg(COHORT, True), [LocalDpMod(CLIP, 2 * CLIP, whole, DELTA)])


def local_noise(epsilon):
    """What LocalDpMod adds, in units of the sensitivity."""
    return float(np.sqrt(2 * np.log(1.25 / DELTA)) / epsilon)


def local_epsilon(noise):
    """The ε that makes LocalDpMod add this noise."""
    return float(np.sqrt(2 * np.log(1.25 / DELTA)) / noise)


def our_example(seed):
    program = next((TARGET / kind / "examples/federated_digits" for kind in ("release", "debug")
                    if (TARGET / kind / "examples/federated_digits").exists()), None)
    if program is None:
        raise SystemExit("build ours first: cargo build --release --example federated_digits")
    environment = {**os.environ, "BURN_DP_SEED": str(seed)}
    said = subprocess.run([program], check=True, capture_output=True, text=True, env=environment).stdout
    return float(re.search(r"([\d.]+) %, digest", said)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(1, parser.parse_args().seeds + 1)
    print("| | noise multiplier | ε by Flower | ε by ours | accuracy, mean | each seed |\n|---|---|---|---|---|---|")

    def row(words, noise, epsilons, accuracies):
        shown = " ".join(f"{each:.1f}" for each in accuracies)
        number = "" if noise is None else f"{noise:.3f}"
        print(f"| {words} | {number} | {' | '.join(epsilons)} | {statistics.mean(accuracies):.1f} | {shown} |", flush=True)

    ours = our_noise(COHORT / CLIENTS)
    row("**burn-dp**, FedAvgM, Poisson cohort of 60", ours, ("not supported", "8.00"), [our_example(seed) for seed in seeds])
    for words, noise, epsilons, strategy, mods in runs():
        try:
            row(words, noise, epsilons, [trained(strategy(), seed, mods) for seed in seeds])
        except Exception as error:
            print(f"| {words} | {noise} | {' | '.join(epsilons)} | {type(error).__name__}: {error} | |", flush=True)


if __name__ == "__main__":
    main()
