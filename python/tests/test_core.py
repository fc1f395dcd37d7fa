"""The package's core, with NumPy alone."""

import threading

import numpy as np
import pytest
import quoin
from conftest import oracle


def bits(array):
    return array.view(np.uint16 if array.itemsize == 2 else np.uint32)


def available():
    return [b["name"] for b in quoin.backends() if b["available"] and not b["on_gpu"]]


@pytest.mark.parametrize("backend", available())
def test_same_bits_as_the_contract(problem, backend):
    p = problem
    layer = quoin.prepare(p["weight"], p["scale_w"], p["bias"], backend=backend)
    assert layer.backend == backend
    y = layer(p["codes"], p["scales"], threads=2)
    expected = oracle(p["codes"], p["scales"], p["weight"], p["scale_w"], p["bias"])
    assert y.dtype == np.float16
    np.testing.assert_array_equal(bits(y), bits(expected.astype(np.float16)))


def test_output_types(problem):
    p = problem
    expected = oracle(p["codes"], p["scales"], p["weight"], p["scale_w"], factor=quoin.TRUE_SCALES)
    layer = quoin.prepare(
        p["weight"], p["scale_w"], out_type="float32", dequant_factor=quoin.TRUE_SCALES
    )
    np.testing.assert_array_equal(bits(layer(p["codes"], p["scales"])), bits(expected))

    layer = quoin.prepare(
        p["weight"], p["scale_w"], out_type="bfloat16", dequant_factor=quoin.TRUE_SCALES
    )
    y = layer(p["codes"], p["scales"])
    assert y.dtype == np.uint16
    wide = bits(expected)
    rounded = (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16  # ties to even
    np.testing.assert_array_equal(y, rounded)

    sums = quoin.prepare(p["weight"], out_type="int32")(p["codes"])
    np.testing.assert_array_equal(sums, p["codes"].astype(np.int32) @ p["weight"].astype(np.int32).T)


def test_quantiser(rng):
    x = rng.normal(size=(6, 33)).astype(np.float32)
    x[1] = 0
    x[2, 5] = np.nan
    x[3, 5] = -np.inf
    codes, scales = quoin.quantize_rows(x)
    good = [0, 4, 5]
    largest = np.abs(x[good]).max(axis=1)
    np.testing.assert_array_equal(scales[good], largest)
    np.testing.assert_array_equal(
        codes[good], np.rint(np.float32(127) * (x[good] / largest[:, None])).astype(np.int8)
    )
    assert scales[1] == 0 and np.isnan(scales[2]) and np.isnan(scales[3])
    assert not codes[1:4].any()


def test_dynamic_is_both_steps(rng, problem):
    p = problem
    x = rng.normal(size=(9, 67)).astype(np.float16)
    layer = quoin.prepare(p["weight"], p["scale_w"], p["bias"])
    np.testing.assert_array_equal(bits(layer.dynamic(x)), bits(layer(*quoin.quantize_rows(x))))


def test_bfloat16_as_its_bits(rng, problem):
    x = rng.normal(size=(4, 67)).astype(np.float32)
    half = (bits(x) >> 16).astype(np.uint16)  # truncated: exactly bfloat16 values
    same = (half.astype(np.uint32) << 16).view(np.float32)
    codes, scales = quoin.quantize_rows(half, x_type="bfloat16")
    expected, expected_scales = quoin.quantize_rows(same)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(scales, expected_scales)
    with pytest.raises(ValueError, match="x has elements of DLPack type 1 with 16 bits"):
        quoin.quantize_rows(half)


def test_strides_outputs_and_read_only(problem):
    p = problem
    wide = np.zeros((5, 100), np.int8)
    wide[:, 3:70] = p["codes"]
    codes = wide[:, 3:70]
    codes.flags.writeable = False
    out = np.full((5, 12), 7, np.float16)
    layer = quoin.prepare(p["weight"], p["scale_w"])
    assert layer(codes, p["scales"].reshape(5, 1), out[:, 2:9]).base is out
    np.testing.assert_array_equal(
        bits(np.ascontiguousarray(out[:, 2:9])), bits(layer(p["codes"], p["scales"]))
    )
    assert (out[:, :2] == 7).all() and (out[:, 9:] == 7).all()
    out.flags.writeable = False
    with pytest.raises(TypeError):  # nanobind refuses what it may not write to
        layer(codes, p["scales"], out[:, 2:9])


def test_weights_are_copied_on_the_cpu(problem):
    p = problem
    layer = quoin.prepare(p["weight"], p["scale_w"], p["bias"])
    before = layer(p["codes"], p["scales"])
    p["weight"][:] = 0
    p["scale_w"][:] = 0
    np.testing.assert_array_equal(bits(layer(p["codes"], p["scales"])), bits(before))


def test_many_threads_share_a_layer(problem):
    p = problem
    layer = quoin.prepare(p["weight"], p["scale_w"], p["bias"])
    expected = bits(layer(p["codes"], p["scales"]))
    wrong = []

    def work():
        for _ in range(200):
            if (bits(layer(p["codes"], p["scales"], threads=1)) != expected).any():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_errors_hold_the_values(problem):
    p = problem
    layer = quoin.prepare(p["weight"], p["scale_w"])
    cases = [
        (lambda: layer(p["codes"][:, :60], p["scales"]), ValueError, r"\[5, 60\].*67"),
        (lambda: layer(p["codes"], p["scales"][:4]), ValueError, r"\[4\].*5"),
        (lambda: layer(p["codes"].astype(np.float32), p["scales"]), ValueError, "float32"),
        (lambda: layer(p["codes"], p["scales"], threads=0), ValueError, "0"),
        (lambda: layer(np.asfortranarray(p["codes"]), p["scales"]), ValueError, r"strides \[1, 5\]"),
        (lambda: quoin.prepare(p["weight"]), ValueError, r"scale_w is missing.*\[7\]"),
        (lambda: quoin.prepare(p["weight"], p["scale_w"], backend="abacus"), ValueError, "abacus"),
        (lambda: quoin.prepare(p["weight"], p["scale_w"], out_type="int4"), ValueError, "int4"),
        (
            lambda: quoin.prepare(np.zeros((1, 131_072), np.int8), np.ones(1, np.float32)),
            NotImplementedError,
            "131072",
        ),
        (lambda: quoin.quantize_rows(np.zeros((2, 3, 4), np.float32)), ValueError, "3 dimensions"),
        (lambda: quoin.quantize_rows(np.zeros((2, 3), np.float64)), ValueError, "64 bits"),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind, match=message):
            call()


def test_random_bad_calls_raise_or_work(rng, problem):
    """A few thousand calls with anything for anything: a Python error or a result, never a crash."""
    p = problem
    layer = quoin.prepare(p["weight"], p["scale_w"], p["bias"])
    things = [
        None, 0, -1, 1.5, "x", b"bytes", [], [1, 2], {}, object(),
        *p.values(),
        p["codes"][:0], p["codes"][:, ::2], p["codes"].T, p["codes"][::-1], p["codes"][0],
        p["weight"][:, :1], p["scales"][::2], p["scales"].astype(np.float64),
        np.zeros((0, 67), np.int8), np.zeros((5, 0), np.int8), np.zeros((5, 7), np.float16),
        np.zeros((5, 7), np.float32), np.zeros((5, 67), np.float32), np.zeros((2, 2, 2), np.int8),
        np.zeros((), np.int8), np.zeros(5, bool), np.zeros(5, np.complex64), np.array(["a", "b"]),
        np.broadcast_to(np.int8(3), (5, 67)), np.broadcast_to(np.float32(3), (5,)),
    ]  # fmt: skip

    def any_thing():
        return things[rng.integers(len(things))]

    calls = [
        lambda: quoin.quantize_rows(any_thing()),
        lambda: quoin.quantize_rows(any_thing(), any_thing(), any_thing()),
        lambda: quoin.prepare(any_thing(), any_thing(), any_thing()),
        lambda: quoin.prepare(p["weight"], any_thing(), any_thing(), out_type=any_thing()),
        lambda: layer(any_thing(), any_thing()),
        lambda: layer(p["codes"], p["scales"], any_thing()),
        lambda: layer(p["codes"], p["scales"], threads=any_thing()),
        lambda: layer.dynamic(any_thing(), any_thing()),
        lambda: layer.plan(any_thing()),
    ]
    errors = results = 0
    for _ in range(3000):
        try:
            calls[rng.integers(len(calls))]()
            results += 1
        except Exception as error:  # noqa: BLE001  (any Python error will do)
            assert str(error)
            errors += 1
    assert errors > 1000 and results > 50


def test_empty_products(problem):
    p = problem
    layer = quoin.prepare(p["weight"], p["scale_w"])
    assert layer(p["codes"][:0], p["scales"][:0]).shape == (0, 7)
    nothing = quoin.prepare(np.zeros((7, 0), np.int8), p["scale_w"], p["bias"])
    y = nothing(np.zeros((5, 0), np.int8), p["scales"])
    np.testing.assert_array_equal(y, np.broadcast_to(p["bias"], (5, 7)))


def test_plan_and_repr(problem):
    layer = quoin.prepare(problem["weight"], problem["scale_w"])
    assert "5 x 7 x 67" in layer.plan(5, threads=1)
    assert "67 -> 7 float16" in repr(layer)
    assert layer.held_bytes > 0 and layer.device == -1


def test_architect():
    document = (
        "# PyTorch Reference\n```python\nimport torch\n```\n"  # no kernel
    )
    if not hasattr(quoin._core, "architect"):
        pytest.skip("built without the architect")
    with pytest.raises(ValueError, match="kernel"):
        quoin.architect(document)
    with pytest.raises(ValueError, match="abacus"):
        quoin.architect(document, device="abacus")


def test_architect_judges_the_example(request):
    if not hasattr(quoin._core, "architect"):
        pytest.skip("built without the architect")
    example = request.config.rootpath / "examples" / "architect" / "int8_layer.md"
    verdict = quoin.architect(example.read_text())
    assert list(verdict) == [
        "worth_optimizing",
        "reason",
        "bottleneck",
        "optimisation method",
        "modification plan",
        "expected_speedup",
    ]
    assert verdict["worth_optimizing"] == "yes"


def test_cupy(problem):
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not any(b["available"] and b["on_gpu"] for b in quoin.backends()):
        pytest.skip("no CUDA device that quoin uses")
    p = {name: cupy.asarray(array) for name, array in problem.items()}
    layer = quoin.prepare(p["weight"], p["scale_w"], p["bias"])
    assert layer.device == 0
    y = layer(p["codes"], p["scales"])
    cupy.cuda.runtime.deviceSynchronize()
    expected = quoin.prepare(problem["weight"], problem["scale_w"], problem["bias"])(
        problem["codes"], problem["scales"]
    )
    np.testing.assert_array_equal(bits(cupy.asnumpy(y)), bits(expected))
    x = cupy.asarray(np.linspace(-1, 1, 4 * 67, dtype=np.float32).reshape(4, 67))
    codes, scales = quoin.quantize_rows(x)
    cupy.cuda.runtime.deviceSynchronize()
    expected_codes, expected_scales = quoin.quantize_rows(cupy.asnumpy(x))
    np.testing.assert_array_equal(cupy.asnumpy(codes), expected_codes)
    np.testing.assert_array_equal(cupy.asnumpy(scales), expected_scales)
