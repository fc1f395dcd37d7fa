"""An int8 linear layer as a Triton kernel that somebody has today, and quoin in its place.

    python examples/triton/int8_linear.py                       # 128 x 2048 x 2048 (M x N x K)
    python examples/triton/int8_linear.py 16x4096x4096 512x4096x4096

Both get the same tensors. Printed are whether the results are the same and what a call takes, in a
CUDA graph. `before` is also the peer "seed" of bench/cuda/torch_peers.py. Why it is slow, and what
to change first, the architect tells of a kernel of this kind: examples/architect/int8_layer.md.

Needs a CUDA device, PyTorch, Triton, and quoin with CUDA and PyTorch's operators (docs/python.md).
"""

from __future__ import annotations

import argparse
import statistics

import torch
import triton
import triton.language as tl

FACTOR = 1.0 / 127**2  # both scales are largest magnitudes


@triton.jit
def int8_linear_kernel(x, w, scale_x, scale_w, bias, y, m_end, n_end, k_end, factor,
                       tile_m: tl.constexpr, tile_n: tl.constexpr, tile_k: tl.constexpr):
    m = tl.program_id(0) * tile_m + tl.arange(0, tile_m)
    n = tl.program_id(1) * tile_n + tl.arange(0, tile_n)
    k = tl.arange(0, tile_k)
    sums = tl.zeros((tile_m, tile_n), tl.float32)
    for begin in range(0, k_end, tile_k):
        in_x = (m[:, None] < m_end) & (begin + k[None, :] < k_end)
        in_w = (begin + k[:, None] < k_end) & (n[None, :] < n_end)
        a = tl.load(x + m[:, None] * k_end + begin + k[None, :], mask=in_x, other=0)
        b = tl.load(w + (begin + k[:, None]) * n_end + n[None, :], mask=in_w, other=0)
        sums += tl.dot(a.to(tl.float32), b.to(tl.float32), allow_tf32=True)
    row = tl.load(scale_x + m, mask=m < m_end, other=0.0)
    column = tl.load(scale_w + n, mask=n < n_end, other=0.0)
    added = tl.load(bias + n, mask=n < n_end, other=0.0).to(tl.float32)
    out = sums * factor * row[:, None] * column[None, :] + added[None, :]
    tl.store(y + m[:, None] * n_end + n[None, :], out.to(tl.float16),
             mask=(m[:, None] < m_end) & (n[None, :] < n_end))


def before(x, weight, scale_x, scale_w, bias, out=None, **options):
    """x int8 [M, K], weight int8 [N, K], scales float32, bias float16 -> float16 [M, N]."""
    m, k = x.shape
    n = weight.shape[0]
    across = weight.t().contiguous()  # a copy in every call
    out = torch.empty(m, n, dtype=torch.float16, device=x.device) if out is None else out
    grid = (triton.cdiv(m, 64), triton.cdiv(n, 64))
    int8_linear_kernel[grid](x, across, scale_x, scale_w, bias, out, m, n, k, FACTOR, tile_m=64,
                             tile_n=64, tile_k=32, num_warps=4, num_stages=3, **options)
    return out


def microseconds(call, launches=50, rounds=9):
    """The median over replays of a graph of calls."""
    call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(launches):
            call()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    times = []
    for _ in range(rounds + 1):
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3 / launches)
    return statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shapes", nargs="*", default=["128x2048x2048"], metavar="MxNxK")
    shapes = parser.parse_args().shapes
    from quoin.torch import fused_int8_rowwise_dequant_matmul as after  # not for the benchmark

    torch.manual_seed(0)
    for shape in shapes:
        m, n, k = map(int, shape.split("x"))
        x = torch.randint(-127, 128, (m, k), dtype=torch.int8, device="cuda")
        weight = torch.randint(-127, 128, (n, k), dtype=torch.int8, device="cuda")
        scale_x = torch.rand(m, device="cuda") * 0.01
        scale_w = torch.rand(n, device="cuda") * 0.01
        bias = torch.randn(n, dtype=torch.float16, device="cuda") * 0.01
        layer = (x, weight, scale_x, scale_w, bias)
        ours, theirs = after(*layer), before(*layer)
        # Triton fuses the last product and sum, which rounds once where the contract rounds twice.
        other = int((ours != theirs).sum())
        assert torch.allclose(ours.float(), theirs.float(), rtol=2**-10, atol=1e-6), "other results"
        assert torch.equal(ours, before(*layer, enable_fp_fusion=False)), "other bits"
        times = [microseconds(lambda call=call: call(*layer)) for call in (before, after)]
        print(f"{shape}: Triton {times[0]:.1f} us, quoin {times[1]:.1f} us, "
              f"{times[0] / times[1]:.1f}x; the same bits, but for {other} of {ours.numel()} "
              "values that Triton's fused multiply-add rounds otherwise")


if __name__ == "__main__":
    main()
