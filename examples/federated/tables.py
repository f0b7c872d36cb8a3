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


def sentences():
    for epsilon in EPSILONS[:3]:
        norm = {"none": 0.02, "8": 0.02, "3": 0.01}[epsilon]
        yield ("head", epsilon), f"{SENTENCES_HEAD} --epsilon {epsilon} --clipping-norm {norm}", SEEDS


TABLES = {"clients": clients, "sentences": sentences}
TITLES = {
    "clients": ("clients, cohort", "### How many clients privacy needs: a linear head on CIFAR-10"),
    "sentences": ("trained", "### What is trained: sentences of 300 clients"),
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
    # One seed of everything first.
    wanted.sort(key=lambda run: run[3])
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
        columns = sorted({run["row"][1] for run in mine}, key=EPSILONS.index)
        heads = ["no privacy" if column == "none" else f"ε = {column}" for column in columns]
        yield f"\n{title}\n"
        yield "| " + " | ".join([first, "trained numbers", *heads]) + " |"
        yield "|---" * (len(columns) + 2) + "|"
        for name in dict.fromkeys(row[0] for row, _, _ in rows()):
            of_row = [run for run in mine if run["row"][0] == name]
            if of_row:
                cohort = of_row[0]["settings"]["cohort"]
                label = f"{name:,}, {cohort:.0f}" if table == "clients" else name
                cells = [cell([run for run in of_row if run["row"][1] == column]) for column in columns]
                yield "| " + " | ".join([label, f"{of_row[0]['parameters']:,}", *cells]) + " |"


def cell(runs):
    values = [100 * run["accuracy"] for run in runs]
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f} (1 seed)"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


if __name__ == "__main__":
    sys.exit(main())
