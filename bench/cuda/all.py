"""Everything that is published of the CUDA backends, from one command on a machine with a GPU.

    python3 bench/cuda/all.py BENCH [--json FILE] [--part sweep|every-m|torch|normal ...] [--quick]

BENCH is quoin_cuda_bench, built with QUOIN_CUTLASS. On the published grid, every layer with every
batch: BENCH checks quoin's results bit for bit, CUTLASS's to 1/512, and then times quoin's kernels,
CUTLASS and the dynamic layer (sweep); every number of rows from 1 to 256 on two layers (every-m);
torch_peers.py checks and times PyTorch and Triton on the same card (torch); large products once
more, of codes as a quantiser makes them of normal values (normal). One JSON file; every row names
shape, kernel and microseconds; ours, what the library runs (pick, dynamic) and the serving
engines' choice are marked. `plot.py` draws it, `table.py` prints it.

All parts, or those named: then FILE keeps what other parts wrote into it on a card of the
same name and driver. What is to be compared belongs into one run on one card.
"""
import argparse
import datetime
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
import torch_peers
import triton

LAYERS = [(2048, 2048), (4096, 4096), (28672, 4096), (4096, 14336), (8192, 8192)]
BATCHES = [1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 1024, 2048, 4096, 8192]
PARTS = ["sweep", "every-m", "torch", "normal"]
LARGE = 2048  # rows, from which power decides


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


def timed_by(bench, arguments, quiet=False):
    """What BENCH writes for these arguments."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "timed.json"
        subprocess.run([bench, "--json", str(path), *arguments], check=True,
                       stdout=subprocess.DEVNULL if quiet else None)
        return json.loads(path.read_text())


def timed_by_torch(shapes):
    rows = []
    for shape in shapes:
        of_shape = torch_peers.measure(*shape)
        torch.cuda.empty_cache()
        print(torch_peers.line(of_shape), flush=True)
        rows += of_shape
    return rows


def smi(field):
    answer = subprocess.run(["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"],
                            capture_output=True, text=True, check=False).stdout.split("\n")
    return answer[0].strip()


def write(path, result):
    lists = {name: result.pop(name) for name in ("every_m", "normal", "rows")}
    text = json.dumps({**result, **{name: [] for name in lists}}, indent=1)
    for name, rows in lists.items():
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        text = text.replace(f'"{name}": []', f'"{name}": [\n  {lines}\n ]')
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench")
    parser.add_argument("--json", default="bench/results/h200.json")
    parser.add_argument("--part", choices=PARTS, action="append", help="this alone; repeatable")
    parser.add_argument("--quick", action="store_true", help="four shapes, to try it out")
    options = parser.parse_args()
    parts = options.part or PARTS
    shapes = [(m, n, k) for n, k in LAYERS for m in BATCHES]
    if options.quick:
        shapes = [(1, 2048, 2048), (128, 2048, 2048), (128, 4096, 4096), (2048, 4096, 4096)]
    result = {"device": torch.cuda.get_device_name(), "nvidia_driver": smi("driver_version"),
              "power_limit": smi("power.limit"), "cuda": torch.version.cuda,
              "torch": torch.__version__, "triton": triton.__version__, "cutlass": "4.2.0",
              "date": datetime.date.today().isoformat(), "read_tb_s": [], "seconds": {},
              "how": "CUDA-graph replays, cold: operand sets rotated through more than twice the "
                     "L2 cache; products above 15 Gop: each timing after 50 ms of the same kernel "
                     "(power limit); median; microseconds", "every_m": [], "normal": [], "rows": []}
    file = pathlib.Path(options.json)
    if options.part and file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        for key in ("device", "nvidia_driver"):
            if before[key] != result[key]:
                sys.exit(f"{file} is of {key} {before[key]}, this is {result[key]}")
        for key in ("read_tb_s", "seconds", "every_m", "normal", "rows"):
            result[key] = before.get(key, result[key])
    for part in parts:
        start = time.monotonic()
        if part == "sweep":
            sweep = timed_by(options.bench, ["--sm80"] + ["x".join(map(str, s)) for s in shapes])
            result["read_tb_s"] = sweep["read_tb_s"]
            kept = [row for row in result["rows"] if torch_peers.is_ours(row["kernel"])]
            result["rows"] = sweep["rows"] + kept
        elif part == "every-m":
            last = 8 if options.quick else 256
            words = [w for n, k in LAYERS[:2] for w in ("--every-m", f"{n}x{k}x{last}")]
            rows = timed_by(options.bench, ["--ours", "--rounds", "7", *words], True)["rows"]
            result["every_m"] = picks_of(rows)
        elif part == "normal":
            large = ["x".join(map(str, s)) for s in shapes if s[0] >= LARGE]
            result["normal"] = timed_by(options.bench, ["--normal", *large])["rows"]
        else:
            kept = [row for row in result["rows"] if not torch_peers.is_ours(row["kernel"])]
            result["rows"] = kept + timed_by_torch(shapes)
        result["seconds"][part] = round(time.monotonic() - start)
        write(file, dict(result))
        print(f"{part}: {result['seconds'][part]} s", flush=True)


if __name__ == "__main__":
    main()
