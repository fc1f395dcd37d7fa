"""Shared by the package's tests. Those that need PyTorch are listed as skipped without it."""

import numpy as np
import pytest


def oracle(codes, scales, weight, scale_w, bias=None, factor=None):
    """The contract in NumPy, float32 [M, N] before the last rounding."""
    import quoin

    f = np.float32(quoin.BOTH_ABSMAX if factor is None else factor)
    acc = codes.astype(np.int64) @ weight.astype(np.int64).T
    assert np.abs(acc).max(initial=0) < 2**31
    y = (acc.astype(np.int32).astype(np.float32) * f) * scales.reshape(-1, 1).astype(np.float32)
    y = y * scale_w.reshape(1, -1).astype(np.float32)
    return y if bias is None else y + bias.reshape(1, -1).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


@pytest.fixture
def problem(rng):
    """Codes over all of int8, -128 included, and scales, for 5 x 7 x 67 (M x N x K)."""
    m, n, k = 5, 7, 67
    return {
        "codes": rng.integers(-128, 128, (m, k), dtype=np.int8),
        "scales": rng.uniform(0.5, 2, m).astype(np.float32),
        "weight": rng.integers(-128, 128, (n, k), dtype=np.int8),
        "scale_w": rng.uniform(0.5, 2, n).astype(np.float32),
        "bias": rng.normal(size=n).astype(np.float16),
    }
