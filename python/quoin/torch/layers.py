"""Layers: Int8Linear for nn.Linear, RowwiseInt8Linear for layers that are given quantised rows."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

from .. import BOTH_ABSMAX, ONE_ABSMAX
from . import ops  # noqa: F401  (registers the operators)


class _Slot:
    """The cell of the operators' library that holds a layer's packed weights (torch_ops.cpp). It
    belongs to one module: a copy of the module, or one that comes from a pickle, gets its own."""

    def __init__(self) -> None:
        number = torch.ops.quoin._new_slot()
        self.number = torch.tensor(number, dtype=torch.int64, device="cpu")
        weakref.finalize(self, torch.ops.quoin._free_slot, number).atexit = False

    def __deepcopy__(self, memo: dict[int, Any]) -> _Slot:
        return _Slot()

    def __copy__(self) -> _Slot:
        return _Slot()

    def __reduce__(self) -> tuple[type[_Slot], tuple[()]]:
        return (_Slot, ())


class _Int8Layer(nn.Module):
    """What both layers have in common: scales stay float32 whatever the module is cast to."""

    _scale_name: str

    def __init__(self) -> None:
        super().__init__()
        self._slot = _Slot()

    def _slot_for(self, weight: torch.Tensor) -> torch.Tensor | None:
        """None where nothing is packed: on a GPU, rows on 16 bytes are used in place."""
        return None if weight.is_cuda and weight.shape[1] % 16 == 0 else self._slot.number

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        before = getattr(self, self._scale_name).detach()  # .data of the parameter itself is replaced
        with torch.inference_mode(False):  # new tensors with a version, as in _constant
            super()._apply(fn, recurse)
        after = getattr(self, self._scale_name)
        if after.dtype != before.dtype:  # .half(), .bfloat16(), .to(dtype)
            setattr(self, self._scale_name, _constant(before.to(device=after.device)))
        return self


class Int8Linear(_Int8Layer):
    """An nn.Linear with int8 weights, one scale per output channel, and rows of x quantised as they
    come: the W8A8 layer of language models.

        y = (float(codes * weight^T) * 1/127 * scale_x) * weight_scale + bias

    Parameters (without gradient): `weight` int8 [out_features, in_features]; `weight_scale` float32
    [out_features, 1], the weight's true scale (code * scale is the value), as in compressed-tensors
    checkpoints; `bias` of the model's type [out_features], or None.
    """

    _scale_name = "weight_scale"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        shape = (out_features, in_features)
        self.weight = _constant(torch.zeros(shape, dtype=torch.int8, device=device))
        self.weight_scale = _constant(torch.ones((out_features, 1), device=device))
        self.bias = _constant(torch.zeros(out_features, dtype=dtype, device=device)) if bias else None
        self.out_dtype = dtype

    @classmethod
    def from_float(cls, linear: nn.Linear) -> Int8Linear:
        """Quantises a layer's weight by the largest magnitude of each output channel. The bias is
        shared, not copied (but for one that was made under torch.inference_mode)."""
        weight = linear.weight.detach()
        if weight.dtype not in (torch.float16, torch.bfloat16, torch.float32):
            raise ValueError(
                f"the layer's weight is {weight.dtype}; it must be float16, bfloat16 or float32"
            )
        # Made empty, then given its tensors: no second copy of a large model.
        layer = cls(linear.in_features, linear.out_features, bias=False, device="meta")
        codes, absmax = torch.ops.quoin.quantize_rows(weight.contiguous())
        layer.weight = _constant(codes)
        layer.weight_scale = _constant((absmax / 127.0).unsqueeze(1))
        layer.bias = None if linear.bias is None else _constant(linear.bias.detach())
        layer.out_dtype = weight.dtype
        return layer

    def forward(self, x: torch.Tensor, scale_x: torch.Tensor | None = None) -> torch.Tensor:
        """[..., in_features] -> [..., out_features].

        x is float16, bfloat16 or float32, and so is the result; or int8 codes with their scales
        (`quantize_rows`), and the result is of the model's type (`out_dtype`)."""
        if scale_x is None:
            return torch.ops.quoin.dynamic_linear(
                x,
                self.weight,
                self.weight_scale,
                self.bias,
                ONE_ABSMAX,
                self._slot_for(self.weight),
            )
        return torch.ops.quoin.linear(
            x,
            scale_x,
            self.weight,
            self.weight_scale,
            self.bias,
            self.out_dtype,
            ONE_ABSMAX,
            self._slot_for(self.weight),
        )

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        super()._apply(fn, recurse)
        probe = fn(torch.empty(0, dtype=self.out_dtype, device=self.weight.device))
        if probe.is_floating_point():
            self.out_dtype = probe.dtype
        return self

    def dequantized_weight(self) -> torch.Tensor:
        """The weight that the layer stands for, float32 [out_features, in_features]."""
        return self.weight.float() * self.weight_scale

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, dtype={self.out_dtype}"
        )


class RowwiseInt8Linear(_Int8Layer):
    """The layer on rows that are already quantised, both scales the largest magnitudes:

        y = (float(x * weight_int8^T) * 1/127^2 * scale_x) * scale_w + bias        in float16

    Parameters (without gradient): `weight_int8` int8 [out_features, in_features], `scale_w` float32
    [out_features], `bias` float16 [out_features]. A new layer's are random, as in the reference
    model whose place it takes.
    """

    _scale_name = "scale_w"

    def __init__(self, in_features: int = 2048, out_features: int = 2048) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        codes = torch.randint(-128, 127, (out_features, in_features), dtype=torch.int8)
        self.weight_int8 = _constant(codes)
        self.scale_w = _constant(torch.randn(out_features, dtype=torch.float32).abs() * 0.01)
        self.bias = _constant(torch.randn(out_features, dtype=torch.float16) * 0.01)

    def forward(self, x: torch.Tensor, scale_x: torch.Tensor) -> torch.Tensor:
        """x: int8 [..., in_features]; scale_x: float32 [...]. Returns float16 [..., out_features]."""
        return torch.ops.quoin.linear(
            x,
            scale_x,
            self.weight_int8,
            self.scale_w,
            self.bias,
            torch.float16,
            BOTH_ABSMAX,
            self._slot_for(self.weight_int8),
        )

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def _constant(tensor: torch.Tensor) -> nn.Parameter:
    """A parameter without gradient. What torch.inference_mode() makes has no version counter, and
    the operators would pack it for each call: it is copied to a tensor that has one."""
    with torch.inference_mode(False):
        return nn.Parameter(
            tensor.clone() if tensor.is_inference() else tensor, requires_grad=False
        )
