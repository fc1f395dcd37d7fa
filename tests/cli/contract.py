"""The operator's contract in NumPy, step by step: what `quoin` must give, bit for bit.

NumPy's float32 arithmetic rounds every product and sum on its own, as the contract does.
"""

import numpy as np

FACTORS = {
    "both-absmax": np.float32(1.0 / (127.0 * 127.0)),
    "one-absmax": np.float32(1.0 / 127.0),
    "true-scales": np.float32(1.0),
}


def from_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values):
    """The nearest bfloat16 as uint16, ties to even; a NaN is 0x7FFF."""
    bits = values.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FFF), rounded)


def quantize(x):
    """int8 codes and float32 scales of a float32 matrix."""
    magnitudes = np.abs(x)
    scale = magnitudes.max(axis=1, initial=0).astype(np.float32)
    bad = ~np.isfinite(x).all(axis=1)
    safe = np.where(bad | (scale == 0), np.float32(1), scale)
    clean = np.where(bad[:, None], np.float32(0), x)
    codes = np.rint(np.float32(127) * (clean / safe[:, None])).astype(np.int8)
    return codes, np.where(bad, np.float32(np.nan), scale)


def accumulate(x, w):
    return (x.astype(np.int64) @ w.astype(np.int64).T).astype(np.int32)


def linear(x, scale_x, w, scale_w, bias=None, out_type="float16", factor="both-absmax"):
    """The layer's output; bfloat16 as uint16, NaNs as the contract stores them."""
    f = FACTORS[factor] if isinstance(factor, str) else np.float32(factor)
    b = np.float32(0) if bias is None else bias.astype(np.float32).reshape(1, -1)
    with np.errstate(over="ignore", invalid="ignore"):
        y = accumulate(x, w).astype(np.float32) * f
        y = y * scale_x.reshape(-1, 1)
        y = y * scale_w.reshape(1, -1)
        y = y + b
        assert y.dtype == np.float32
        if out_type == "bfloat16":
            return to_bfloat16(y)
        if out_type == "float16":
            bits = y.astype(np.float16).view(np.uint16)
            return np.where(np.isnan(y), np.uint16(0x7FFF), bits).view(np.float16)
        bits = np.where(np.isnan(y), np.uint32(0x7FFFFFFF), y.view(np.uint32))
        return bits.view(np.float32)


def same_bits(a, b):
    """Equal shape, type and bits; NaNs count by their bits too."""
    assert a.shape == b.shape and a.dtype == b.dtype, (a.shape, a.dtype, b.shape, b.dtype)
    different = np.flatnonzero(a.reshape(-1).view(f"u{a.itemsize}")
                               != b.reshape(-1).view(f"u{b.itemsize}"))
    if different.size:
        i = different[0]
        raise AssertionError(f"{different.size} of {a.size} differ, first at {i}: "
                             f"{a.reshape(-1)[i]!r} and {b.reshape(-1)[i]!r}")
    return True
