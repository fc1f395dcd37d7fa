"""Prints a results file of all.py as Markdown: one row a shape, and what it adds up to.

    python3 bench/cuda/table.py bench/results/h200-2026-12-01.json
"""
import json
import math
import statistics
import sys
from collections import defaultdict


def mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def fastest(rows):
    """Microseconds of the fastest. Where rounds were written down (large products, whose times vary
    by a percent or two) by cross-validation: the fastest by the odd rounds takes its time from the
    even ones and the other way round, because the least of many medians is too small.
    What is far slower was timed once or twice."""
    timed = [r for r in rows if "rounds_us" in r]
    if not timed:
        return min(r["cold_us"] for r in rows)
    times = []
    for half in (0, 1):
        best = min(timed, key=lambda r: statistics.median(r["rounds_us"][half::2]))
        times.append(statistics.median(best["rounds_us"][1 - half::2]))
    return mean(times)


def summarise(timed):
    """One dict a shape, in the order of N x K and M."""
    shapes = defaultdict(list)
    for row in timed:
        shapes[(row["n"] * row["k"], row["n"], row["k"], row["m"])].append(row)
    for (_, n, k, m), rows in sorted(shapes.items()):
        quoin = [r for r in rows if r["ours"] and r["kernel"] != "sm80" and
                 not r["kernel"].startswith("quantise")]
        named = {r["kernel"]: r["cold_us"] for r in rows}

        def first(prefix, suffix=""):
            return min((r["cold_us"] for r in rows if r["kernel"].startswith(prefix) and
                        r["kernel"].endswith(suffix)), default=None)

        pick = next((r for r in quoin if r.get("pick")), None)

        yield {"m": m, "n": n, "k": k, "wrong": sum(not r.get("right", True) for r in quoin),
               "pick": pick, "plain": named[pick["kernel"].removesuffix(" >")],
               "best": min(fastest([r for r in quoin if r["kernel"].endswith(" >") == dependent])
                           for dependent in {r["kernel"].endswith(" >") for r in quoin}),
               "cutlass": fastest([r for r in rows if r["kernel"].startswith("cutlass") and
                                   not r["kernel"].endswith(" >")]),
               "cutlass_dependent": first("cutlass", " >"),
               "serving": next((r["cold_us"] for r in rows if r.get("serving")), None),
               "triton": first("triton "),
               "dynamic": next((r["cold_us"] for r in rows if r.get("dynamic")), None),
               "fp16": named.get("fp16"), "fp8": named.get("fp8 dynamic"),
               "dequant": named.get("int_mm dequant"), "seed": named.get("seed"),
               "sm80": named.get("sm80")}


def show(value):
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def main():
    results = json.load(open(sys.argv[1], encoding="utf-8"))
    rows = list(summarise(results["rows"]))
    normal = list(summarise(results.get("normal", [])))
    print(f"{results['device']}, driver {results['nvidia_driver']}, {results['date']}, CUDA "
          f"{results['cuda']}, PyTorch {results['torch']}, Triton {results['triton']}, CUTLASS "
          f"{results['cutlass']}; read {results['read_tb_s']} TB/s\n")
    print("| M x N x K | kernel | quoin | as a plain launch | best CUTLASS | ratio | as dependent "
          "launches | vLLM's choice | Triton | int_mm + pass | quantise + multiply | fp16 | fp8 "
          "with quantiser |")
    print("|---" * 13 + "|")
    for r in rows:
        print(f"| {r['m']} x {r['n']} x {r['k']} | {r['pick']['kernel']} | "
              f"{show(r['pick']['cold_us'])} | {show(r['plain'])} | {show(r['cutlass'])} | "
              f"{r['pick']['cold_us'] / r['cutlass']:.3f} | {show(r['cutlass_dependent'])} | "
              f"{show(r['serving'])} | {show(r['triton'])} | {show(r['dequant'])} | "
              f"{show(r['dynamic'])} | {show(r['fp16'])} | {show(r['fp8'])} |")

    def judge(what, pairs):
        ratios = [ours / theirs for ours, theirs in pairs]
        print(f"{what}: geometric mean {mean(ratios):.3f}, worst {max(ratios):.3f}, over 1.02 in "
              f"{sum(q > 1.02 for q in ratios)} of {len(ratios)}")

    print()
    judge("as the library launches, over the best CUTLASS in plain launches",
          [(r["pick"]["cold_us"], r["cutlass"]) for r in rows])
    judge("both in plain launches", [(r["plain"], r["cutlass"]) for r in rows])
    judge("as the library launches, over CUTLASS launched whichever way is faster",
          [(r["pick"]["cold_us"], min(r["cutlass"], r["cutlass_dependent"] or math.inf))
           for r in rows])
    judge("as the library launches, over vLLM's choice",
          [(r["pick"]["cold_us"], r["serving"]) for r in rows])
    for codes, timed in (("", rows), (", codes of normal values", normal)):
        if timed:
            judge(f"M >= 2048, N, K >= 4096, over the best CUTLASS{codes}",
                  [(r["pick"]["cold_us"], r["cutlass"]) for r in timed
                   if r["m"] >= 2048 and min(r["n"], r["k"]) >= 4096])
    if normal:
        judge("all of them, codes of normal values",
              [(r["pick"]["cold_us"], r["cutlass"]) for r in normal])
    regrets = [r["pick"]["cold_us"] / r["best"] for r in rows]
    print("regret of what the library runs, over the best kernel launched either way: geometric "
          f"mean {mean(regrets):.4f}, worst {max(regrets):.3f}")
    print(f"results that differ from the plain kernel's: {sum(r['wrong'] for r in rows)}")
    for name in ("fp16", "fp8", "triton", "dequant", "seed"):
        pairs = [(r, r[name]) for r in rows if r[name]]
        ours = [r["dynamic"] if name in ("fp16", "fp8") else r["pick"]["cold_us"]
                for r, _ in pairs]
        lost = [f"{r['m']}x{r['n']}x{r['k']}" for (r, t), o in zip(pairs, ours) if o >= t]
        print(f"{name}: quoin takes {mean([o / t for o, (_, t) in zip(ours, pairs)]):.3f} of its "
              f"time, slower in {len(lost)} of {len(pairs)} {lost}")
    last, jumps = {}, defaultdict(list)
    for row in results.get("every_m", []):
        at = f"{row['n']} x {row['k']}"
        if at in last:
            jumps[at].append((row["pick_us"] / last[at], row["m"]))
        last[at] = row["pick_us"]
    for at, list_ in jumps.items():
        print(f"N x K = {at}: largest jump from one M to the next {max(list_)[0]:.3f}, to "
              f"{max(list_)[1]}")


if __name__ == "__main__":
    main()
