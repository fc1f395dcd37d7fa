"""quoin for PyTorch: operators, layers that take nn.Linear's place, and models quantised in place.

    layer = quoin.torch.Int8Linear.from_float(linear)      # nn.Linear -> int8, quantised per channel
    y = layer(x)                                           # rows of x are quantised on the way
    codes, scales = quoin.torch.quantize_rows(x)           # once, for layers that share an input
    y = layer(codes, scales)
    report = quoin.torch.quantize_(model)                  # every nn.Linear, in place

For inference: nothing here has a gradient. The operators are torch.ops.quoin.quantize_rows, linear
and dynamic_linear, each with an `out` variant; they work under torch.compile(fullgraph=True) and in
CUDA graphs. Weights are packed once on the CPU and used in place on a GPU; one that changed since -
load_state_dict, in place, .to(), a copy - is packed again by itself.
"""

from .layers import Int8Linear, RowwiseInt8Linear
from .model import LayerReport, QuantizationReport, quantize_
from .ops import (
    dynamic_linear,
    fused_int8_rowwise_dequant_matmul,
    linear,
    quantize_rows,
    set_overlap,
)

__all__ = [
    "Int8Linear",
    "LayerReport",
    "QuantizationReport",
    "RowwiseInt8Linear",
    "dynamic_linear",
    "fused_int8_rowwise_dequant_matmul",
    "linear",
    "quantize_",
    "quantize_rows",
    "set_overlap",
]
