"""quoin: INT8 linear layers at the machine's limit, and what holds a kernel back.

    codes, scales = quoin.quantize_rows(x)                 # float32 [M, K] -> int8 [M, K], [M]
    layer = quoin.prepare(weight, scale_w, bias)           # int8 [N, K], float32 [N]
    y = layer(codes, scales)                               # float16 [M, N]
    y = layer.dynamic(x)                                   # both steps in one call
    verdict = quoin.architect(open("kernel.md").read())    # a dict of six strings

Arrays are anything that speaks DLPack or the buffer protocol (NumPy, PyTorch, CuPy), on the CPU or
a CUDA device, used where they are. Results come as the same kind of array, or go into `out`.
NumPy has no bfloat16: its bits travel as uint16 where a `*_type="bfloat16"` argument says so.

Results are the same to the bit on every backend, device, number of threads and batch size:

    y[m,n] = round(((float(acc[m,n]) * f) * scale_x[m]) * scale_w[n] + float(bias[n]))

with acc exact in int32, each product and sum rounded to float32, one last rounding to the output.

Errors are ValueError (the call is wrong), NotImplementedError (right, but more than quoin does),
RuntimeError (this machine or build cannot) or MemoryError; each message holds the values.

`quoin.torch` has layers for PyTorch; `load_compressed` and `save_compressed` checkpoints.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from .checkpoint import load_compressed, save_compressed

__all__ = [
    "BOTH_ABSMAX",
    "MAX_K",
    "ONE_ABSMAX",
    "TRUE_SCALES",
    "LinearLayer",
    "architect",
    "backends",
    "load_compressed",
    "prepare",
    "quantize_rows",
    "save_compressed",
]
__version__: str = _core.version

#: The factor `f`. A scale is "absmax" where it is the largest magnitude of its row, and "true" where
#: code * scale is the value.
BOTH_ABSMAX: float = _core.BOTH_ABSMAX
ONE_ABSMAX: float = _core.ONE_ABSMAX
TRUE_SCALES: float = _core.TRUE_SCALES
#: The largest inner dimension.
MAX_K: int = _core.MAX_K


def quantize_rows(
    x: Any,
    codes: Any = None,
    scales: Any = None,
    *,
    threads: int | None = None,
    stream: int = 0,
    x_type: str | None = None,
) -> tuple[Any, Any]:
    """Quantises each row by its largest magnitude (LLM.int8(), Dettmers et al. 2022).

    scales[m] = max |x[m, :]|, codes[m, k] = round_half_even(127 * (x[m, k] / scales[m])). A row of
    zeros gets scale 0, a row with a NaN or an infinity scale NaN; the codes of both are 0.

    Args:
      x: float16, bfloat16 or float32 [M, K]; rows any distance apart, K contiguous.
      codes, scales: int8 [M, K] and float32 [M] to write to; new ones of x's kind if left out.
      threads: CPU threads; all that the process may use if left out.
      stream: on a GPU, the cudaStream_t to launch on; 0 is the default stream.
      x_type: "bfloat16" for its bits in a uint16 array.

    Returns: codes and scales.
    """
    if codes is None:
        codes = _empty(x, tuple(x.shape), "int8")
    if scales is None:
        scales = _empty(x, tuple(x.shape)[:1], "float32")
    _core.quantize_rows(x, codes, scales, threads=_threads(threads), stream=stream, x_type=x_type)
    return codes, scales


class LinearLayer:
    """A prepared layer (`prepare`): immutable, usable from any number of threads at once."""

    def __init__(self, core: _core.Layer) -> None:
        self._core = core

    def __call__(
        self,
        codes: Any,
        scales: Any = None,
        out: Any = None,
        *,
        threads: int | None = None,
        stream: int = 0,
    ) -> Any:
        """y = codes * weight^T, dequantised, with bias.

        Args:
          codes: int8 [M, K], K contiguous.
          scales: float32 [M] or [M, 1]; none for int32 output.
          out: [M, N] of the layer's output type; a new array of codes' kind if left out.
          threads, stream: as in `quantize_rows`.

        Returns: out.
        """
        if out is None:
            out = _empty(codes, (codes.shape[0], self.n), self.out_type)
        self._core.run(codes, scales, out, threads=_threads(threads), stream=stream)
        return out

    def dynamic(
        self,
        x: Any,
        out: Any = None,
        *,
        threads: int | None = None,
        stream: int = 0,
        x_type: str | None = None,
    ) -> Any:
        """`quantize_rows` and the layer in one call, with the same bits.

        Args:
          x: float16, bfloat16 or float32 [M, K], K contiguous.
          out, threads, stream, x_type: as above.

        Returns: out.
        """
        if out is None:
            out = _empty(x, (x.shape[0], self.n), self.out_type)
        workspace = _empty(x, (self._core.workspace_bytes(x.shape[0]),), "int8")
        self._core.run_dynamic(
            x, out, workspace, threads=_threads(threads), stream=stream, x_type=x_type
        )
        return out

    def plan(self, m: int, *, threads: int | None = None) -> str:
        """How M rows will be computed and what that should cost, as a few lines of text."""
        return self._core.plan(m, _threads(threads))

    @property
    def n(self) -> int:
        """Output channels."""
        return self._core.n

    @property
    def k(self) -> int:
        """Input channels."""
        return self._core.k

    @property
    def out_type(self) -> str:
        """"float16", "bfloat16", "float32" or "int32"."""
        return self._core.out_type

    @property
    def backend(self) -> str:
        """The backend that computes it."""
        return self._core.backend

    @property
    def device(self) -> int:
        """-1 for the CPU, or the CUDA device's number."""
        return self._core.device

    @property
    def held_bytes(self) -> int:
        """Memory that the layer holds itself."""
        return self._core.held_bytes

    def __repr__(self) -> str:
        where = "CPU" if self.device < 0 else f"cuda:{self.device}"
        return f"<quoin.LinearLayer {self.k} -> {self.n} {self.out_type} {self.backend} on {where}>"


def prepare(
    weight: Any,
    scale_w: Any = None,
    bias: Any = None,
    *,
    out_type: str = "float16",
    dequant_factor: float = BOTH_ABSMAX,
    backend: str = "",
    stream: int = 0,
    bias_type: str | None = None,
) -> LinearLayer:
    """Checks a layer's weights once and packs them for a backend.

    On the CPU everything is copied; on a GPU the layer uses the arrays in place and keeps them.

    Args:
      weight: int8 [N, K], K contiguous, K at most MAX_K.
      scale_w: float32 [N] or [N, 1]; none for int32 output.
      bias: float16, bfloat16 or float32 [N] or [N, 1], or none.
      out_type: "float16", "bfloat16", "float32", or "int32", the sums alone.
      dequant_factor: f, by what the scales are: BOTH_ABSMAX, ONE_ABSMAX or TRUE_SCALES.
      backend: a name of `backends()`; the fastest that this machine has if empty.
      bias_type: "bfloat16" for its bits in a uint16 array.
    """
    return LinearLayer(
        _core.Layer(
            weight,
            scale_w,
            bias,
            out_type=out_type,
            dequant_factor=dequant_factor,
            backend=backend,
            stream=stream,
            bias_type=bias_type,
        )
    )


def backends() -> list[dict[str, Any]]:
    """Every backend with name, summary, whether it is available here, and the reason if not."""
    return _core.backends()


def architect(document: str, *, device: str = "h100-sxm") -> dict[str, str]:
    """Judges a kernel: is it worth optimising, what holds it back, the one change, what it gains.

    Args:
      document: Markdown with a PyTorch reference and its current Triton kernel (docs/architect.md).
      device: the GPU to judge for; `quoin devices` lists them.

    Returns: worth_optimizing, reason, bottleneck, optimisation method, modification plan and
      expected_speedup, in this order.

    Raises ValueError where the document lacks a part, naming it.
    """
    if not hasattr(_core, "architect"):
        raise RuntimeError("this build of quoin has no architect; rebuild it with QUOIN_ARCHITECT=ON")
    return json.loads(_core.architect(document, device))


def _threads(threads: int | None) -> int:
    return _usable_cpus() if threads is None else threads


def _usable_cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _empty(like: Any, shape: tuple[int, ...], element_type: str) -> Any:
    """An uninitialised array of the same library and on the same device as `like`."""
    library = type(like).__module__.partition(".")[0]
    module = sys.modules.get(library)
    if library == "torch":
        return module.empty(shape, dtype=getattr(module, element_type), device=like.device)
    if library in ("numpy", "cupy"):
        name = "uint16" if element_type == "bfloat16" else element_type
        if library == "numpy":
            return module.empty(shape, dtype=name)
        with like.device:
            return module.empty(shape, dtype=name)
    raise ValueError(
        f"no array can be made for the result: {type(like).__module__}.{type(like).__qualname__} is "
        "not of NumPy, PyTorch or CuPy; pass the outputs"
    )


def __getattr__(name: str) -> Any:
    if name in ("load_compressed", "save_compressed"):  # they need PyTorch
        from . import checkpoint

        return getattr(checkpoint, name)
    raise AttributeError(f"module 'quoin' has no attribute '{name}'")
