#!/usr/bin/env python3
"""Times training steps of burn-dp, Opacus and jax_privacy side by side, and makes the tables of docs/performance.md.

    python3 benches/peers/steps.py                     every workload, five rounds
    python3 benches/peers/steps.py --only block        one workload
    python3 benches/peers/steps.py --scaling           cost as batch, length and width double
    python3 benches/peers/steps.py --table             only write the tables and the plot

Each figure is the median over rounds. In a round every library takes its turn, in a process of its own: the same
model, shapes, f32, number of threads, SGD. Every process is a line of docs/performance.csv; running again adds
rounds. The first time, virtual environments with the pinned peers are made in target/.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from process import THREADS

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "benches" / "peers"
RUNS = ROOT / "docs" / "performance.csv"
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
TORCH = ["torch==2.15.0", "opacus==1.6.0"]
JAX = ["jax==0.10.2", "jax_privacy==2.0.0"]
PLOTS = ["matplotlib==3.11.2"]

# What is trained, by workload. Each pair is a row of the table.
ROWS = {
    "cnn": ("A: CNN, 3 x 32 x 32, batch 64", ["full", "bias"]),
    "block": ("B: transformer block, d = 384, T = 128, batch 16", ["full", "bias"]),
    "encoder": ("C: MiniLM-L6, T = 128, batch 32", ["full", "bias", "lora", "head"]),
    "squeezenet": ("D: SqueezeNet, 96 pixels, batch 32", ["full", "bias"]),
    "lstm": ("E: LSTM, T = 64, d = 256, batch 32", ["full"]),
    "words": ("F: embeddings of 32,000 words, T = 128, batch 64", ["full"]),
}
# Every way to take a step: who, how.
WAYS = [
    ("burn", "ordinary"),
    ("burn", "private"),
    ("torch", "ordinary"),
    ("torch", "ghost"),
    ("torch", "hooks"),
    ("jax", "ordinary"),
    ("jax", "microbatch"),
    ("jax", "vmap"),
]
# Opacus 1.6 has no ghost norms for its LSTM: they fail with an error of shapes.
CANNOT = {("lstm", "torch", "ghost")}
FIELDS = [
    "workload", "train", "library", "mode", "batch", "length", "width", "milliseconds", "first_milliseconds",
    "plan_milliseconds", "start_megabytes", "peak_megabytes", "threads", "machine", "commit", "date",
]  # fmt: skip


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    flags.add_argument("--rounds", type=int, default=5)
    flags.add_argument("--steps", type=int, default=5)
    flags.add_argument("--only", choices=ROWS)
    flags.add_argument("--library", choices=["burn", "torch", "jax"])
    flags.add_argument("--scaling", action="store_true")
    flags.add_argument("--table", action="store_true")
    flags = flags.parse_args()
    if not flags.table:
        programs = {
            "burn": [build()],
            "torch": [environment("peers-torch", TORCH), HERE / "torch_steps.py"],
            "jax": [environment("peers-jax", JAX), HERE / "jax_steps.py"],
        }
        wanted = list(scaling() if flags.scaling else table())
        for number in range(flags.rounds):
            for job in wanted:
                if flags.only in (None, job["workload"]) and flags.library in (None, job["library"]):
                    run(programs, job, flags.steps, number)
    write(read(RUNS))


def table():
    for workload, (_, trains) in ROWS.items():
        for train in trains:
            for library, mode in WAYS:
                # What is not private trains everything: that is what privacy is compared with.
                if (mode != "ordinary" or train == "full") and (workload, library, mode) not in CANNOT:
                    yield {"workload": workload, "train": train, "library": library, "mode": mode}


def scaling():
    """Workload B, from half its size on."""
    for batch, length, width in [(8, 64, 192), (16, 64, 192), (8, 128, 192), (8, 64, 384)]:
        for library, mode in WAYS:
            job = {"workload": "block", "train": "full", "library": library, "mode": mode}
            yield {**job, "batch": batch, "length": length, "width": width}


def build(*flags):
    """The program of the workloads."""
    command = ["cargo", "bench", "-p", "finetune", "--bench", "workloads", "--no-run", "--message-format=json", *flags]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    built = [json.loads(line).get("executable") for line in out.splitlines()]
    return [program for program in built if program][-1]


def environment(name, packages):
    folder = ROOT / "target" / name
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def run(programs, job, steps, number):
    flags = [f"--{name}={value}" for name, value in job.items() if name != "library"]
    command = [*programs[job["library"]], *flags, f"--steps={steps}"]
    threads = {"RAYON_NUM_THREADS": str(THREADS), "PEER_THREADS": str(THREADS)}
    out = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
    name = " ".join(str(value) for value in job.values())
    if out.returncode != 0:
        sys.exit(f"{name} failed:\n{out.stderr[-2000:]}")
    report = json.loads(out.stdout.splitlines()[-1])
    report["milliseconds"] = round(statistics.median(report["milliseconds"]), 2)
    print(f"round {number + 1}: {name}: {report['milliseconds']:.0f} ms, {report['peak_megabytes']:.0f} MB", flush=True)
    line = {"batch": "", "length": "", "width": "", **job, **report, "threads": THREADS, "machine": machine()}
    for field in ["first_milliseconds", "plan_milliseconds", "start_megabytes", "peak_megabytes"]:
        # Only burn-dp makes a plan.
        line[field] = "" if line.get(field) is None else round(line[field], 1)
    append(RUNS, FIELDS, line)


def append(runs, fields, line):
    """Adds a line, with what was measured and when."""
    new = not runs.exists()
    with runs.open("a", newline="") as file:
        writer = csv.DictWriter(file, fields)
        if new:
            writer.writeheader()
        writer.writerow({**line, "commit": commit(), "date": datetime.date.today().isoformat()})


def machine():
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return f"{len(names)} x {names[0] if names else platform.processor()}"


def commit():
    """The commit, and whether anything but docs/, where these programs write, differs from it."""
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if dirty else "")


def read(runs):
    with runs.open(newline="") as file:
        return list(csv.DictReader(file))


def write(runs):
    insert("benches/peers/steps.py", tables(runs))
    draw(runs)


def insert(program, lines):
    """Puts lines in their place in the page."""
    begin, end = f"<!-- made by {program} -->\n", f"<!-- end of {program} -->"
    before, rest = PAGE.read_text().split(begin)
    _, after = rest.split(end)
    PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + after)


def tables(runs):
    yield "\nMilliseconds a step: median over rounds, with the spread between the fastest and the slowest.\n"
    yield "| workload | trained | burn | **burn-dp** | torch | Opacus, ghost | Opacus, hooks | jax | jax_privacy | jax, vmap |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield from by_row(runs, time_cell)
    yield "\nCost of privacy: the private step as a multiple of the same library's ordinary training of everything.\n"
    yield "| workload | trained | **burn-dp** | Opacus, ghost | Opacus, hooks | jax_privacy | jax, vmap | burn-dp / best peer, time |"
    yield "|---|---|---|---|---|---|---|---|"
    yield from overheads(runs)
    yield "\nPeak memory of the whole process in MB, and what of it came after weights and data were there.\n"
    yield "| workload | trained | burn | **burn-dp** | torch | Opacus, ghost | Opacus, hooks | jax | jax_privacy | jax, vmap |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    yield from by_row(runs, memory_cell)
    larger = [run for run in runs if run["width"]]
    if larger:
        yield "\nWorkload B as batch, length and width double, milliseconds a step:\n"
        yield "| batch, T, d | burn | **burn-dp** | torch | Opacus, ghost | Opacus, hooks | jax | jax_privacy | jax, vmap |"
        yield "|---|---|---|---|---|---|---|---|---|"
        shapes = dict.fromkeys((run["batch"], run["length"], run["width"]) for run in larger)
        for shape in shapes:
            mine = [run for run in larger if (run["batch"], run["length"], run["width"]) == shape]
            cells = [time_cell(of(mine, "block", "full", way)) for way in WAYS]
            yield "| " + " | ".join([", ".join(shape), *cells]) + " |"
    machines = sorted({f"{run['machine']}, {run['threads']} threads" for run in runs})
    commits = sorted({run["commit"] for run in runs if run["library"] == "burn"})
    yield f"\nMachine: {'; '.join(machines)}. Commits: {', '.join(commits)}."


def by_row(runs, cell):
    for workload, (title, trains) in ROWS.items():
        for train in trains:
            cells = [cell(of(plain(runs), workload, train, way)) for way in WAYS]
            yield "| " + " | ".join([title, train, *cells]) + " |"


def overheads(runs):
    for workload, (title, trains) in ROWS.items():
        for train in trains:
            times = {way: median(of(plain(runs), workload, train, way)) for way in WAYS}
            base = {way[0]: median(of(plain(runs), workload, "full", way)) for way in WAYS if way[1] == "ordinary"}
            private = [way for way in WAYS if way[1] != "ordinary"]
            ratio = {way: times[way] / base[way[0]] for way in private if times[way] and base[way[0]]}
            cells = [f"{ratio[way]:.2f}" if way in ratio else "" for way in private]
            peers = [times[way] for way in private[1:] if times[way]]
            mine = times[private[0]]
            cells.append(f"{mine / min(peers):.2f}" if mine and peers else "")
            yield "| " + " | ".join([title, train, *cells]) + " |"


def plain(runs):
    return [run for run in runs if not run["width"]]


def of(runs, workload, train, way):
    wanted = (workload, train, *way)
    return [run for run in runs if (run["workload"], run["train"], run["library"], run["mode"]) == wanted]


def median(runs):
    return statistics.median(float(run["milliseconds"]) for run in runs) if runs else None


def time_cell(runs):
    if not runs:
        return ""
    times = [float(run["milliseconds"]) for run in runs]
    return f"{statistics.median(times):.0f} ({min(times):.0f} to {max(times):.0f})"


def memory_cell(runs):
    if not runs:
        return ""
    peak = statistics.median(float(run["peak_megabytes"]) for run in runs)
    start = statistics.median(float(run["start_megabytes"]) for run in runs)
    return f"{peak:.0f}, +{peak - start:.0f}"


def draw(runs):
    """Bars: each private step as a multiple of the same library's ordinary step."""
    python = environment("peers-plot", PLOTS)
    bars = []
    for workload in ROWS:
        base = {way[0]: median(of(plain(runs), workload, "full", way)) for way in WAYS if way[1] == "ordinary"}
        for way in WAYS:
            time = median(of(plain(runs), workload, "full", way))
            if way[1] != "ordinary" and time and base[way[0]]:
                bars.append((workload, " ".join(way), time / base[way[0]], time))
    subprocess.run([python, HERE / "plot.py", PLOT], input=json.dumps(bars), text=True, check=True)


if __name__ == "__main__":
    main()
