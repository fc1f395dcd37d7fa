"""Everything that is published of the CUDA backends, from one command on a machine with a GPU.

    python3 bench/cuda/all.py BENCH [--json FILE] [--quick]

BENCH is quoin_cuda_bench, built with QUOIN_CUTLASS. It checks every result bit for bit before it
times it, and times quoin's kernels, CUTLASS and the dynamic layer on the published grid; then
torch_peers.py times PyTorch and Triton on the same shapes, on the same card. One JSON file; every
row names shape, kernel and microseconds, ours, the planner's pick and the serving engines' choice
are marked. `plot.py` draws it, `table.py` prints it.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import tempfile

import torch
import torch_peers
import triton

LAYERS = [(2048, 2048), (4096, 4096), (28672, 4096), (4096, 14336), (8192, 8192)]
BATCHES = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192]
TORCH_BATCHES = [1, 16, 64, 128, 512, 2048, 8192]  # of these PyTorch and Triton are timed


def picks_of(rows):
    """For every M the planner's pick beside the fastest."""
    shapes = {}
    for row in rows:
        shapes.setdefault((row["n"], row["k"], row["m"]), []).append(row)
    picks = []
    for (n, k, m), candidates in sorted(shapes.items()):
        best = min(candidates, key=lambda row: row["cold_us"])
        pick = next((row for row in candidates if row.get("pick")), best)
        picks.append({"m": m, "n": n, "k": k, "pick": pick["kernel"], "pick_us": pick["cold_us"],
                      "best": best["kernel"], "best_us": best["cold_us"]})
    return picks


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench")
    parser.add_argument("--json", default="bench/results/h200.json")
    parser.add_argument("--quick", action="store_true", help="four shapes, to try it out")
    options = parser.parse_args()
    shapes = [(m, n, k) for n, k in LAYERS for m in BATCHES]
    torch_shapes = [(m, n, k) for n, k in LAYERS for m in TORCH_BATCHES]
    if options.quick:
        shapes = torch_shapes = [(1, 2048, 2048), (128, 2048, 2048), (128, 4096, 4096),
                                 (2048, 4096, 4096)]
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "sweep.json"
        subprocess.run([options.bench, "--sm80", "--json", str(path)] +
                       ["x".join(map(str, s)) for s in shapes], check=True)
        result = json.loads(path.read_text())
        every = [f"{n}x{k}x{8 if options.quick else 256}" for n, k in LAYERS[:2]]
        subprocess.run([options.bench, "--ours", "--rounds", "7", "--json", str(path)] +
                       [word for nkm in every for word in ("--every-m", nkm)], check=True,
                       stdout=subprocess.DEVNULL)
        every_m = picks_of(json.loads(path.read_text())["rows"])
    for m, n, k in torch_shapes:
        times = torch_peers.measure(m, n, k, True, (m, n, k) == (128, 2048, 2048))
        torch.cuda.empty_cache()
        result["rows"] += [{"m": m, "n": n, "k": k, "kernel": name, "ours": False,
                            "cold_us": round(time, 3)} for name, time in times.items()]
        best = min((t for name, t in times.items() if name.startswith("triton ")), default=0)
        print(f"{m}x{n}x{k} | fp16 {times.get('fp16', 0):.2f} | fp8 dynamic "
              f"{times.get('fp8 dynamic', 0):.2f} | int_mm dequant "
              f"{times.get('int_mm dequant', 0):.2f} | triton {best:.2f} | seed "
              f"{times.get('seed', 0):.2f}", flush=True)
    smi = subprocess.run(["nvidia-smi", "--query-gpu=driver_version,power.limit",
                          "--format=csv,noheader"], capture_output=True, text=True, check=False)
    driver, _, power = smi.stdout.strip().partition(", ")
    head = {"device": result["device"], "nvidia_driver": driver.splitlines()[0] if driver else "",
            "power_limit": power.splitlines()[0] if power else "", "cuda": torch.version.cuda,
            "torch": torch.__version__, "triton": triton.__version__, "cutlass": "4.2.0",
            "date": datetime.date.today().isoformat(), "read_tb_s": result["read_tb_s"],
            "how": "CUDA-graph replays, cold: operand sets rotated through more than twice the L2 "
                   "cache; products above 15 Gop: each timing after 50 ms of the same kernel "
                   "(power limit); median; microseconds"}
    with open(options.json, "w") as file:
        text = json.dumps({**head, "every_m": [], "rows": []}, indent=1)
        for name, rows in (("every_m", every_m), ("rows", result["rows"])):
            lines = ",\n  ".join(json.dumps(row) for row in rows)
            text = text.replace(f'"{name}": []', f'"{name}": [\n  {lines}\n ]')
        file.write(text + "\n")


if __name__ == "__main__":
    main()
