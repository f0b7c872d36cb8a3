"""Draws docs/performance.svg from the bars that benches/peers/steps.py sends to its standard input."""

import json
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

NAMES = {
    "burn private": "burn-dp",
    "torch ghost": "Opacus, ghost clipping",
    "torch hooks": "Opacus, hooks",
    "jax microbatch": "jax_privacy",
    "jax vmap": "jax, vmap by hand",
}


def main():
    bars = json.load(sys.stdin)
    workloads = list(dict.fromkeys(workload for workload, *_ in bars))
    matplotlib.rcParams.update({"svg.hashsalt": "burn-dp", "svg.fonttype": "none"})
    figure, (relative, absolute) = plt.subplots(1, 2, figsize=(11, 4))
    for place, (way, name) in enumerate(NAMES.items()):
        mine = {workload: (ratio, time) for workload, who, ratio, time in bars if who == way}
        x = [index + 0.16 * (place - 2) for index, workload in enumerate(workloads) if workload in mine]
        relative.bar(x, [mine[w][0] for w in workloads if w in mine], 0.15, label=name)
        absolute.bar(x, [mine[w][1] for w in workloads if w in mine], 0.15, label=name)
    relative.axhline(1.0, color="black", linewidth=0.8)
    relative.set_title("private step / the library's own ordinary step")
    absolute.set_title("private step, milliseconds")
    for axes in (relative, absolute):
        axes.set_yscale("log")
        axes.set_xticks(range(len(workloads)), workloads)
        axes.spines[["top", "right"]].set_visible(False)
    relative.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
