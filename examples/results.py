#!/usr/bin/env python3
"""Runs the examples with every method, privacy level and seed, and makes the table of docs/results.md.

    examples/results.py                 run what is missing, then write the table
    examples/results.py --seeds 1       fewer seeds
    examples/results.py --only rotten-tomatoes   one table
    examples/results.py --timing        measure time and memory of a step: on a machine that does nothing else
    examples/results.py --table         only write the table
    examples/results.py --device cuda   what the program takes as --device (build with --features)
    examples/results.py --program P     a built `dp-finetune`, in place of building it
    examples/results.py --plot          docs/results.svg from the runs, with matplotlib

Every finished run is a line of docs/results.jsonl, so that the work can be stopped and gone on with. All runs
of one method share their settings; the seed is the run's only randomness.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "docs" / "results.jsonl"
PAGE = ROOT / "docs" / "results.md"
METHODS = ["none", "full", "head", "bitfit", "lora", "topgrad", "two-phase", "supermask", "supermask-binary"]
SEEDS = [1, 2, 3]
BINARY = ["--method", "supermask", "--mask", "threshold"]
# Runs of about one pass over the data: few steps at one learning rate.
SHORT = "--decay constant --warm-up 0 --average 0"
SHORT_SENTENCES = {
    "none": "--steps 240 --batch 32 --lr 5e-5 --head-lr 1e-3",
    "full": "--steps 15 --batch 500 --lr 2e-4 --head-lr 2e-2",
    "head": "--steps 200 --batch 750 --lr 5e-3",
    "bitfit": "--steps 15 --batch 500 --lr 2e-3 --head-lr 2e-2",
    "lora": "--steps 15 --batch 500 --lr 2e-3 --head-lr 2e-2",
    "topgrad": "--steps 15 --batch 500 --lr 2e-4 --head-lr 2e-2",
    "two-phase": "--steps 200 --batch 500 --lr 1e-3 --head-lr 5e-3",
    "supermask": "--steps 15 --batch 500 --lr 2e-2 --head-lr 2e-2",
    "supermask-binary": "--steps 15 --batch 500 --lr 3e-4 --head-lr 2e-2",
}
SHORT_IMAGES = {"head": "--steps 400 --batch 2000 --lr 3e-3"}
# Without privacy small batches and many steps pay.
NON_PRIVATE = {
    ("sst2", "supermask-binary"): "--steps 240 --batch 32 --head-lr 1e-3",
    ("cifar10", "supermask-binary"): "--steps 470 --batch 64 --lr 1e-4 --head-lr 1e-3",
}
TASKS = {
    "rotten-tomatoes": "Sentence sentiment: MiniLM-L6, the published recipe",
    "cifar10-224": "CIFAR-10: a head on EfficientNet-Lite0 at 224 pixels",
    "sst2": "Sentence sentiment: MiniLM-L6, about one pass",
    "cifar10": "CIFAR-10: SqueezeNet 1.1 at 64 pixels, about one pass",
    "cifar10-efficientnet": "CIFAR-10: EfficientNet-Lite0 at 96 pixels",
}


def words(task, method, epsilon):
    """The command line of a run, without its seed."""
    how = BINARY if method == "supermask-binary" else ["--method", method]
    if epsilon is not None:
        how = [*how, "--epsilon", str(epsilon)]
    elif method != "none":
        how = [*how, "--non-private"]
    if task == "rotten-tomatoes":
        return ["rotten-tomatoes", *how]
    if task == "cifar10-224":
        return ["cifar10", "--backbone", "efficientnet-lite0", "--pixels", "224", *how]
    short = SHORT_SENTENCES if task == "sst2" else SHORT_IMAGES
    if epsilon is None and (task, method) in NON_PRIVATE:
        how += NON_PRIVATE[task, method].split()
    else:
        how += short.get(method, "").split()
    if task == "sst2":
        return ["rotten-tomatoes", *how, *SHORT.split()]
    backbone = "efficientnet-lite0" if task == "cifar10-efficientnet" else "squeezenet"
    return ["cifar10", "--backbone", backbone, *how, *SHORT.split()]


def wanted():
    """The runs of the tables, those that say most first."""
    for seed in SEEDS:
        yield from (("cifar10-224", "head", epsilon, seed) for epsilon in [3, 1, None, 8])
        for epsilon in [8, None, 3]:
            yield from (("rotten-tomatoes", method, epsilon, seed) for method in ["bitfit", "lora", "full", "head"])
        for epsilon in [8, 3, 1]:
            for task in ["sst2", "cifar10", "cifar10-efficientnet"]:
                for method in METHODS:
                    private = method != "none"
                    # The large network runs on two cores with cached features only.
                    if task == "cifar10-efficientnet" and method != "head":
                        continue
                    # Masks are compared at two levels of privacy.
                    if method.startswith("supermask") and epsilon == 1:
                        continue
                    if private or epsilon == 8:
                        yield task, method, epsilon if private else None, seed
            if epsilon == 8:
                # What the same method does without privacy.
                yield from ((task, "head", None, seed) for task in ["sst2", "cifar10", "cifar10-efficientnet"])
                for task in ["sst2", "cifar10"]:
                    yield from ((task, method, None, seed) for method in ["bitfit", "supermask-binary"])


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--seeds", type=int, default=len(SEEDS))
    flags.add_argument("--only", choices=TASKS)
    flags.add_argument("--device", default="cpu")
    flags.add_argument("--timing", action="store_true")
    flags.add_argument("--program", help="a built `dp-finetune`")
    flags.add_argument("--table", action="store_true")
    flags.add_argument("--plot", action="store_true")
    flags = flags.parse_args()
    if flags.plot:
        return plot(read())
    if not flags.table:
        flags.commit = commit()
        program = flags.program or build(flags.device)
        done = {key(run) for run in read() if run["timing"] == flags.timing}
        for task, method, epsilon, seed in wanted():
            if flags.only in (None, task) and seed in SEEDS[: flags.seeds] and (task, method, epsilon, seed) not in done:
                if not flags.timing or (seed == SEEDS[0] and (method == "none" or epsilon == 8)):
                    run(program, flags, task, method, epsilon, seed)
    write_table(read())


def build(device):
    features = [] if device == "cpu" else ["--features", device]
    subprocess.run(["cargo", "build", "--release", "-p", "dp-finetune", *features], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    # A copy, so that a build that is going on does not change what runs.
    program = Path(tempfile.mkdtemp()) / "dp-finetune"
    program.write_bytes((target / "release" / "dp-finetune").read_bytes())
    program.chmod(0o755)
    return program


def run(program, flags, task, method, epsilon, seed):
    private = epsilon is not None
    # What a run leaves until it is finished, so that one that was cut off goes on.
    out = ROOT / "target" / "results" / f"{task}-{method}-{epsilon}-{seed}{'-timing' * flags.timing}"
    command = [program, *words(task, method, epsilon), "--seed", str(seed), "--device", flags.device, "--out", out]
    # A run that is only timed takes a few steps, after those that trace.
    command += ["--steps", "4", "--limit", "7000", "--eval-every", "1000000"] if flags.timing else ["--checkpoint-every", "10"]
    command += ["--resume"] if (out / "state.json").exists() else []
    print(f"{task} {method} epsilon {epsilon} seed {seed}", flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    summary = json.loads((out / "run.json").read_text())
    curve = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    line = {
        "task": task,
        "data": summary["data"],
        "method": method,
        "epsilon": epsilon,
        "spent": summary["epsilon"],
        "delta": summary["args"]["delta"] if private else None,
        "seed": seed,
        "accuracy": summary["accuracy"],
        "curve": [[point["step"], point["accuracy"]] for point in curve],
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
    shutil.rmtree(out)


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
        yield f"\n### {TASKS[task]}\n\nData: {mine[0]['data']}.\n"
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


def plot(runs):
    """Accuracy against epsilon, and against the time of a run, for each method of the published recipe."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams.update({"svg.hashsalt": "burn-dp", "svg.fonttype": "none"})
    mine = [run for run in runs if run["task"] == "rotten-tomatoes" and not run["timing"]]
    figure, (privacy, time) = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for method in METHODS:
        of = {e: [r for r in mine if r["method"] == method and r["epsilon"] == e] for e in [3, 8, None]}
        shown = [(place, of[e]) for place, e in enumerate([3, 8, None]) if of[e]]
        if not shown:
            continue
        mean = [statistics.mean(100 * run["accuracy"] for run in group) for _, group in shown]
        spread = [statistics.pstdev([100 * run["accuracy"] for run in group]) for _, group in shown]
        line = privacy.errorbar([place for place, _ in shown], mean, spread, marker="o", capsize=3, label=method)
        for run in of[8]:
            minutes = run["steps"] * run["seconds_per_step"] / 60
            time.plot(minutes, 100 * run["accuracy"], "o", color=line[0].get_color())
    privacy.set_xticks(range(3), ["ε = 3", "ε = 8", "no privacy"])
    privacy.set_ylabel("held-out accuracy, %")
    privacy.legend(frameon=False)
    time.set_xscale("log")
    time.set_xlabel("minutes of a run at ε = 8, two cores")
    for axes in (privacy, time):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Rotten Tomatoes sentence polarity, MiniLM-L6")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "results.svg", metadata={"Date": None})


if __name__ == "__main__":
    sys.exit(main())
