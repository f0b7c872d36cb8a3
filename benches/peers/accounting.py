#!/usr/bin/env python3
"""Times this crate, dp-accounting and Opacus on the same privacy questions in one run.

    python3 benches/peers/accounting.py [--out TABLE.md]

The first time it makes a virtual environment with the pinned peers in target/peers. Our side is
`cargo bench -p burn-dp-accounting`, release, one thread; the peers run in one Python process with one
thread each. Medians are compared. Every answer is printed next to its time, because a fast wrong
answer is not worth a ratio.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "target" / "peers"
# Opacus's accountants need neither torch nor Opacus's other dependencies.
PINNED = [["dp-accounting==0.6.0"], ["--no-deps", "opacus==1.6.0"]]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

# What our benchmarks are called, and the question in words.
QUESTIONS = [
    ("rdp_epsilon_1e4", "ε, Rényi, 10,000 steps"),
    ("pld_epsilon_1e4", "ε, loss distribution, 10,000 steps"),
    ("pld_epsilon_1e6", "ε, loss distribution, 1,000,000 steps"),
    ("rdp_calibrate", "noise for ε = 2, Rényi, 1,000 steps"),
    ("pld_calibrate", "noise for ε = 2, loss distribution, 1,000 steps"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, help="write the table here as well")
    parser.add_argument("--peers-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peers_only:
        print(json.dumps(peers()))
        return
    ours = run_ours()
    theirs = run_peers()
    table = as_table(ours, theirs)
    print(table)
    if arguments.out:
        arguments.out.write_text(table + "\n")


def run_ours():
    subprocess.run(
        ["cargo", "bench", "--bench", "accounting"],
        cwd=ROOT, check=True, env={**os.environ, **ONE_THREAD}, stdout=sys.stderr,
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    median = lambda name: json.loads(
        (target / "criterion" / "accounting" / name / "new" / "estimates.json").read_text()
    )["median"]["point_estimate"] * 1e-9
    return {name: median(name) for name, _ in QUESTIONS}


def run_peers():
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        for packages in PINNED:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    done = subprocess.run(
        [python, __file__, "--peers-only"],
        check=True, env={**os.environ, **ONE_THREAD}, stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout)


def peers():
    """Seconds and answers by question and peer; runs inside the virtual environment."""
    import dp_accounting as dp
    from dp_accounting.pld import PLDAccountant
    from dp_accounting.rdp import RdpAccountant

    event = lambda sigma=1.0: dp.PoissonSampledDpEvent(0.01, dp.GaussianDpEvent(sigma))

    def google(new, steps):
        return new().compose(event(), steps).get_epsilon(1e-5)

    def google_calibrate(new):
        run = lambda sigma: dp.SelfComposedDpEvent(event(sigma), 1000)
        return dp.calibrate_dp_mechanism(new, run, 2.0, 1e-5, tol=1e-6)

    opacus_rdp, opacus_prv = opacus_accountants()

    def opacus(new, steps):
        accountant = new()
        accountant.history = [(1.0, 0.01, steps)]
        return accountant.get_epsilon(1e-5)

    pld = lambda: PLDAccountant(value_discretization_interval=1e-4)
    questions = {
        "rdp_epsilon_1e4": {
            "dp-accounting": lambda: google(RdpAccountant, 10_000),
            "Opacus": lambda: opacus(opacus_rdp, 10_000),
        },
        "pld_epsilon_1e4": {
            "dp-accounting": lambda: google(pld, 10_000),
            "Opacus": lambda: opacus(opacus_prv, 10_000),
        },
        "pld_epsilon_1e6": {
            "dp-accounting": lambda: google(pld, 1_000_000),
            "Opacus": lambda: opacus(opacus_prv, 1_000_000),
        },
        "rdp_calibrate": {"dp-accounting": lambda: google_calibrate(RdpAccountant)},
        "pld_calibrate": {"dp-accounting": lambda: google_calibrate(pld)},
    }
    return {
        name: {peer: timed(ask) for peer, ask in asked.items()}
        for name, asked in questions.items()
    }


def opacus_accountants():
    """Opacus's accountants without its package's imports of torch."""
    package = types.ModuleType("opacus")
    package.__path__ = list(importlib.util.find_spec("opacus").submodule_search_locations)
    # Its accountants need this module for a type's name only.
    optimizers = types.ModuleType("opacus.optimizers")
    optimizers.DPOptimizer = object
    sys.modules.update({"opacus": package, "opacus.optimizers": optimizers})
    from opacus.accountants.prv import PRVAccountant
    from opacus.accountants.rdp import RDPAccountant

    return RDPAccountant, PRVAccountant


def timed(ask, budget=10.0):
    """[median seconds, answer]: up to five times after one that is not counted, unless that was long."""
    start = time.perf_counter()
    try:
        answer = ask()
    except Exception as error:  # A peer that cannot answer says so in the table.
        return [None, type(error).__name__]
    first = time.perf_counter() - start
    seconds = [first] if first > budget else []
    while len(seconds) < 5 and sum(seconds) < budget:
        start = time.perf_counter()
        answer = ask()
        seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds), float(answer)]


def as_table(ours, theirs):
    lines = [
        f"{platform.processor() or platform.machine()}, one thread, medians; ratio = peer / ours.",
        "",
        "| question (q = 0.01, σ = 1, δ = 1e-5) | burn-dp | dp-accounting 0.6.0 | ratio | Opacus 1.6.0 | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for name, words in QUESTIONS:
        cells = [words, shown(ours[name])]
        for peer in ("dp-accounting", "Opacus"):
            seconds, answer = theirs[name].get(peer, [None, "not offered"])
            if seconds is None:
                cells += [str(answer), ""]
            else:
                cells += [f"{shown(seconds)} ({answer:.4f})", f"{seconds / ours[name]:.0f}x"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shown(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


if __name__ == "__main__":
    main()
