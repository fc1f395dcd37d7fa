"""The operators torch.ops.quoin.*: loaded, with shapes for torch.compile, and as functions."""

from __future__ import annotations

import pathlib

import torch
from torch import library

from .. import BOTH_ABSMAX

_LIBRARY = pathlib.Path(__file__).parent.parent / "_torch_ops.so"
if not _LIBRARY.exists():
    raise ImportError(
        "quoin was built without PyTorch's operators: install PyTorch 2.10 or later first, then "
        "`pip install --no-build-isolation .` in quoin's folder"
    )
torch.ops.load_library(str(_LIBRARY))


@library.register_fake("quoin::quantize_rows")
def _(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    torch._check(x.dim() >= 1, lambda: "x is a scalar; it must be [..., K]")
    codes = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    return codes, torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device)


@library.register_fake("quoin::linear")
def _(
    x: torch.Tensor,
    scale_x: torch.Tensor,
    weight: torch.Tensor,
    scale_w: torch.Tensor,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    dequant_factor: float = BOTH_ABSMAX,
    slot: torch.Tensor | None = None,
) -> torch.Tensor:
    _check_devices(x, scale_x=scale_x, weight=weight, scale_w=scale_w, bias=bias)
    return _fake_output(x, weight, out_dtype or torch.float16)


@library.register_fake("quoin::dynamic_linear")
def _(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale_w: torch.Tensor,
    bias: torch.Tensor | None = None,
    dequant_factor: float = BOTH_ABSMAX,
    slot: torch.Tensor | None = None,
) -> torch.Tensor:
    _check_devices(x, weight=weight, scale_w=scale_w, bias=bias)
    return _fake_output(x, weight, x.dtype)


def _register_fake_out(operator: torch._ops.OpOverload) -> None:
    """Of an out variant, which computes nothing on fake tensors."""
    names = [argument.name for argument in operator._schema.arguments]

    def fake(*arguments: object, **others: object) -> None:
        given = {**dict(zip(names, arguments, strict=False)), **others}
        given.pop("slot", None)  # on the CPU, always
        _check_devices(**given)

    library.register_fake(operator.name(), fake)


for _name in ("quantize_rows", "linear", "dynamic_linear"):
    _register_fake_out(getattr(torch.ops.quoin, _name).out)


def _check_devices(x: torch.Tensor, **others: object) -> None:
    """A tensor on "meta" brings a call with real ones here, where nothing would be computed."""
    for name, other in others.items():
        if isinstance(other, torch.Tensor):
            torch._check(
                other.device == x.device,
                lambda name=name, other=other: f"{name} is on {other.device}, but x on {x.device}",
            )


def _fake_output(x: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    torch._check(x.dim() >= 1, lambda: "x is a scalar; it must be [..., K]")
    torch._check(weight.dim() == 2, lambda: f"weight is {tuple(weight.shape)}; it must be [N, K]")
    torch._check(
        x.shape[-1] == weight.shape[1],
        lambda: f"x is {tuple(x.shape)}, but weight {tuple(weight.shape)}: K differs",
    )
    return torch.empty((*x.shape[:-1], weight.shape[0]), dtype=dtype, device=x.device)


def set_overlap(enabled: bool) -> None:
    """Whether a product on a GPU may fetch its weights before the kernel ahead of it on the stream
    has finished (`RunOptions::overlap`; off at first, for the whole process). For decoding with
    finished weights: a product right behind a kernel that writes its weight - or makes it, where
    another one lay at the same address - could read what was there before. Synchronise once after
    the last change of a weight. What CUDA graphs captured stays."""
    torch.ops.quoin._set_overlap(bool(enabled))


def quantize_rows(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 codes [..., K] and float32 scales [...] of x [..., K], by the largest magnitude of each
    row (`quoin.quantize_rows`). x is float16, bfloat16 or float32, its last dimension contiguous."""
    return torch.ops.quoin.quantize_rows(x)


def linear(
    x: torch.Tensor,
    scale_x: torch.Tensor,
    weight: torch.Tensor,
    scale_w: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    out_dtype: torch.dtype = torch.float16,
    dequant_factor: float = BOTH_ABSMAX,
) -> torch.Tensor:
    """x * weight^T, dequantised, with bias, on quantised rows. On the CPU the weight is packed for
    every call; a layer (`Int8Linear`, `RowwiseInt8Linear`) packs it once. On a GPU nothing is
    packed.

    Args:
      x: int8 [..., K]. scale_x: float32 [...], or [M, 1] beside [M, K].
      weight: int8 [N, K]. scale_w: float32 [N] or [N, 1].
      bias: float16, bfloat16 or float32 [N], or None.
      out_dtype: torch.float16, bfloat16 or float32.
      dequant_factor: quoin.BOTH_ABSMAX, ONE_ABSMAX or TRUE_SCALES, by what the scales are.

    Returns: [..., N].
    """
    return torch.ops.quoin.linear(
        x, scale_x, weight, scale_w, bias, out_dtype, dequant_factor
    )


def dynamic_linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale_w: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    dequant_factor: float = BOTH_ABSMAX,
) -> torch.Tensor:
    """`quantize_rows` and `linear` in one call, the same bits. x: float16, bfloat16 or float32
    [..., K]; the result has its type. Packs as `linear` does."""
    return torch.ops.quoin.dynamic_linear(x, weight, scale_w, bias, dequant_factor)


def fused_int8_rowwise_dequant_matmul(
    x: torch.Tensor,
    weight_int8: torch.Tensor,
    scale_x: torch.Tensor,
    scale_w: torch.Tensor,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """`linear` with float16 output and both scales absmax, under the name and the order of
    arguments that kernels for this operator go by. Packs the weight for every call on the CPU, not
    on a GPU."""
    return torch.ops.quoin.linear(x, scale_x, weight_int8, scale_w, bias)
