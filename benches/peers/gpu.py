#!/usr/bin/env python3
"""Times training steps of burn-dp and Opacus on one NVIDIA GPU, and makes the GPU table of docs/performance.md.

    python3 benches/peers/gpu.py                 every job, three rounds
    python3 benches/peers/gpu.py --seconds 300   as many jobs as fit, the first ones first
    python3 benches/peers/gpu.py --table         only write the table

It needs CUDA's toolkit and driver, a Vulkan driver, and torch with CUDA. Like steps.py, of which it has the models:
every process is a line of docs/performance-gpu.csv. burn chooses its kernels by measuring several of each in
the first steps of a process, which are not counted.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import steps

RUNS = steps.ROOT / "docs" / "performance-gpu.csv"
# A name for the table, and the flags of the job.
JOBS = {
    "C: MiniLM-L6, T = 128, batch 32": {"workload": "encoder"},
    "block, d = 768, T = 1024, batch 16": {"workload": "block", "batch": 16, "length": 1024, "width": 768},
    "C, batch 256": {"workload": "encoder", "batch": 256},
    "B: block, d = 384, T = 128, batch 16": {"workload": "block"},
    "A: CNN, batch 64": {"workload": "cnn"},
    "F: embeddings, batch 64": {"workload": "words"},
    "D: SqueezeNet, batch 32": {"workload": "squeezenet"},
    "E: LSTM, batch 32": {"workload": "lstm"},
}
# Library, mode, device, type: all that is compared with one another. burn's CUDA takes f32 products through the tensor
# cores' TF32 where that is faster, which torch does when it is asked; Vulkan computes them in f32.
BURN = [("burn", "ordinary"), ("burn", "private")]
TORCH = [("torch", "ordinary"), ("torch", "ghost"), ("torch", "hooks")]
GROUPS = [
    [*((*way, "cuda", "f32") for way in BURN), *((*way, "cuda", "tf32") for way in TORCH)],
    [(*way, "vulkan", "f32") for way in BURN],
    [(*way, "cuda", "bf16") for way in BURN + TORCH],
    [(*way, "cuda", "f32") for way in TORCH],
]
FIELDS = [
    "job", "library", "mode", "device", "dtype", "milliseconds", "first_milliseconds", "plan_milliseconds",
    "gpu_megabytes", "machine", "commit", "date",
]  # fmt: skip


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--steps", type=int, default=20)
    flags.add_argument("--seconds", type=float, default=float("inf"), help="no process starts later than this")
    flags.add_argument("--limit", type=float, default=120, help="seconds of one process")
    flags.add_argument("--jobs", nargs="*", default=[""], help="only jobs whose name has one of these")
    flags.add_argument("--program", type=Path, help="the program of the workloads, already built")
    flags.add_argument("--python", default=sys.executable, help="a Python with torch and opacus")
    flags.add_argument("--table", action="store_true")
    flags = flags.parse_args()
    if not flags.table:
        measure(flags)
    steps.insert("benches/peers/gpu.py", table(steps.read(RUNS)))


def measure(flags):
    end = time.monotonic() + flags.seconds
    program = flags.program or steps.build("--features=cuda,vulkan")
    programs = {"burn": [program], "torch": [flags.python, steps.HERE / "torch_steps.py"]}
    wanted = [job for job in JOBS if any(name in job for name in flags.jobs)]
    failed = set()
    for number in range(flags.rounds):
        for group in GROUPS:
            for job in wanted:
                for way in group:
                    left = end - time.monotonic()
                    if left < 0:
                        return
                    if (job, way) in failed:
                        continue
                    library, mode, device, dtype = way
                    run = {**JOBS[job], "mode": mode, "device": device, "dtype": dtype, "steps": flags.steps}
                    command = [*programs[library], *(f"--{name}={value}" for name, value in run.items())]
                    report = take(command, min(flags.limit, left + 20))
                    said = report["error"] if "error" in report else f"{report['milliseconds']:.2f} ms"
                    print(f"round {number + 1}: {job}: {' '.join(way)}: {said}", flush=True)
                    if "error" in report:
                        failed.add((job, way))
                    else:
                        save({"job": job, "library": library, "mode": mode, "device": device, "dtype": dtype, **report})


def take(command, limit):
    """One process: the median of its steps, and the most memory that the GPU had in use meanwhile."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-lms", "200"]
    memory = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return {"error": f"more than {limit:.0f} s"}
    finally:
        memory.terminate()
        used = [float(line) for line in memory.stdout.read().split() if line.strip().isdigit()]
    if out.returncode != 0:
        return {"error": out.stderr[-1500:]}
    report = json.loads(out.stdout.splitlines()[-1])
    return {
        "milliseconds": round(statistics.median(report["milliseconds"]), 3),
        "first_milliseconds": round(report["first_milliseconds"], 1),
        "plan_milliseconds": round(report.get("plan_milliseconds") or 0, 1) or "",
        # What nvidia-smi says is in MiB.
        "gpu_megabytes": round(max(used, default=float("nan")) * 1.048576),
    }


def save(line):
    name = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    steps.append(RUNS, FIELDS, {**line, "machine": name.stdout.strip()})


def table(runs):
    machines = sorted({run["machine"] for run in runs})
    yield f"\nMilliseconds a step on {', '.join(machines)}: the median, and in brackets the GPU memory in use in MB.\n"
    yield "| job | type | burn, CUDA | **burn-dp, CUDA** | burn, Vulkan | **burn-dp, Vulkan** | torch | Opacus, ghost | Opacus, hooks |"
    yield "|---|---|---|---|---|---|---|---|---|"
    columns = [("burn", "ordinary", "cuda"), ("burn", "private", "cuda"), ("burn", "ordinary", "vulkan")]
    columns += [("burn", "private", "vulkan"), *(("torch", mode, "cuda") for mode in ["ordinary", "ghost", "hooks"])]
    for job in JOBS:
        for dtype in ["f32", "tf32", "bf16"]:
            mine = [run for run in runs if (run["job"], run["dtype"]) == (job, dtype)]
            if mine:
                ways = lambda run: (run["library"], run["mode"], run["device"])
                cells = [cell([run for run in mine if ways(run) == way]) for way in columns]
                yield "| " + " | ".join([job, dtype, *cells]) + " |"


def cell(runs):
    if not runs:
        return ""
    middle = lambda field: statistics.median(float(run[field]) for run in runs)
    return f"{middle('milliseconds'):.1f} ({middle('gpu_megabytes'):.0f})"


if __name__ == "__main__":
    main()
