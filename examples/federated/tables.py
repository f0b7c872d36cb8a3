#!/usr/bin/env python3
"""Runs the simulations of docs/federated.md and writes its tables.

    examples/federated/tables.py                  run what is missing, then write the tables
    examples/federated/tables.py --only clients   one table
    examples/federated/tables.py --seeds 1        fewer seeds
    examples/federated/tables.py --table          only write the tables
    examples/federated/tables.py --list           the commands, without running them

Every finished run is a line of docs/federated.jsonl, so that the work can be stopped and gone on with.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RUNS = ROOT / "docs" / "federated.jsonl"
PAGE = ROOT / "docs" / "federated.md"
SEEDS = [1, 2, 3]
EPSILONS = ["none", "8", "3", "1"]

# Tuned on seed 1 with CIFAR-10, 1,000 clients and epsilon 8; elsewhere the clipping norm follows the noise.
HEAD = "--task cifar10 --train head --rounds 100 --local-steps 5"
COHORTS = {300: 300, 1000: 300, 3400: 340}
CLIPPING = {
    (300, "8"): 0.02, (300, "3"): 0.01, (300, "1"): 0.005,
    (1000, "8"): 0.05, (1000, "3"): 0.03, (1000, "1"): 0.01,
    (3400, "8"): 0.1, (3400, "3"): 0.06, (3400, "1"): 0.03,
}
SENTENCES = "--task sentiment --clients 300"
SENTENCES_HEAD = f"{SENTENCES} --train head --cohort 300 --rounds 100 --local-steps 5 --learning-rate 0.02"


def clients():
    for number, cohort in COHORTS.items():
        for epsilon in EPSILONS:
            norm = CLIPPING.get((number, epsilon))
            how = "--clipping-norm 1000 --learning-rate 0.01" if norm is None else f"--clipping-norm {norm} --learning-rate 0.02"
            yield (number, epsilon), f"{HEAD} --clients {number} --cohort {cohort} --epsilon {epsilon} {how}", SEEDS


def everybody():
    """All 1,000 clients in each round: all features, and 200 directions of public inputs."""
    at = f"{HEAD} --clients 1000 --cohort 1000"
    norms = {
        "all 1,280 features": {"none": 1000, "8": 0.05, "3": 0.02, "1": 0.01},
        "200 directions": {"none": 1000, "8": 0.05, "3": 0.02, "1": 0.01},
    }
    for name, norm_of in norms.items():
        for epsilon in EPSILONS:
            rate = 0.01 if epsilon == "none" and name.startswith("all") else 0.02
            how = f"--epsilon {epsilon} --clipping-norm {norm_of[epsilon]} --learning-rate {rate}"
            directions = "" if name.startswith("all") else " --directions 200"
            yield (name, epsilon), f"{at}{directions} {how}", SEEDS


def schedules():
    at = f"{HEAD} --clients 1000 --cohort 300 --learning-rate 0.02"
    for name in ["constant", "falling", "adaptive"]:
        for epsilon in EPSILONS[1:3]:
            norm = CLIPPING[1000, epsilon]
            yield (name, epsilon), f"{at} --schedule {name} --epsilon {epsilon} --clipping-norm {norm}", SEEDS


def sentences():
    for epsilon in EPSILONS[:3]:
        norm = {"none": 0.02, "8": 0.02, "3": 0.01}[epsilon]
        yield ("head", epsilon), f"{SENTENCES_HEAD} --epsilon {epsilon} --clipping-norm {norm}", SEEDS


def networks():
    """What trains the whole network is real work on two cores: few rounds, one step of a client in each."""
    common = "--cohort 30 --rounds 20 --local-steps 1 --length 32 --learning-rate 1"
    server = "--server-optimizer adam --server-learning-rate 0.002 --adaptivity 1e-5"
    for epsilon in EPSILONS[:3]:
        norm = "1000" if epsilon == "none" else "1"
        for train in ["bias", "scores", "lora"]:
            how = f"{common} {server} --epsilon {epsilon} --clipping-norm {norm}"
            yield (train, epsilon), f"{SENTENCES} --train {train} {how}", SEEDS[:1]
    how = f"{common} {server} --epsilon none --clipping-norm 1000"
    yield ("all", "none"), f"{SENTENCES} --train all {how}".replace("0.002", "0.0002"), SEEDS[:1]


def communication():
    at = f"{HEAD} --clients 1000 --cohort 300"
    numbers = 12_810
    for name in ["dense", *(f"quantized:{bits}" for bits in [8, 4, 2, 1]), "top-k:1281", "top-k:128", "random-k:1281"]:
        for epsilon in EPSILONS[:2]:
            norm, rate = (0.05, 0.02) if epsilon == "8" else (1000, 0.01)
            if name.startswith("random-k"):
                # What is kept has so much less length.
                norm = norm * (1281 / numbers) ** 0.5
            how = f"--encoding {name} --epsilon {epsilon} --clipping-norm {norm:.3g} --learning-rate {rate}"
            yield (name, epsilon), f"{at} {how}", SEEDS
    # The bits of everything: accuracies of a single round say nothing, and are left out.
    network = "--train all --cohort 3 --rounds 1 --local-steps 1 --batch 4 --epsilon none --clipping-norm 1000"
    three = network.replace("--rounds 1", "--rounds 3")
    yield ("all of EfficientNet-Lite0", "bits"), f"--task cifar10 --clients 1000 {network}", SEEDS[:1]
    yield ("all of MiniLM-L6", "bits"), f"{SENTENCES} {three}", SEEDS[:1]


def kinds():
    yield from sent("--task cifar10 --clients 1000", "--cohort 300", "--cohort 100", 50)


def twenty():
    yield from sent("--task cifar10 --clients 20", "--cohort 20", "--cohort 20 --batch 128", 20)


def sent(at, cohort, cohort_of_masks, rounds_of_masks):
    for epsilon in EPSILONS[:2]:
        private = epsilon == "8"
        norm, rate = (0.05, 0.02) if private else (1000, 0.01)
        how = f"{cohort} --rounds 100 --epsilon {epsilon} --clipping-norm {norm} --learning-rate {rate}"
        yield ("weights of a head", epsilon), f"{at} {how}", SEEDS
        for aggregation in ["mean", "majority", "posterior"]:
            # A mask of 82,560 bits has norm 144 seen from one half.
            how = f"--kind masks --aggregation {aggregation} {cohort_of_masks} --rounds {rounds_of_masks} --local-steps 10"
            yield (f"masks, {aggregation}", epsilon), f"{at} {how} --epsilon {epsilon} --clipping-norm 144", SEEDS
        norm, rounds = (10, 3) if private else (1000, 10)
        how = f"--kind predictions {cohort} --rounds {rounds} --local-steps 10 --learning-rate 0.02"
        yield ("predictions for 1,000 inputs", epsilon), f"{at} {how} --epsilon {epsilon} --clipping-norm {norm}", SEEDS


def silos():
    """Record level: eight clients, and the same training with all records at one of them."""
    settings = {
        "CIFAR-10, head": ("--task cifar10 --rounds 100", {"8": 0.2, "3": 0.1}, 0.2, SEEDS),
        "sentences, head": ("--task sentiment --rounds 50", {"8": 0.1, "3": 0.05}, 0.3, SEEDS),
    }
    for name, (task, rates, sampling, seeds) in settings.items():
        for epsilon in EPSILONS[1:3]:
            for number in [8, 1]:
                where = f"{name}, {'8 clients' if number == 8 else 'pooled'}"
                how = f"--unit record --alpha 10 --clients {number} --cohort {number} --local-steps 2 --clipping-norm 1"
                how += f" --sampling-rate {sampling} --learning-rate {rates[epsilon]} --epsilon {epsilon}"
                yield (where, epsilon), f"{task} {how}", seeds
                if number == 8:
                    yield (f"{where}, uneven", epsilon), f"{task} {how}".replace("--alpha 10", "--alpha 0.3"), seeds
    network = "--task sentiment --unit record --alpha 10 --rounds 60 --local-steps 1 --clipping-norm 1 --learning-rate 1"
    network += " --length 32 --server-optimizer adam --server-learning-rate 0.002 --adaptivity 1e-5 --sampling-rate 0.1"
    for train in ["bias", "lora"]:
        for epsilon in EPSILONS[1:3]:
            for number in [8, 1]:
                where = f"sentences, {train}, {'8 clients' if number == 8 else 'pooled'}"
                how = f"--train {train} --clients {number} --cohort {number} --epsilon {epsilon}"
                yield (where, epsilon), f"{network} {how}", SEEDS[:1]


TABLES = {
    "clients": clients,
    "everybody": everybody,
    "sentences": sentences,
    "silos": silos,
    "communication": communication,
    "kinds": kinds,
    "twenty": twenty,
    "networks": networks,
    "schedules": schedules,
}
TITLES = {
    "clients": ("clients, expected in a round", "How many clients it takes: a linear head on CIFAR-10, client level"),
    "everybody": ("the head sees", "All 1,000 clients in every round, client level"),
    "sentences": ("trained", "Sentences of 300 clients, client level, all of them in every round"),
    "networks": ("trained", "The same by whole networks, 30 clients in a round, 20 rounds"),
    "communication": ("how updates are written", "Bits: a linear head on CIFAR-10, 1,000 clients, client level"),
    "kinds": ("what is sent", "Weights, masks, predictions: CIFAR-10, 1,000 clients, client level"),
    "twenty": ("what is sent", "The same with 20 clients"),
    "silos": ("where", "Eight institutions, record level"),
    "schedules": ("noise", "The same budget, spent evenly or not: a linear head on CIFAR-10, 1,000 clients, 300 in a round"),
}


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--seeds", type=int, default=len(SEEDS))
    flags.add_argument("--only", choices=TABLES)
    flags.add_argument("--table", action="store_true")
    flags.add_argument("--list", action="store_true")
    flags.add_argument("--program", help="a built `federated`, in place of building it")
    flags = flags.parse_args()
    wanted = [
        (table, list(row), f"{command} --seed {seed}", seed)
        for table, rows in TABLES.items()
        if flags.only in (None, table)
        for row, command, seeds in rows()
        for seed in seeds[: flags.seeds]
    ]
    # One seed of everything first, and what is slow last.
    wanted.sort(key=lambda run: (is_slow(run[2]), run[3]))
    if flags.list:
        for _, _, command, _ in wanted:
            print("federated simulate", command)
        return
    if not flags.table:
        program = flags.program or build()
        done = {(run["table"], run["command"]) for run in read()}
        for table, row, command, seed in wanted:
            if (table, command) not in done:
                simulate(program, table, row, command, seed)
    write(read())


def is_slow(command):
    return "--train" in command and "--train head" not in command


def build():
    subprocess.run(["cargo", "build", "--release", "-p", "federated"], cwd=ROOT, check=True)
    built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "federated"
    # A copy, so that a build that is going on does not change what runs.
    copy = Path(tempfile.mkdtemp()) / "federated"
    copy.write_bytes(built.read_bytes())
    copy.chmod(0o755)
    return copy


def simulate(program, table, row, command, seed):
    print(table, *row, seed, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.jsonl"
        words = [program, "simulate", *shlex.split(command), "--out", out, "--evaluate-every", "1000000"]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = json.loads(out.read_text().splitlines()[-1])
    assert end.pop("kind") == "end"
    line = {"table": table, "row": row, "seed": seed, "command": command, **end}
    with RUNS.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read():
    if not RUNS.exists():
        return []
    return [json.loads(line) for line in RUNS.read_text().splitlines()]


def write(runs):
    begin, end = "<!-- made by examples/federated/tables.py -->\n", "<!-- end -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    _, after = rest.split(end)
    PAGE.write_text(before + begin + "\n".join(pages(runs)) + "\n" + end + after)


def pages(runs):
    for table, rows in TABLES.items():
        mine = [run for run in runs if run["table"] == table]
        if not mine:
            continue
        first, title = TITLES[table]
        columns = [epsilon for epsilon in EPSILONS if any(run["row"][1] == epsilon for run in mine)]
        heads = ["no privacy" if column == "none" else f"ε = {column}" for column in columns]
        yield f"\n### {title}\n\n`examples/federated/tables.py --only {table}`\n"
        yield "| " + " | ".join([first, "numbers", "bits down", "bits up", *heads]) + " |"
        yield "|---" * (len(columns) + 4) + "|"
        for name in dict.fromkeys(row[0] for row, _, _ in rows()):
            of_row = [run for run in mine if run["row"][0] == name]
            if of_row:
                cohort = of_row[0]["settings"]["cohort"]
                label = f"{name:,}, {cohort:.0f}" if table == "clients" else name
                bits = [f"{of_row[0][f'bits_{way}_per_client_and_round']:,.0f}" for way in ["down", "up"]]
                cells = [cell([run for run in of_row if run["row"][1] == column]) for column in columns]
                yield "| " + " | ".join([label, f"{of_row[0]['parameters']:,}", *bits, *cells]) + " |"


def cell(runs):
    values = [100 * run["accuracy"] for run in runs]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f} (1 seed)"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    sys.exit(main())
