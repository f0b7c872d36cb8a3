#!/usr/bin/env python3
"""What Flower 1.42's own differential privacy refuses, and what it gets wrong: each shown by running it.

    python3 benches/peers/flower_dp_faults.py

Needs `pip install 'flwr[dp]==1.42.0'`. Flower's strategies and loop run in this process (`flower_in_process.py`). A
strategy is asked for a sensitivity of C over 60 replies and for noise of z C over 60; each line says what came out.
"""

import inspect
import math
import random

import flwr.serverapp.strategy as strategies
import numpy as np
from flower_in_process import InProcess, client_app, record, reply
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp.mod import LocalDpMod
from flwr.common.secure_aggregation.quantization import dequantize, quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.serverapp import (
    GaussianPrivacyEvent,
    NeighboringRelation,
    PrivacyConfig,
    RdpAccountant,
    SamplingMethod,
)
from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideFixedClipping,
    DifferentialPrivacyServerSideAdaptiveClipping,
    DifferentialPrivacyServerSideFixedClipping,
    FedAdam,
    FedAvg,
    FedAvgM,
)

COHORT, CLIP, NOISE, DELTA, SIZE = 60, 0.5, 4.5, 1e-4, 20_000
UNIT = CLIP / COHORT  # by how much one client may move the mean


def main():
    for title, checks in (("It refuses", REFUSALS), ("It gets wrong", FAULTS)):
        print(f"\n{title}\n")
        for check in checks:
            print(f"- {inspect.getdoc(check)} {check()}", flush=True)


# Small parts.


def fedavg(nodes=COHORT, kind=FedAvg, **more):
    return kind(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=COHORT, min_available_nodes=nodes, **more)


def ledger(sampling=SamplingMethod.NO_AMPLIFICATION, population=COHORT, limit=None):
    relation = NeighboringRelation.ADD_OR_REMOVE_ONE
    if sampling is SamplingMethod.WITHOUT_REPLACEMENT:
        relation = NeighboringRelation.REPLACE_ONE
    return RdpAccountant(PrivacyConfig(DELTA, population, relation, sampling, limit))


def fixed(noise=NOISE, inner=None, kind=DifferentialPrivacyServerSideFixedClipping, accountant=None):
    return kind(inner or fedavg(), noise, CLIP, COHORT, accountant=accountant)


def run(strategy, behave, rounds=1, nodes=COHORT, seed=7):
    """The model after each round of Flower's loop, from zeros."""
    random.seed(seed)
    np.random.seed(seed)
    after = []

    def look(_round, arrays):
        after.append(arrays.to_numpy_ndarrays()[0])

    start = record(np.zeros(SIZE, np.float32))
    strategy.start(InProcess(nodes, behave), start, rounds, None, ConfigRecord({}), evaluate_fn=look)
    return np.array(after[1:])


def honest(message, _context):
    """Moves one coordinate by 0.1, so that no update is zero."""
    return reply(message, moved(message, {0: 0.1}))


def moved(message, by):
    weights = message.content["arrays"].to_numpy_ndarrays()[0].copy()
    for index, amount in by.items():
        weights[index] += amount
    return [weights]


def one_sends(by):
    """Client 0 moves by `by`, all others honestly."""

    def behave(message, context):
        return reply(message, moved(message, by)) if context.node_config["client"] == 0 else honest(message, context)

    return behave


def error_of(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:110]}" if str(error) else type(error).__name__
    return "no error"


def epsilon(noise, rounds=60):
    accountant = ledger()
    accountant.compose(GaussianPrivacyEvent(noise, COHORT, COHORT), rounds)
    return accountant.get_epsilon(DELTA)


# What it refuses.


def accountant_with_momentum():
    """An accountant with a server optimizer (FedAvgM):"""
    return error_of(lambda: fixed(inner=fedavg(kind=FedAvgM, server_momentum=0.8), accountant=ledger()))


def accountant_with_amplification():
    """An accountant that counts sampling, Poisson and without replacement:"""
    kinds = (SamplingMethod.POISSON, SamplingMethod.WITHOUT_REPLACEMENT)
    return "; ".join(error_of(lambda kind=kind: fixed(accountant=ledger(kind))) for kind in kinds)


def accountant_with_adaptive_clipping():
    """An accountant with adaptive clipping:"""
    return error_of(lambda: DifferentialPrivacyServerSideAdaptiveClipping(fedavg(), NOISE, COHORT, accountant=ledger()))


def accountant_with_unequal_weights():
    """With an accountant, a reply that claims 2 examples where others claim 1 ends the run:"""
    return error_of(lambda: run(fixed(accountant=ledger()), claims(2)))


def budget():
    """With an accountant and `max_epsilon` 2, a run of 60 rounds:"""
    strategy = fixed(accountant=ledger(limit=2.0))
    said = error_of(lambda: run(strategy, honest, 60))
    return f"{said} It had released {strategy.privacy_spent().num_releases} rounds."


def large_noise_with_adaptive_clipping():
    """Adaptive clipping of 60 clients with a noise multiplier of 6 or more:"""
    return error_of(lambda: DifferentialPrivacyServerSideAdaptiveClipping(fedavg(), 6.0, COHORT))


# What it gets wrong.


def zero_update():
    """A client whose update is zero ends the run:"""
    return error_of(lambda: run(fixed(), one_sends({})))


def nan_is_not_clipped():
    """A client that sends NaN in one coordinate and 1,000,000 in another moves that other one by"""
    strategy = fixed(accountant=ledger())
    there = run(strategy, one_sends({1: 1e6, 2: math.nan}))[0]
    spent = strategy.privacy_spent()
    return (f"{there[1] / UNIT:,.0f} times the sensitivity. "
            f"The accountant noted {spent.num_releases} release, ε = {spent.epsilon:.2f}.")


def a_failed_node_discards_the_round():
    """Nodes that fail in 1 of 100 calls: of 60 rounds with 60 nodes, so many moved the model:"""
    chance = random.Random(1)

    def behave(message, context):
        if chance.random() < 0.01:
            return Message(Error(2, "failed"), reply_to=message)
        return honest(message, context)

    strategy = fixed(accountant=ledger())
    run(strategy, behave, 60)
    return f"{strategy.privacy_spent().num_releases}."


def missing_replies():
    """Where 10 of 60 nodes reply, and there is no accountant, one client moves the mean by"""
    def behave(first):
        def answer(message, context):
            client = context.node_config["client"]
            if client >= 10:
                return None
            return reply(message, moved(message, {0: first if client == 0 else 0.1}))
        return answer

    moves = np.linalg.norm(run(fixed(), behave(9.0)) - run(fixed(), behave(1e-9))) / UNIT
    return f"{moves:.2f} times the sensitivity that the noise is for: a multiplier of {NOISE} is one of {NOISE / moves:.2f}."


def claims(examples):
    def behave(message, context):
        first = context.node_config["client"] == 0
        return reply(message, moved(message, {0: 9.0 if first else 0.1}), examples if first else 1)
    return behave


def weights_by_examples():
    """Without an accountant, a client that claims 1,000,000 examples where others claim 1 moves the mean by"""
    without = run(fixed(), one_sends({0: 1e-9}))
    moves = np.linalg.norm(run(fixed(), claims(1_000_000)) - without) / UNIT
    return f"{moves:.1f} times the sensitivity: a multiplier of {NOISE} is one of {NOISE / moves:.2f}."


def client_side_clipping_is_believed():
    """Clipping at clients: one that does not clip and moves by 1,000 moves the mean by"""
    strategy = fixed(kind=DifferentialPrivacyClientSideFixedClipping, accountant=ledger())
    moves = np.linalg.norm(run(strategy, one_sends({1: 1000.0}))[0][1]) / UNIT
    return f"{moves:,.0f} times the sensitivity. The accountant says ε = {strategy.privacy_spent().epsilon:.2f}."


def a_removed_client_is_replaced():
    """The accountant's neighbors add or remove a client, but cohorts have a fixed size, so another takes its place: the mean moves by"""
    def behave(pole):
        def answer(message, context):
            return reply(message, moved(message, {0: pole if context.node_config["client"] == 0 else -CLIP}))
        return answer

    # Client 0 is in the cohort of 60; without it the cohort is 60 of those that are left, who all send the same.
    with_it = run(fixed(), behave(CLIP))
    without_it = run(fixed(), behave(-CLIP))
    moves = np.linalg.norm(with_it - without_it) / UNIT
    sampled = ledger(SamplingMethod.WITHOUT_REPLACEMENT, population=240)
    sampled.compose(GaussianPrivacyEvent(NOISE / 2, COHORT, 240), 60)
    return (f"{moves:.2f} times the sensitivity. By the accountant's own bound, 60 rounds at a multiplier of {NOISE} "
            f"cost {epsilon(NOISE):.2f}; at half of it, {epsilon(NOISE / 2):.2f}, and {sampled.get_epsilon(DELTA):.2f} where "
            "60 of 240 are sampled, which the strategies do not count. What they say is right where a client's update is zeroed.")


def replacement_in_its_accountant():
    """The event of sampling without replacement (replace-one: a sum moves by 2 C) is counted as if it moved by C: with all clients sampled,"""
    replaced = ledger(SamplingMethod.WITHOUT_REPLACEMENT)
    replaced.compose(GaussianPrivacyEvent(NOISE, COHORT, COHORT), 60)
    return (f"60 rounds at multiplier {NOISE} cost {replaced.get_epsilon(DELTA):.2f}, and the plain Gaussian "
            f"{epsilon(NOISE):.2f}. A sum that moves by 2 C costs {epsilon(NOISE / 2):.2f}.")


def optimizer_before_noise():
    """With FedAvgM (0.8) the noise goes on after the optimizer, which remembers sums without noise. One update, in the first of 60 rounds, is seen with"""
    return remembered(FedAvgM, server_momentum=0.8)


def remembered(kind, **settings):
    """How much less noise there is for one update than z says, over all releases.

    Releases w have x = w' - w = β v + ū + n and v = x - n + n', where v is the optimizer's. So y = x - β x' is ū plus noise
    n(t) - β n(t-1) + β n(t-2): undone, it is the original noise, independent from round to round, and what is left of one
    update is its signal.
    """
    beta = settings["server_momentum"]
    one, other = (run(fixed(inner=fedavg(kind=kind, **settings)), once(amount), 60) for amount in (CLIP, -CLIP))
    noise = whitened(other, beta)[1:, 1:]
    signal = whitened(one, beta)[:, 0] - whitened(other, beta)[:, 0]
    seen = np.linalg.norm(signal) / abs(signal[0])
    spread = noise.std() / (NOISE * UNIT)
    return (f"{seen:.2f} times less noise than the multiplier says (noise undone: {spread:.3f} of z C / n); "
            f"a client that takes part more often, with up to {worst(beta):.1f} times less.")


def once(amount):
    def behave(message, context):
        server_round = message.content["config"]["server-round"]
        first = context.node_config["client"] == 0 and server_round == 1
        return reply(message, moved(message, {0: amount if first else 0.01}))
    return behave


def whitened(releases, beta):
    steps = np.diff(np.vstack([np.zeros((1, SIZE)), releases]), axis=0)
    mixed = steps.copy()
    mixed[1:] -= beta * steps[:-1]
    noise = np.zeros_like(mixed)
    for index in range(len(mixed)):
        noise[index] = mixed[index]
        noise[index] += beta * noise[index - 1] if index else 0
        noise[index] -= beta * noise[index - 2] if index > 1 else 0
    return noise


def worst(beta, rounds=60):
    """The largest stretch of any sequence of updates: the norm of the inverse filter over 60 rounds."""
    filter_ = np.eye(rounds) - beta * np.eye(rounds, k=-1) + beta * np.eye(rounds, k=-2)
    return 1 / np.linalg.svd(filter_, compute_uv=False)[-1]


def adaptive_clipping_runs_backwards():
    """Adaptive clipping to the median, all updates of norm 1, 60 rounds: from 0.1 the clipping norm goes to"""
    def unit(message, _context):
        return reply(message, moved(message, {0: 1.0}))

    ends = []
    for initial in (0.1, 10.0):
        strategy = DifferentialPrivacyServerSideAdaptiveClipping(fedavg(), 1.0, COHORT, initial_clipping_norm=initial)
        run(strategy, unit, 60)
        ends.append(strategy.clipping_norm)
    return f"{ends[0]:.4f}, from 10 to {ends[1]:,.0f}: away from the median, 1, on both sides."


def adaptive_noise_is_of_the_next_norm():
    """Adaptive clipping adds noise for the norm of the next round: where all updates were clipped at 0.1, the noise is that of a norm of"""
    strategy = DifferentialPrivacyServerSideAdaptiveClipping(fedavg(), 1.0, COHORT, initial_clipping_norm=0.1)
    after = run(strategy, lambda message, _: reply(message, moved(message, {0: 1.0})))
    norm = after[0][1:].std() * COHORT / strategy.noise_multiplier
    return f"{norm:.4f}: {100 * (1 - norm / 0.1):.1f} % too little."


def noise_is_numpys():
    """Noise is of `np.random.normal`, a Mersenne Twister. After `np.random.seed(7)` in the app, two rounds' noise:"""
    noises = [run(fixed(), honest, seed=7)[0][1:] for _ in range(2)]
    return "equal, bit for bit." if np.array_equal(*noises) else "different."


def a_restart_forgets():
    """An accountant lives in memory. After 60 rounds and a restart it says"""
    strategy = fixed(accountant=ledger())
    run(strategy, honest, 60)
    before, after = strategy.privacy_spent(), fixed(accountant=ledger()).privacy_spent()
    saves = [name for name, kind in vars(strategies).items()
             if inspect.isclass(kind) and "state_dict" in inspect.getsource(inspect.getmodule(kind))]
    return (f"ε = {after.epsilon:.2f} where {before.epsilon:.2f} are spent. `state_dict` exists; "
            f"strategies that call it: {len(saves)}.")


def local_dp_does_not_compose():
    """LocalDpMod with ε = 8: what a client notes after 60 replies:"""
    mod = LocalDpMod(CLIP, 2 * CLIP, 8.0, DELTA)
    app = client_app(lambda weights, _client: [weights[0] + 0.01], [mod])
    context = Context(1, 1, {"client": 0}, RecordDict(), {})
    for _ in range(60):
        app(question(), context)
    multiplier = math.sqrt(2 * math.log(1.25 / DELTA)) / 8
    return f"{dict(context.state) or 'nothing'}. They cost ε = {epsilon(multiplier):.0f}."


def local_dp_takes_any_setting():
    """LocalDpMod takes a sensitivity that has nothing to do with its clipping norm, and δ of 2. Noise with clipping norm 0.5, sensitivity 0:"""
    app = client_app(lambda weights, _client: [weights[0] + 0.001], [LocalDpMod(CLIP, 0.0, 8.0, 1.0)])
    said = app(question(), Context(1, 1, {"client": 0}, RecordDict(), {})).content["arrays"].to_numpy_ndarrays()[0]
    nan = client_app(lambda weights, _client: [weights[0] + 0.001], [LocalDpMod(CLIP, 1.0, 8.0, 2.0)])
    other = nan(question(), Context(1, 1, {"client": 0}, RecordDict(), {})).content["arrays"].to_numpy_ndarrays()[0]
    return f"{said.std():.6f}; with δ = 2 the reply is {'NaN' if np.isnan(other).all() else other[:2]}."


def question():
    content = {"arrays": ArrayRecord({"array-0": Array(np.zeros(SIZE, np.float32))}), "config": ConfigRecord({})}
    return Message(RecordDict(content), 1, "train")


def secagg_clips_silently():
    """SecAgg+ encodes by clipping each coordinate, to 8 by default: 1,000 comes back as"""
    back = dequantize(quantize([np.array([1000.0, 1.0])], 8.0, 1 << 22), 8.0, 1 << 22)[0]
    return f"{back[0]:.1f}, and nothing is said."


def secagg_masks_have_32_bits():
    """SecAgg+ folds a mask's key to 32 bits: two keys that differ in half of their 32 bytes give masks that are"""
    key = bytes(range(32))
    other = key[4:8] + key[:4] + key[8:]
    masks = [pseudo_rand_gen(each, 1 << 32, [(8,)])[0] for each in (key, other)]
    return "equal." if np.array_equal(*masks) else "different."


REFUSALS = [
    accountant_with_momentum, accountant_with_amplification, accountant_with_adaptive_clipping,
    accountant_with_unequal_weights, budget, large_noise_with_adaptive_clipping,
]
FAULTS = [
    nan_is_not_clipped, optimizer_before_noise, adaptive_clipping_runs_backwards, adaptive_noise_is_of_the_next_norm,
    a_removed_client_is_replaced, replacement_in_its_accountant, missing_replies, weights_by_examples,
    client_side_clipping_is_believed, noise_is_numpys, a_restart_forgets,
    local_dp_does_not_compose, local_dp_takes_any_setting, secagg_clips_silently, secagg_masks_have_32_bits,
    zero_update, a_failed_node_discards_the_round,
]

if __name__ == "__main__":
    main()
