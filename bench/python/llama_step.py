"""Time per token and memory of a Llama-shaped model on a GPU: quoin's int8 layers beside bfloat16
and int8 by torch._int_mm.

    python bench/python/llama_step.py --out bench/results/<card>-<date>-llama.json

Times, in one run on the same weights, in three parts, each checked against bfloat16 before it is
timed: the linear layers of the decode step with their quantisers; the whole decode step (static
cache, bfloat16 head); prefill. Every variant's blocks go through torch.compile(fullgraph=True), and
the whole step is captured into one CUDA graph. Layers that share an input quantise it once.
Candidates take turns; medians of the rounds. quoin comes twice: as it is, and with launches that
overlap (quoin.torch.set_overlap; no step writes weights).

Memory: each variant in a process that holds nothing but its own weights.
The model is blocks, norms and head, without an embedding.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import datetime
import gc
import json
import multiprocessing
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import quoin
import torch
import torch.nn.functional as F
from quoin.torch import Int8Linear, quantize_rows
from torch import nn
from tqdm import tqdm

KINDS = ("bfloat16", "quoin", "int_mm")
# What is timed: a kind, and whether its launches overlap.
VARIANTS = {
    "bfloat16": ("bfloat16", False),
    "quoin": ("quoin", False),
    "quoin overlapping": ("quoin", True),
    "int_mm": ("int_mm", False),
}


@dataclasses.dataclass
class Shape:
    """Llama 3 8B."""

    hidden: int = 4096
    intermediate: int = 14336
    layers: int = 32
    heads: int = 32
    kv_heads: int = 8
    head_dim: int = 128
    vocab: int = 128256


class IntMmLinear(nn.Module):
    """W8A8 with PyTorch alone: rows quantised by compiled code, torch._int_mm, scales after it."""

    def __init__(self, layer: Int8Linear):
        super().__init__()
        self.weight_t = layer.weight.detach().t()  # [K, N], a view: K-major as _int_mm likes it
        self.scale = layer.weight_scale.detach().reshape(1, -1)

    def forward(self, codes, scales):
        m = codes.shape[0]
        if m <= 16:  # _int_mm refuses fewer than 17 rows
            codes = F.pad(codes, (0, 0, 0, 32 - m))
        acc = torch._int_mm(codes, self.weight_t)[:m]
        return (acc.float() * (scales[:, None] * (1 / 127)) * self.scale).to(torch.bfloat16)


def torch_quantize_rows(x):
    absmax = x.abs().amax(-1).float()
    codes = torch.round(127 * (x.float() / absmax[:, None])).to(torch.int8)
    return codes, absmax


def quantized(linear: nn.Linear) -> Int8Linear:
    """Int8Linear.from_float by PyTorch alone: a process for int_mm runs nothing of quoin."""
    n, k = linear.weight.shape
    codes, absmax = torch_quantize_rows(linear.weight)
    layer = Int8Linear(k, n, bias=False, device="meta", dtype=torch.bfloat16)
    layer.weight = nn.Parameter(codes, requires_grad=False)
    layer.weight_scale = nn.Parameter((absmax / 127)[:, None], requires_grad=False)
    return layer


class Block(nn.Module):
    """One decoder block on rows [tokens, hidden]; `kind` says how its linear layers compute."""

    def __init__(self, shape: Shape, kind: str, layers: dict[str, nn.Module]):
        super().__init__()
        self.shape, self.kind = shape, kind
        self.norm1 = nn.Parameter(torch.ones(shape.hidden, device="cuda", dtype=torch.bfloat16))
        self.norm2 = nn.Parameter(torch.ones(shape.hidden, device="cuda", dtype=torch.bfloat16))
        for name, layer in layers.items():
            setattr(self, name, layer)

    def project(self, x, *names):
        """x through several layers that share it."""
        if self.kind == "bfloat16":
            return [getattr(self, name)(x) for name in names]
        if self.kind == "quoin" and len(names) == 1:
            return [getattr(self, names[0])(x)]
        quantize = quantize_rows if self.kind == "quoin" else torch_quantize_rows
        codes, scales = quantize(x)
        return [getattr(self, name)(codes, scales) for name in names]

    def linears(self, x, wide):
        """The block's seven linear layers alone, each input quantised."""
        q, k, v = self.project(x, "q", "k", "v")
        (o,) = self.project(q, "o")
        gate, up = self.project(o, "gate", "up")
        (down,) = self.project(wide, "down")
        return q, k, v, o, gate, up, down

    def forward(self, x, cos, sin, keys, values, position, mask, batch: int):
        s = self.shape
        tokens = x.shape[0] // batch
        h = F.rms_norm(x, (s.hidden,), self.norm1)
        q, k, v = self.project(h, "q", "k", "v")
        q = q.view(batch, tokens, s.heads, s.head_dim).transpose(1, 2)
        k = k.view(batch, tokens, s.kv_heads, s.head_dim).transpose(1, 2)
        v = v.view(batch, tokens, s.kv_heads, s.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        keys.index_copy_(2, position, k)
        values.index_copy_(2, position, v)
        if tokens > 1:
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            a = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask, enable_gqa=True)
        a = a.transpose(1, 2).reshape(x.shape[0], s.heads * s.head_dim)
        (o,) = self.project(a, "o")
        x = x + o
        h = F.rms_norm(x, (s.hidden,), self.norm2)
        gate, up = self.project(h, "gate", "up")
        (down,) = self.project(F.silu(gate) * up, "down")
        return x + down


def rotate(x, cos, sin):
    left, right = x.chunk(2, -1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


class Model:
    """Variants of one model. They share the weights: one bfloat16 and one int8 copy, where any of
    `kinds` needs it."""

    def __init__(self, shape: Shape, kinds: Sequence[str]):
        self.shape = shape
        kv = shape.kv_heads * shape.head_dim
        sizes = {
            "q": (shape.heads * shape.head_dim, shape.hidden),
            "k": (kv, shape.hidden),
            "v": (kv, shape.hidden),
            "o": (shape.hidden, shape.heads * shape.head_dim),
            "gate": (shape.intermediate, shape.hidden),
            "up": (shape.intermediate, shape.hidden),
            "down": (shape.hidden, shape.intermediate),
        }
        self.blocks: dict[str, list[Block]] = {kind: [] for kind in kinds}
        for _ in tqdm(range(shape.layers), desc="weights"):
            layers: dict[str, dict[str, nn.Module]] = {kind: {} for kind in KINDS}
            for name, (n, k) in sizes.items():
                weight = torch.randn(n, k, device="cuda", dtype=torch.bfloat16) * k**-0.5
                linear = nn.Linear(k, n, bias=False, device="meta", dtype=torch.bfloat16)
                linear.weight = nn.Parameter(weight, requires_grad=False)
                layers["bfloat16"][name] = linear
                if set(kinds) != {"bfloat16"}:
                    layers["quoin"][name] = quantized(linear)
                    layers["int_mm"][name] = IntMmLinear(layers["quoin"][name])
            for kind, blocks in self.blocks.items():
                blocks.append(Block(shape, kind, layers[kind]))
        head = torch.randn(shape.vocab, shape.hidden, device="cuda", dtype=torch.bfloat16)
        self.head = head.mul_(0.01)
        self.final_norm = torch.ones(shape.hidden, device="cuda", dtype=torch.bfloat16)


class WholeStep:
    """A step's input and cache, for `tokens` rows of each of `batch` sequences: the last of
    `length` where it is one, otherwise the first."""

    def __init__(self, model: Model, batch: int, tokens: int, length: int):
        s = model.shape
        self.model, self.batch, self.tokens = model, batch, tokens
        self.x = torch.randn(batch * tokens, s.hidden, device="cuda", dtype=torch.bfloat16)
        at = 0 if tokens > 1 else length - 1
        self.position = torch.arange(at, at + tokens, device="cuda")
        frequency = 10_000 ** torch.linspace(0, 1, s.head_dim // 2, device="cuda")
        angle = self.position[:, None] / frequency
        self.cos, self.sin = angle.cos().bfloat16(), angle.sin().bfloat16()
        self.mask = None
        if tokens == 1:
            self.mask = torch.ones(1, length, dtype=torch.bool, device="cuda")
        cache = (batch, s.kv_heads, max(length, tokens), s.head_dim)
        self.keys, self.values = (
            [torch.randn(cache, device="cuda", dtype=torch.bfloat16) for _ in range(s.layers)]
            for _ in range(2)
        )

    def of(self, kind: str) -> Callable[[], torch.Tensor]:
        """Blocks, final norm, and the bfloat16 head on each sequence's last token."""
        model, hidden = self.model, self.model.shape.hidden
        forward = torch.compile(Block.forward, fullgraph=True)

        def step() -> torch.Tensor:
            x = self.x
            for block, keys, values in zip(model.blocks[kind], self.keys, self.values):
                x = forward(block, x, self.cos, self.sin, keys, values, self.position, self.mask,
                            self.batch)
            last = x.view(self.batch, self.tokens, hidden)[:, -1]
            return F.linear(F.rms_norm(last, (hidden,), model.final_norm), model.head)

        return step


def captured(function, warmups: int = 3):
    """A CUDA graph of `function`, and its result's tensor."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(warmups):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function()
    return graph, result


def take_turns(graphs: dict[str, torch.cuda.CUDAGraph], seconds: float) -> dict[str, list[float]]:
    """Milliseconds of a replay, several a round, candidates in turn."""
    times: dict[str, list[float]] = {kind: [] for kind in graphs}
    start = time.monotonic()
    while time.monotonic() - start < seconds or len(next(iter(times.values()))) < 5:
        for kind, graph in graphs.items():
            graph.replay()
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            for _ in range(3):
                graph.replay()
            end.record()
            end.synchronize()
            times[kind].append(begin.elapsed_time(end) / 3)
    return times


def report(rows, part, batch, tokens, times, error):
    base = statistics.median(times["bfloat16"])
    for kind, samples in times.items():
        median = statistics.median(samples)
        rows.append(
            {
                "part": part,
                "batch": batch,
                "tokens": tokens,
                "variant": kind,
                "ms": round(median, 4),
                "ms_quartiles": [round(q, 4) for q in statistics.quantiles(samples, n=4)],
                "times_faster_than_bfloat16": round(base / median, 3),
                "relative_error": round(error[kind], 4),
            }
        )
        print(
            f"{part:8} batch {batch:3} tokens {tokens:5}  {kind:17} {median:9.3f} ms  "
            f"{base / median:5.2f}x  error {error[kind]:.4f}",
            flush=True,
        )


def relative_error(result, expected):
    return float((result.float() - expected.float()).norm() / expected.float().norm())


def shape_of(args) -> Shape:
    if args.tiny:
        return Shape(256, 512, args.layers, 4, 2, 64, 1000)
    return Shape(layers=args.layers)


@torch.no_grad()
def timed_rows(args) -> list[dict]:
    torch.manual_seed(0)
    torch._dynamo.config.recompile_limit = 64
    shape = shape_of(args)
    model = Model(shape, KINDS)
    rows: list[dict] = []
    for batch in args.batch:
        x = torch.randn(batch, shape.hidden, device="cuda", dtype=torch.bfloat16)
        wide = torch.randn(batch, shape.intermediate, device="cuda", dtype=torch.bfloat16)
        graphs, results = {}, {}
        for variant, (kind, overlap) in VARIANTS.items():
            quoin.torch.set_overlap(overlap)
            step, blocks = torch.compile(Block.linears, fullgraph=True), model.blocks[kind]
            graphs[variant], results[variant] = captured(lambda: [step(b, x, wide) for b in blocks])
            graphs[variant].replay()
        errors = {
            kind: max(relative_error(a, b) for a, b in zip(r[0], results["bfloat16"][0]))
            for kind, r in results.items()
        }
        report(rows, "linears", batch, 1, take_turns(graphs, args.seconds), errors)
        del graphs, results
        time_step(rows, model, batch, 1, args)
    if args.prefill:
        time_step(rows, model, 1, args.prefill, args)
    return rows


def time_step(rows, model, batch, tokens, args):
    whole = WholeStep(model, batch, tokens, args.length)
    graphs, results = {}, {}
    for variant, (kind, overlap) in VARIANTS.items():
        quoin.torch.set_overlap(overlap)
        graphs[variant], results[variant] = captured(whole.of(kind))
        graphs[variant].replay()
    errors = {kind: relative_error(r, results["bfloat16"]) for kind, r in results.items()}
    report(rows, "step" if tokens == 1 else "prefill", batch, tokens,
           take_turns(graphs, args.seconds), errors)


def memory_rows(args) -> list[dict]:
    """Rows of `memory_of` for every variant, a fresh process each."""
    rows = []
    for kind in KINDS:
        spawn = multiprocessing.get_context("spawn")
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as process:
            rows += process.submit(memory_of, kind, args).result()
    return rows


@torch.no_grad()
def memory_of(kind: str, args) -> list[dict]:
    """What a variant takes on a device where nothing else runs: its weights (norms, scales and head
    too), the cache, and the peak of PyTorch's allocator over a step and its capture, which holds
    both. Beside PyTorch: what the process took apart from that allocator since its context was
    there, with the step's graph alive: kernels, the graph, whatever a library allocates itself."""
    torch.manual_seed(0)
    torch._dynamo.config.recompile_limit = 64
    torch.empty(1, device="cuda")  # makes the context
    torch.cuda.empty_cache()
    free_before, _ = torch.cuda.mem_get_info()
    model = Model(shape_of(args), [kind])
    weights = torch.cuda.memory_allocated()
    rows = []
    prefill = [(1, args.prefill)] if args.prefill else []
    for batch, tokens in [(batch, 1) for batch in args.batch] + prefill:
        whole = WholeStep(model, batch, tokens, args.length)
        step = whole.of(kind)
        step()  # compiles; quoin prepares its layers
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        graph, result = captured(step, warmups=1)
        peak = torch.cuda.max_memory_allocated()
        graph.replay()
        torch.cuda.synchronize()
        if not result.isfinite().all():
            raise RuntimeError(f"{kind}, batch {batch}, {tokens} tokens: the result is not finite")
        taken = free_before - torch.cuda.mem_get_info()[0]
        row = {
            "part": "step" if tokens == 1 else "prefill",
            "batch": batch,
            "tokens": tokens,
            "variant": kind,
            "weights_bytes": weights,
            "cache_bytes": sum(t.nbytes for t in whole.keys + whole.values),
            "peak_bytes": peak,
            "beside_pytorch_bytes": taken - torch.cuda.memory_reserved(),
        }
        rows.append(row)
        gib = {key: value / 2**30 for key, value in row.items() if key.endswith("_bytes")}
        print(
            f"{row['part']:8} batch {batch:3} tokens {tokens:5}  {kind:9} "
            f"weights {gib['weights_bytes']:6.2f} GiB  cache {gib['cache_bytes']:5.2f}  "
            f"peak {gib['peak_bytes']:6.2f}  beside PyTorch {gib['beside_pytorch_bytes']:5.2f}",
            flush=True,
        )
        del whole, step, graph, result
    return rows


def host_times() -> dict[str, float]:
    """Microseconds of the caller's thread for one call, the GPU not waited for."""
    x = torch.randn(1, 1024, device="cuda", dtype=torch.bfloat16)
    linear = nn.Linear(1024, 1024, bias=False, device="cuda", dtype=torch.bfloat16)
    layer = Int8Linear.from_float(linear)
    codes, scales = quantize_rows(x)
    nothing = torch.empty(0, 1024, device="cuda", dtype=torch.float16)
    static_out = torch.ops.quoin.linear.out
    op, static = torch.ops.quoin.dynamic_linear.default, torch.ops.quoin.linear.default
    calls = {
        "F.linear": lambda: F.linear(x, linear.weight),
        "quoin dynamic_linear": lambda: op(x, layer.weight, layer.weight_scale),
        "quoin linear": lambda: static(codes, scales, layer.weight, layer.weight_scale),
        "quoin quantize_rows": lambda: quantize_rows(x),
        # no rows: neither a launch nor an allocation, PyTorch's dispatcher and quoin alone
        "quoin linear, no rows": lambda: static_out(
            codes[:0], scales[:0], layer.weight, layer.weight_scale, out=nothing
        ),
        "slicing for that": lambda: (codes[:0], scales[:0]),
        "nn.Linear": lambda: linear(x),
        "Int8Linear": lambda: layer(x),
    }
    result: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for _ in range(15):
            for name, call in calls.items():
                torch.cuda.synchronize()
                begin = time.perf_counter()
                for _ in range(300):
                    call()
                result[name].append((time.perf_counter() - begin) / 300 * 1e6)
    medians = {name: round(statistics.median(v), 2) for name, v in result.items()}
    for name, value in medians.items():
        print(f"host time of {name:22} {value:6.2f} us", flush=True)
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--batch", type=int, nargs="*", default=[1, 16])
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--length", type=int, default=1024, help="tokens in the cache")
    parser.add_argument("--prefill", type=int, default=2048, help="tokens; 0 for none")
    parser.add_argument("--seconds", type=float, default=3, help="for each table row's round")
    parser.add_argument("--tiny", action="store_true", help="small layers, to try the script")
    one_part = parser.add_mutually_exclusive_group()
    one_part.add_argument("--memory-only", action="store_true", help="no times")
    one_part.add_argument("--times-only", action="store_true", help="no memory")
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device; this benchmark needs one")
    result: dict = {}
    if not args.times_only:
        result["memory"] = memory_rows(args)  # first: the card must be empty
    if not args.memory_only:
        result["host_us"] = host_times()
        result["rows"] = timed_rows(args)
    result = {
        "card": torch.cuda.get_device_name(),
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "quoin": quoin.__version__,
        "python": sys.version.split()[0],
        "shape": dataclasses.asdict(shape_of(args)),
        "context": args.length,
        **result,
    }
    if args.out:
        part = args.out.with_suffix(".part")
        part.write_text(json.dumps(result, indent=1))
        part.replace(args.out)


if __name__ == "__main__":
    main()
