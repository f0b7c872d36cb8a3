#!/usr/bin/env python3
"""Runs the examples with every method, privacy level and seed, and makes the table of docs/results.md.

    examples/results.py                 run what is missing, then write the table
    examples/results.py --seeds 1       fewer seeds
    examples/results.py --only sst2     one task
    examples/results.py --timing        measure time and memory of a step: on a machine that does nothing else
    examples/results.py --table         only write the table
    examples/results.py --device cuda   what both programs take as --device (build with --features)

Every finished run is a line of docs/results.jsonl, so that the work can be stopped and gone on with. All runs
of one method share their settings, which are the programs' defaults; the seed is the run's only randomness.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs" / "results.jsonl"
PAGE = ROOT / "docs" / "results.md"
METHODS = ["none", "full", "head", "bitfit", "lora", "topgrad", "two-phase", "supermask", "supermask-binary"]
EPSILONS = [8, 3, 1]
SEEDS = [1, 2, 3]
# The program and the flags of each column of runs.
TASKS = {
    "sst2": ["sst2"],
    "cifar10": ["cifar10", "--backbone", "squeezenet"],
    "cifar10-efficientnet": ["cifar10", "--backbone", "efficientnet-lite0"],
}
BINARY = ["--method", "supermask", "--mask", "threshold"]
# Without privacy small batches and many steps pay.
NON_PRIVATE = {
    ("sst2", "supermask-binary"): "--steps 240 --batch 32 --head-lr 1e-3",
    ("cifar10", "supermask-binary"): "--steps 470 --batch 64 --lr 1e-4 --head-lr 1e-3",
}
TITLES = {
    "sst2": "Sentence sentiment: MiniLM-L6",
    "cifar10": "CIFAR-10: SqueezeNet 1.1 at 64 pixels",
    "cifar10-efficientnet": "CIFAR-10: EfficientNet-Lite0 at 96 pixels",
}


def wanted(seeds):
    """The runs of the table, those that say most first."""
    for seed in seeds:
        for epsilon in EPSILONS:
            for task in TASKS:
                for method in METHODS:
                    private = method != "none"
                    # The large network runs on two cores with cached features only.
                    if task == "cifar10-efficientnet" and method != "head":
                        continue
                    # Masks are compared at two levels of privacy.
                    if method.startswith("supermask") and epsilon == EPSILONS[-1]:
                        continue
                    if private or epsilon == EPSILONS[0]:
                        yield task, method, epsilon if private else None, seed
            if epsilon == EPSILONS[0]:
                # What the same method does without privacy.
                yield from ((task, "head", None, seed) for task in TASKS)
                for task in ["sst2", "cifar10"]:
                    yield from ((task, method, None, seed) for method in ["bitfit", "supermask-binary"])


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--seeds", type=int, default=len(SEEDS))
    flags.add_argument("--only", choices=TASKS)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--timing", action="store_true")
    flags.add_argument("--table", action="store_true")
    flags = flags.parse_args()
    if not flags.table:
        flags.commit = commit()
        programs = build(flags.device)
        done = {key(run) for run in read() if run["timing"] == flags.timing}
        for task, method, epsilon, seed in wanted(SEEDS[: flags.seeds]):
            if flags.only in (None, task) and (task, method, epsilon, seed) not in done:
                if not flags.timing or (seed == SEEDS[0] and (method == "none" or epsilon == EPSILONS[0])):
                    run(programs, flags, task, method, epsilon, seed)
    write_table(read())


def build(device):
    features = [] if device == "cpu" else ["--features", device]
    command = ["cargo", "build", "--release", "-p", "cifar10", "-p", "sst2", *features]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    # A copy, so that a build that is going on does not change what runs.
    folder = Path(tempfile.mkdtemp())
    for name in ["cifar10", "sst2"]:
        (folder / name).write_bytes((target / "release" / name).read_bytes())
        (folder / name).chmod(0o755)
    return folder


def run(programs, flags, task, method, epsilon, seed):
    program, *settings = TASKS[task]
    private = epsilon is not None
    with tempfile.TemporaryDirectory() as out:
        how = BINARY if method == "supermask-binary" else ["--method", method]
        command = [programs / program, *settings, *how, "--seed", str(seed)]
        command += ["--device", flags.device, "--out", out]
        # Only the last accuracy is of interest.
        command += ["--eval-every", "1000000"]
        command += ["--epsilon", str(epsilon)] if private else []
        if not private and method != "none":
            command += ["--non-private", *NON_PRIVATE.get((task, method), "").split()]
        # A run that is only timed takes a few steps, after those that trace.
        command += ["--steps", "4", "--limit", "7000"] if flags.timing else []
        print(f"{task} {method} epsilon {epsilon} seed {seed}", flush=True)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        summary = json.loads((Path(out) / "run.json").read_text())
    line = {
        "task": task,
        "data": summary["data"],
        "method": method,
        "epsilon": epsilon,
        "spent": summary["epsilon"],
        "delta": summary["args"]["delta"] if private else None,
        "seed": seed,
        "accuracy": summary["accuracy"],
        "trained": summary["trained"],
        "parameters": summary["parameters"],
        "steps": summary["steps"],
        "seconds_per_step": summary["seconds_per_step"],
        "peak_megabytes": summary["peak_megabytes"],
        "mask": summary["mask"],
        "device": flags.device,
        "commit": flags.commit,
        "timing": flags.timing,
    }
    with RUNS.open("a") as file:
        file.write(json.dumps(line) + "\n")


def commit():
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def read():
    if not RUNS.exists():
        return []
    return [json.loads(line) for line in RUNS.read_text().splitlines()]


def key(run):
    return run["task"], run["method"], run["epsilon"], run["seed"]


def write_table(runs):
    begin, end = "<!-- made by examples/results.py -->\n", "<!-- end -->"
    page = PAGE.read_text()
    before, rest = page.split(begin)
    _, after = rest.split(end)
    PAGE.write_text(before + begin + "\n".join(tables(runs)) + "\n" + end + after)


def tables(runs):
    for task in TASKS:
        mine = [run for run in runs if run["task"] == task]
        if not mine:
            continue
        yield f"\n### {TITLES[task]}\n\nData: {mine[0]['data']}.\n"
        yield "| method | trained | no privacy | ε = 8 | ε = 3 | ε = 1 | time a step | peak memory |"
        yield "|---|---|---|---|---|---|---|---|"
        for method in METHODS:
            rows = [run for run in mine if run["method"] == method]
            results = [run for run in rows if not run["timing"]]
            if not results:
                continue
            shares = {run["trained"] for run in results}
            trained = " to ".join(f"{n:,}" for n in sorted({min(shares), max(shares)}))
            share = 100 * max(shares) / results[0]["parameters"]
            cells = [accuracy(results, epsilon) for epsilon in [None, 8, 3, 1]]
            timed = [run for run in rows if run["timing"] and run["epsilon"] in (None, 8)]
            timed = sorted(timed, key=lambda run: run["epsilon"] or 0)[-1:]
            time = f"{timed[0]['seconds_per_step']:.2f} s" if timed else ""
            memory = f"{timed[0]['peak_megabytes']:.0f} MB" if timed else ""
            share = f"{share:.0f}" if share > 10 else f"{share:.2g}"
            row = [method, f"{trained} ({share} %)", *cells, time, memory]
            yield "| " + " | ".join(row) + " |"
    yield "\n### Exported masks\n"
    yield from masks([run for run in runs if run.get("mask") and not run["timing"]])
    commits = sorted({run["commit"] for run in runs})
    yield f"\nCommits: {', '.join(commits)}."


def masks(runs):
    yield "| task | ε | scores | kept | bits a weight, raw | bits a weight, coded | file |"
    yield "|---|---|---|---|---|---|---|"
    for task in TASKS:
        for epsilon in [None, 8, 3]:
            mine = [run["mask"] for run in runs if (run["task"], run["epsilon"]) == (task, epsilon)]
            if not mine:
                continue

            def mean(number):
                return statistics.mean(number(mask) for mask in mine)

            cells = [
                task,
                epsilon or "no privacy",
                f"{mine[0]['scores']:,}",
                f"{100 * mean(lambda m: m['kept'] / m['weights']):.1f} %",
                f"{mean(lambda m: m['scores'] / m['weights']):.3f}",
                f"{mean(lambda m: 8 * m['bytes'] / m['weights']):.3f}",
                f"{mean(lambda m: m['bytes']) / 1000:,.0f} kB",
            ]
            yield "| " + " | ".join(map(str, cells)) + " |"


def accuracy(runs, epsilon):
    values = [100 * run["accuracy"] for run in runs if run["epsilon"] == epsilon]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else " (1 seed)"
    if len(values) == 2:
        spread += " (2 seeds)"
    return f"{statistics.mean(values):.1f} %{spread}"


if __name__ == "__main__":
    sys.exit(main())
