"""Times what PyTorch and Triton offer for the same layers, the way bench.cu times quoin.

    python3 bench/cuda/torch_peers.py [--json FILE] [MxNxK ...]

CUDA-graph replays; cold: the calls of a graph walk through operand sets that together exceed twice
the L2 cache. Contenders are interleaved round by round; the median is reported, in microseconds.
Large products: each timing follows 50 ms of the same call, as in bench.cu.

    fp16          F.linear with bias
    fp8           torch._scaled_mm, row-wise scales, fast accumulation, bfloat16 out, no bias
    fp8 dynamic   the same after one fused Triton kernel that quantises the activations row-wise
    int_mm        torch._int_mm (cuBLASLt): the int32 product alone
    int_mm dequant  the same and one Triton pass over its output: scales, bias, float16
    triton ...    a fused INT8 kernel: of 16 tiles the three that are fastest in a first timing
    seed          examples/triton/int8_linear.py: tiles of 64x64x32 in float, and a transposed copy
                  of the weight in every call

torch._int_mm refuses 16 rows and fewer: then it gets 32, of which the pass reads those that count
(as a user whose quantiser writes into a buffer of 32 rows: nothing is copied).

Every result is compared before it is timed: int8 with the contract's formula on exact sums, bit for
bit ("right"; no peer promises it, so results within float16's rounding are timed too); fp16 and fp8
with a float32 product of the same operands, by the norm of the difference over the norm; fp8's
quantiser by what its codes stand for. What differs more is reported, and not timed.
"""
import argparse
import collections
import json
import pathlib
import random
import statistics
import sys

import torch
import torch.nn.functional as F
import triton
import triton.language as tl

sys.path.append(str(pathlib.Path(__file__).parents[2] / "examples" / "triton"))
import int8_linear  # noqa: E402

FACTOR = int8_linear.FACTOR
# rows, columns, K, warps, stages
TILES = [(16, 32, 256, 4, 5), (16, 64, 256, 4, 4), (16, 128, 128, 4, 5), (32, 32, 256, 4, 4),
         (32, 64, 256, 4, 4), (64, 32, 256, 4, 4), (64, 64, 128, 4, 6), (64, 64, 256, 4, 3),
         (64, 128, 128, 4, 4), (64, 256, 128, 4, 4), (128, 64, 128, 4, 4), (128, 128, 128, 4, 4),
         (128, 128, 128, 8, 4), (128, 256, 128, 8, 3), (128, 256, 128, 8, 4), (256, 128, 128, 8, 3)]
FINALISTS = 3  # tiles that are timed like everybody else
PADDED_ROWS = 32  # for torch._int_mm
REST = ("fp16", "fp8", "fp8 dynamic", "int_mm", "int_mm dequant", "seed")


def is_ours(kernel):
    """Whether a results file's row comes from here."""
    return kernel in REST or kernel.startswith("triton ")


@triton.jit(do_not_specialize=["m_end"])  # or every tile is compiled three times
def fused_int8(x, w, scale_x, scale_w, bias, y, m_end, n_end, k_end, factor,
               tile_m: tl.constexpr, tile_n: tl.constexpr, tile_k: tl.constexpr):
    tiles_m = tl.cdiv(m_end, tile_m)
    tiles_n = tl.cdiv(n_end, tile_n)
    band = 8 * tiles_n
    first = tl.program_id(0) // band * 8
    height = min(tiles_m - first, 8)
    m = (first + tl.program_id(0) % band % height) * tile_m + tl.arange(0, tile_m)
    n = tl.program_id(0) % band // height * tile_n + tl.arange(0, tile_n)
    k = tl.arange(0, tile_k)
    x_at = x + m[:, None] * k_end + k[None, :]
    w_at = w + n[None, :] * k_end + k[:, None]
    sums = tl.zeros((tile_m, tile_n), tl.int32)
    for _ in range(0, tl.cdiv(k_end, tile_k)):  # every K here is a multiple of tile_k
        a = tl.load(x_at, mask=m[:, None] < m_end, other=0)
        b = tl.load(w_at, mask=n[None, :] < n_end, other=0)
        sums = tl.dot(a, b, sums, out_dtype=tl.int32)
        x_at += tile_k
        w_at += tile_k
    row = tl.load(scale_x + m, mask=m < m_end, other=0.0)
    column = tl.load(scale_w + n, mask=n < n_end, other=0.0)
    added = tl.load(bias + n, mask=n < n_end, other=0.0).to(tl.float32)
    out = sums.to(tl.float32) * factor * row[:, None] * column[None, :] + added[None, :]
    tl.store(y + m[:, None] * n_end + n[None, :], out.to(tl.float16),
             mask=(m[:, None] < m_end) & (n[None, :] < n_end))


@triton.jit
def dequantise(sums, scale_x, scale_w, bias, y, n_end, factor, width: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    n = tl.program_id(1) * width + tl.arange(0, width)
    inside = n < n_end
    values = tl.load(sums + row * n_end + n, mask=inside, other=0).to(tl.float32)
    values = values * factor * tl.load(scale_x + row) * tl.load(scale_w + n, mask=inside, other=0.0)
    values += tl.load(bias + n, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + row * n_end + n, values.to(tl.float16), mask=inside)


@triton.jit
def quantise_fp8(x, codes, scales, k_end, width: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, width)
    values = tl.load(x + row * k_end + k, mask=k < k_end, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.max(tl.abs(values), 0), 1e-12) / 448.0
    tl.store(scales + row, scale)
    tl.store(codes + row * k_end + k, (values / scale).to(tl.float8e4nv), mask=k < k_end)


# Without enable_fp_fusion=False Triton makes one rounding of the last product and sum.
def run_fused(o, i, tile):
    tile_m, tile_n, tile_k, warps, stages = tile
    m, n, k = o["shape"]
    grid = (triton.cdiv(m, tile_m) * triton.cdiv(n, tile_n),)
    fused_int8[grid](o["x8"][i], o["w8"][i], o["sx"], o["sw"], o["bias"], o["y"][i], m, n, k,
                     FACTOR, tile_m=tile_m, tile_n=tile_n, tile_k=tile_k, num_warps=warps,
                     num_stages=stages, enable_fp_fusion=False)
    return o["y"][i]


def run_seed(o, i):
    return int8_linear.before(o["x8"][i], o["w8"][i], o["sx"], o["sw"], o["bias"], o["y"][i])


def int_mm(o, i):
    return torch._int_mm(o["x8 padded"][i], o["w8"][i].t())


def int_mm_dequant(o, i):
    m, n, _ = o["shape"]
    width = min(2048, triton.next_power_of_2(n))
    dequantise[(m, triton.cdiv(n, width))](int_mm(o, i), o["sx"], o["sw"], o["bias"], o["y"][i], n,
                                           FACTOR, width=width, num_warps=4,
                                           enable_fp_fusion=False)
    return o["y"][i]


def fp16(o, i):
    return F.linear(o["x16"][i], o["w16"][i], o["bias"])


def scaled_mm(o, i):
    return torch._scaled_mm(o["xf8"][i], o["wf8"][i].t(), scale_a=o["sx2"], scale_b=o["sw2"],
                            out_dtype=torch.bfloat16, use_fast_accum=True)


def scaled_mm_dynamic(o, i):
    m, _, k = o["shape"]
    width = triton.next_power_of_2(k)
    quantise_fp8[(m,)](o["x16"][i], o["xf8"][i], o["sx2"], k, width=width,
                       num_warps=min(16, max(1, width // 1024)))
    return scaled_mm(o, i)


def operands(m, n, k):
    sets = max(2, (120 << 20) // (m * k + n * k + 2 * m * n) + 1)
    rows = m if m > 16 else PADDED_ROWS
    make8 = lambda r: [torch.randint(-127, 128, (r, k), dtype=torch.int8, device="cuda")
                       for _ in range(sets)]
    make16 = lambda r: [torch.randn(r, k, device="cuda", dtype=torch.float16) for _ in range(sets)]
    o = {"shape": (m, n, k), "sets": sets, "w8": make8(n), "x16": make16(m), "w16": make16(n)}
    o["x8 padded"] = make8(rows)
    o["x8"] = [t[:m] for t in o["x8 padded"]]
    o["xf8"] = [t.to(torch.float8_e4m3fn) for t in o["x16"]]
    o["wf8"] = [t.to(torch.float8_e4m3fn) for t in o["w16"]]
    o["y"] = [torch.empty(m, n, device="cuda", dtype=torch.float16) for _ in range(sets)]
    o["sx"], o["sw"] = torch.rand(m, device="cuda"), torch.rand(n, device="cuda")
    o["sx2"], o["sw2"] = torch.rand(m, 1, device="cuda"), torch.rand(1, n, device="cuda")
    o["bias"] = torch.randn(n, device="cuda", dtype=torch.float16)
    return o


class Expected:
    """What the first operand set must give."""

    def __init__(self, o):
        x8, w8 = o["x8 padded"][0], o["w8"][0]
        m = o["shape"][0]
        sums = x8.double() @ w8.double().t()  # exact: below 2^53
        self.sums = sums.to(torch.int32)
        scaled = sums[:m].float() * FACTOR * o["sx"][:, None] * o["sw"][None, :]
        self.int8 = (scaled + o["bias"].float()).half()
        self.x16, self.w8 = o["x16"][0].float(), o["wf8"][0].float()
        self.fp16 = self.x16 @ o["w16"][0].float().t() + o["bias"].float()
        self.fp8 = o["xf8"][0].float() @ self.w8.t() * o["sx2"] * o["sw2"]
        self.fp8_dynamic = self.x16 @ self.w8.t() * o["sw2"]

    def judge(self, name, got, o):
        """(whether it may be timed, whether it has the contract's bits; None for other types)"""
        if name == "int_mm":
            same = torch.equal(got, self.sums)
            return same, same
        if name in ("fp16", "fp8", "fp8 dynamic"):
            # float16's rounding; fp8's sums in 14 bits; these and the 3 bits of a code of x.
            want, most = {"fp16": (self.fp16, 5e-3), "fp8": (self.fp8, 5e-2),
                          "fp8 dynamic": (self.fp8_dynamic, 8e-2)}[name]
            error = float((got.float() - want).norm() / want.norm())
            right = error < most  # false for NaN
            if name == "fp8 dynamic":
                stands_for = o["xf8"][0].float() * o["sx2"]
                step = self.x16.abs() / 16 + o["sx2"] / 1024  # half of e4m3's, normal or not
                right = right and bool(((stands_for - self.x16).abs() <= 1.01 * step).all())
            return right, None
        same = torch.equal(got, self.int8)
        near = same or torch.allclose(got.float(), self.int8.float(), rtol=2**-10, atol=1e-4)
        return near, same


def replay(graph, launches):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    graph.replay()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e3 / launches


class Contender:
    """A call that gave the expected result, captured."""

    def __init__(self, name, call, o, expected, launches):
        o["y"][0].fill_(float("nan"))
        got = call(o, 0)
        torch.cuda.synchronize()
        right, self.same_bits = expected.judge(name, got, o)
        if not right:
            raise ValueError("another result than expected: left out")
        self.launches = launches
        self.graph = torch.cuda.CUDAGraph()
        # A result let go of would lend its memory to the next one, which would then stay in L2.
        results = collections.deque(maxlen=o["sets"])
        with torch.cuda.graph(self.graph):
            for i in range(launches):
                results.append(call(o, i % o["sets"]))
        replay(self.graph, launches)  # the first one uploads the graph
        self.first = replay(self.graph, launches)
        self.times = []

    def take_turn(self, settle_us):
        for _ in range(int(settle_us / (self.first * self.launches))):
            self.graph.replay()
        self.times.append(replay(self.graph, self.launches))


def tiles_for(m):
    """Those that stand a chance, by their rows and, where there are many rows, by their size."""
    for tile in TILES:
        rows, columns = tile[:2]
        if rows > max(64, 2 * m) or (rows < 64 and m > 256):
            continue
        if m < 1024 or rows * columns >= 128 * 128:
            yield tile


def calls_for(m):
    calls = {"fp16": fp16, "fp8": scaled_mm, "fp8 dynamic": scaled_mm_dynamic, "int_mm": int_mm,
             "int_mm dequant": int_mm_dequant, "seed": run_seed}
    for tile in tiles_for(m):
        name = "triton " + "x".join(map(str, tile))
        calls[name] = lambda o, i, tile=tile: run_fused(o, i, tile)
    return calls


def measure(m, n, k):
    """A row for every peer that gave the right result."""
    o = operands(m, n, k)
    expected = Expected(o)
    large = 2 * m * n * k > 1.5e10
    enough = min(100, max(2, 5e-3 * 1.2e15 / (2 * m * n * k))) if large else 20
    launches = -(-int(enough) // o["sets"]) * o["sets"]
    contenders = {}
    for name, call in calls_for(m).items():
        try:
            once = o["sets"] if name == "seed" and large else launches  # slow: one walk will do
            contenders[name] = Contender(name, call, o, expected, once)
        except Exception as error:  # a peer that refuses a shape is reported and left out
            print(f"  {name} at {m}x{n}x{k}: {(str(error).splitlines() or [''])[0][:120]}")
            torch.cuda.synchronize()
    tiles = sorted((c.first, name) for name, c in contenders.items() if name.startswith("triton "))
    for _, name in tiles[FINALISTS:]:
        del contenders[name]
    del expected
    turns = random.Random(f"{m}x{n}x{k}")  # another order each round and for each shape (bench.cu)
    slow = [name for name in contenders if name == "seed"]
    for names in ([name for name in contenders if name not in slow], slow):
        for _ in range(5 if large else 9):
            turns.shuffle(names)
            for name in names:
                contenders[name].take_turn(50e3 if large else 0)
    rows = []
    for name, contender in contenders.items():
        row = {"m": m, "n": n, "k": k, "kernel": name, "ours": False}
        if contender.same_bits is not None:
            row["right"] = contender.same_bits
        if name.startswith("int_mm") and m <= 16:
            row["padded_to"] = PADDED_ROWS
        rows.append({**row, "cold_us": round(statistics.median(contender.times), 3)})
    return rows


def line(rows):
    """The rows of a shape on one line: of the tiles the fastest."""
    named = {row["kernel"]: row["cold_us"] for row in rows}
    tiles = [name for name in named if name.startswith("triton ")]
    shown = [name for name in REST if name in named]
    shown += [min(tiles, key=named.get)] if tiles else []
    at = rows[0]
    return f"{at['m']}x{at['n']}x{at['k']} " + " ".join(f"| {s} {named[s]:.2f}" for s in shown)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json")
    parser.add_argument("shapes", nargs="*", default=["128x2048x2048"], metavar="MxNxK")
    options = parser.parse_args()
    rows = []
    for shape in options.shapes:
        rows += (of_shape := measure(*map(int, shape.split("x"))))
        torch.cuda.empty_cache()
        print(line(of_shape), flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                       "triton": triton.__version__, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
