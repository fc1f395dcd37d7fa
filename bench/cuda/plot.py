"""Draws a results file of all.py: time over M, a panel a layer, against the card's limit.

    python3 bench/cuda/plot.py bench/results/h200-2026-12-01.json docs/h200.svg

The limit is the longer of reading the weights at the speed that a read loop reached in the same run
and all operations at the tensor cores' peak by the datasheet.
"""
import json
import sys
from collections import defaultdict

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

PEAK = 1979e12  # int8 operations a second, dense, Hopper SXM
LINES = [("quoin, planned", "#c0392b", 2.2), ("CUTLASS, best of 18", "#2c3e50", 1.4),
         ("CUTLASS, vLLM's static choice", "#7f8c8d", 1.4), ("Triton, tuned", "#8e44ad", 1.0),
         ("cuBLASLt int32 + one pass", "#d68910", 1.0), ("fp16 F.linear", "#2980b9", 1.0),
         ("fp8 _scaled_mm, quantiser not counted", "#27ae60", 1.0)]


def series_of(rows):
    """{(n, k): {line: {m: microseconds}}}"""
    panels = defaultdict(lambda: defaultdict(dict))
    best = defaultdict(lambda: 1e30)
    for row in rows:
        shape, name, time = (row["n"], row["k"]), row["kernel"], row["cold_us"]

        def lowest(line, m=row["m"]):
            at = (shape, line, m)
            best[at] = min(best[at], time)
            panels[shape][line][m] = best[at]

        if row.get("pick"):
            lowest("quoin, planned")
        if name.startswith("cutlass") and not name.endswith(" >"):
            lowest("CUTLASS, best of 18")
        if row.get("serving"):
            lowest("CUTLASS, vLLM's static choice")
        if name.startswith("triton "):
            lowest("Triton, tuned")
        if name == "int_mm dequant":
            lowest("cuBLASLt int32 + one pass")
        if name == "fp16":
            lowest("fp16 F.linear")
        if name == "fp8":
            lowest("fp8 _scaled_mm, quantiser not counted")
    return panels


def main():
    results = json.load(open(sys.argv[1], encoding="utf-8"))
    panels = series_of(results["rows"])
    figure, axes = plt.subplots(2, 3, figsize=(13, 7.5))
    by_size = sorted(panels.items(), key=lambda panel: panel[0][0] * panel[0][1])
    for axis, ((n, k), lines) in zip(axes.flat, by_size):
        for name, colour, width in LINES:
            points = sorted(lines[name].items())
            axis.plot([m for m, _ in points], [t for _, t in points], "o-", color=colour,
                      linewidth=width, markersize=width + 0.8, label=name)
        size = n * k
        read = results["read_tb_s"][0 if size < 40e6 else 1] * 1e12
        ms = sorted(lines["quoin, planned"])
        limit = [1e6 * max((size + m * k + 2 * m * n) / read, 2 * m * size / PEAK) for m in ms]
        axis.plot(ms, limit, "--", color="black", linewidth=1, label="limit")
        axis.set(xscale="log", yscale="log", title=f"N = {n}, K = {k}", xlabel="M (rows of x)",
                 ylabel="us, cold")
        axis.set_xscale("log", base=2)
        axis.grid(True, alpha=0.3)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(handles, labels, loc="center", frameon=False)
    figure.suptitle(f"int8 x int8 linear layer, float16 out: {results['device']}, "
                    f"{results['date']}")
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
