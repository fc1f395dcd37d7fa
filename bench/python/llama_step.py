"""Time per token of a Llama-shaped model on a GPU: quoin's int8 layers beside bfloat16 and int8 by
torch._int_mm, in one run on the same weights.

    python bench/python/llama_step.py --out bench/results/<card>-<date>-llama.json

Three parts, each checked against bfloat16 before it is timed: the linear layers of the decode step
with their quantisers; the whole decode step (static cache, bfloat16 head); prefill. Every variant's
blocks go through torch.compile(fullgraph=True), and the whole step is captured into one CUDA graph.
Layers that share an input quantise it once. Candidates take turns; medians of the rounds.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import pathlib
import statistics
import sys
import time

import quoin
import torch
import torch.nn.functional as F
from quoin.torch import Int8Linear, quantize_rows
from torch import nn
from tqdm import tqdm


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


class Block(nn.Module):
    """One decoder block on rows [tokens, hidden]; `kind` says how its linear layers compute."""

    def __init__(self, shape: Shape, kind: str, weights: dict[str, torch.Tensor], int8: dict):
        super().__init__()
        self.shape, self.kind = shape, kind
        self.norm1 = nn.Parameter(torch.ones(shape.hidden, device="cuda", dtype=torch.bfloat16))
        self.norm2 = nn.Parameter(torch.ones(shape.hidden, device="cuda", dtype=torch.bfloat16))
        for name in weights:
            if kind == "bfloat16":
                layer = nn.Linear(1, 1, bias=False, device="meta")
                layer.weight = nn.Parameter(weights[name], requires_grad=False)
            else:
                layer = int8[name] if kind == "quoin" else IntMmLinear(int8[name])
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
    """All variants share the weights: one bfloat16 and one int8 copy."""

    def __init__(self, shape: Shape, length: int):
        self.shape, self.length = shape, length
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
        self.blocks = {"bfloat16": [], "quoin": [], "int_mm": []}
        for _ in tqdm(range(shape.layers), desc="weights"):
            weights, int8 = {}, {}
            for name, (n, k) in sizes.items():
                weights[name] = torch.randn(n, k, device="cuda", dtype=torch.bfloat16) * k**-0.5
                linear = nn.Linear(k, n, bias=False, device="meta", dtype=torch.bfloat16)
                linear.weight = nn.Parameter(weights[name], requires_grad=False)
                int8[name] = Int8Linear.from_float(linear)
            for kind, blocks in self.blocks.items():
                blocks.append(Block(shape, kind, weights, int8))
        self.head = torch.randn(shape.vocab, shape.hidden, device="cuda", dtype=torch.bfloat16) * 0.01
        self.final_norm = torch.ones(shape.hidden, device="cuda", dtype=torch.bfloat16)

    def linear_bytes(self, kind: str) -> int:
        layer = self.blocks["bfloat16"][0]
        count = sum(getattr(layer, n).weight.numel() for n in "q k v o gate up down".split())
        return self.shape.layers * count * (2 if kind == "bfloat16" else 1)


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
            f"{part:8} batch {batch:3} tokens {tokens:5}  {kind:9} {median:9.3f} ms  "
            f"{base / median:5.2f}x  error {error[kind]:.4f}",
            flush=True,
        )


def relative_error(result, expected):
    return float((result.float() - expected.float()).norm() / expected.float().norm())


@torch.no_grad()
def run(args) -> dict:
    torch.manual_seed(0)
    torch._dynamo.config.recompile_limit = 64
    shape = Shape(layers=args.layers)
    if args.tiny:
        shape = Shape(256, 512, args.layers, 4, 2, 64, 1000)
    model = Model(shape, args.length)
    rows: list[dict] = []
    for batch in args.batch:
        x = torch.randn(batch, shape.hidden, device="cuda", dtype=torch.bfloat16)
        wide = torch.randn(batch, shape.intermediate, device="cuda", dtype=torch.bfloat16)
        graphs, results = {}, {}
        for kind, blocks in model.blocks.items():
            step = torch.compile(Block.linears, fullgraph=True)
            graphs[kind], results[kind] = captured(lambda: [step(b, x, wide) for b in blocks])
            graphs[kind].replay()
        errors = {
            kind: max(relative_error(a, b) for a, b in zip(r[0], results["bfloat16"][0]))
            for kind, r in results.items()
        }
        report(rows, "linears", batch, 1, take_turns(graphs, args.seconds), errors)
        del graphs, results
        whole_step(rows, model, batch, 1, args)
    if args.prefill:
        whole_step(rows, model, 1, args.prefill, args)
    return {
        "card": torch.cuda.get_device_name(),
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "quoin": quoin.__version__,
        "python": sys.version.split()[0],
        "shape": dataclasses.asdict(shape),
        "context": args.length,
        "linear_weight_bytes": {k: model.linear_bytes(k) for k in model.blocks},
        "rows": rows,
    }


def whole_step(rows, model, batch, tokens, args):
    """The whole step: blocks, final norm, bfloat16 head on each sequence's last token."""
    s = model.shape
    ids = torch.randn(batch * tokens, s.hidden, device="cuda", dtype=torch.bfloat16)
    at = 0 if tokens > 1 else args.length - 1
    position = torch.arange(at, at + tokens, device="cuda")
    angle = position[:, None] / 10_000 ** torch.linspace(0, 1, s.head_dim // 2, device="cuda")
    cos, sin = angle.cos().bfloat16(), angle.sin().bfloat16()
    mask = torch.ones(1, args.length, dtype=torch.bool, device="cuda") if tokens == 1 else None
    cache = (batch, s.kv_heads, max(args.length, tokens), s.head_dim)
    keys = [torch.randn(cache, device="cuda", dtype=torch.bfloat16) for _ in range(s.layers)]
    values = [torch.randn(cache, device="cuda", dtype=torch.bfloat16) for _ in range(s.layers)]
    graphs, results = {}, {}
    for kind, blocks in model.blocks.items():
        forward = torch.compile(Block.forward, fullgraph=True)

        def step(blocks=blocks, forward=forward):
            x = ids
            for block, k, v in zip(blocks, keys, values):
                x = forward(block, x, cos, sin, k, v, position, mask, batch)
            last = x.view(batch, tokens, s.hidden)[:, -1]
            return F.linear(F.rms_norm(last, (s.hidden,), model.final_norm), model.head)

        graphs[kind], results[kind] = captured(step)
        graphs[kind].replay()
    errors = {kind: relative_error(r, results["bfloat16"]) for kind, r in results.items()}
    report(rows, "step" if tokens == 1 else "prefill", batch, tokens,
           take_turns(graphs, args.seconds), errors)


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
    parser.add_argument("--out", type=pathlib.Path, help="JSON file to write")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("PyTorch sees no CUDA device; this benchmark needs one")
    result = {"host_us": host_times(), **run(args)}
    if args.out:
        part = args.out.with_suffix(".part")
        part.write_text(json.dumps(result, indent=1))
        part.replace(args.out)


if __name__ == "__main__":
    main()
