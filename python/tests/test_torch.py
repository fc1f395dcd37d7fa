"""quoin.torch. On the CPU, and on each GPU that PyTorch and quoin both have."""

import copy
import io
import pickle
import weakref

import numpy as np
import pytest
import quoin

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("quoin.torch", reason="quoin was built without PyTorch's operators")

import torch.nn.functional as F  # noqa: E402
from quoin.torch import (  # noqa: E402
    Int8Linear,
    RowwiseInt8Linear,
    fused_int8_rowwise_dequant_matmul,
    quantize_,
    quantize_rows,
)
from torch import library, nn  # noqa: E402

GPU = any(b["available"] and b["on_gpu"] for b in quoin.backends()) and torch.cuda.is_available()
no_gpu = pytest.mark.skipif(not GPU, reason="no CUDA device that PyTorch and quoin both use")
DEVICES = ["cpu", pytest.param("cuda", marks=no_gpu)]
ops = torch.ops.quoin


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(20261121)


class ReferenceModel(nn.Module):
    """The layer as a user would write it in PyTorch, product in float32."""

    def __init__(self, in_features=2048, out_features=2048):
        super().__init__()
        codes = torch.randint(-128, 127, (out_features, in_features), dtype=torch.int8)
        self.weight_int8 = nn.Parameter(codes, requires_grad=False)
        scale = torch.randn(out_features, dtype=torch.float32).abs() * 0.01
        self.scale_w = nn.Parameter(scale, requires_grad=False)
        bias = torch.randn(out_features, dtype=torch.float16) * 0.01
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, x, scale_x):
        acc = torch.matmul(x.float(), self.weight_int8.t().float())
        output = self.scale_w[None, :] * (scale_x[:, None] * (acc * (1.0 / (127.0 * 127.0))))
        return (output + self.bias[None, :]).to(torch.float16)


def bits(tensor):
    size = {2: torch.int16, 4: torch.int32, 1: torch.int8}[tensor.element_size()]
    return tensor.contiguous().view(size).cpu()


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(bits(a), bits(b))


def packs():
    return ops._prepare_calls()


def layer_on(device, in_features=96, out_features=40, bias=True, dtype=torch.float16):
    return Int8Linear.from_float(nn.Linear(in_features, out_features, bias).to(device, dtype))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("m", [1, 5, 128])
def test_takes_the_reference_models_place(device, m):
    k, n = 512, 384  # 128 * 127 * 512 < 2^24: the float32 product is exact
    reference = ReferenceModel(k, n)
    layer = RowwiseInt8Linear(k, n)
    assert reference.state_dict().keys() == layer.state_dict().keys()
    layer.load_state_dict(reference.state_dict())
    reference.to(device)
    layer.to(device)
    x = torch.randint(-128, 128, (m, k), dtype=torch.int8, device=device)
    scale_x = torch.rand(m, device=device) + 0.5
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    expected = reference(x, scale_x)
    torch.backends.cuda.matmul.allow_tf32 = before
    assert same(layer(x, scale_x), expected)
    function = fused_int8_rowwise_dequant_matmul(
        x, layer.weight_int8, scale_x, layer.scale_w, layer.bias
    )
    assert same(function, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_int8_linear(device, dtype):
    linear = nn.Linear(256, 96).to(device, dtype)
    layer = Int8Linear.from_float(linear)
    x = torch.randn(4, 3, 256, device=device, dtype=dtype)
    y = layer(x)
    assert y.shape == (4, 3, 96) and y.dtype == dtype and y.device == x.device
    expected = linear.float()(x.float())
    assert (y.float() - expected).norm() < 0.02 * expected.norm()

    codes, scales = quantize_rows(x)
    assert codes.shape == x.shape and scales.shape == (4, 3)
    assert same(layer(codes, scales), y)  # quantised once, for several layers
    assert same(layer(x[1:2, 2]), y[1:2, 2])  # a row alone and in a batch


@pytest.mark.parametrize("device", DEVICES)
def test_same_bits_as_the_core(device):
    layer = layer_on(device)
    x = torch.randn(7, 96, device=device, dtype=torch.float16)
    core = quoin.prepare(
        layer.weight.cpu().numpy(),
        layer.weight_scale.cpu().numpy(),
        layer.bias.cpu().numpy(),
        dequant_factor=quoin.ONE_ABSMAX,
    )
    expected = core.dynamic(x.cpu().numpy())
    assert np.array_equal(bits(layer(x)).numpy(), expected.view(np.int16))


@pytest.mark.parametrize("device", DEVICES)
def test_leading_dimensions_and_strides(device):
    layer = layer_on(device)
    x = torch.randn(6, 4, 2 * 96, device=device, dtype=torch.float16)
    cases = [
        x[..., :96],  # wide rows
        x[..., 96:].transpose(0, 1),  # no even sequence of rows
        x[::2, :, :96],
        x[:0, :, :96],
        x[0, 0, :96],
        x[:, 1, 96:],
        x[0, 0, :96].expand(3, 96),
    ]
    for case in cases:
        expected = layer(case.contiguous())
        assert same(layer(case), expected)
        out = torch.empty_like(expected)
        ops.dynamic_linear.out(
            case, layer.weight, layer.weight_scale, layer.bias, quoin.ONE_ABSMAX, out=out
        )
        assert same(out, expected)
        codes, scales = quantize_rows(case)
        assert same(layer(codes, scales), expected)
        codes_out, scales_out = torch.empty_like(codes), torch.empty_like(scales)
        ops.quantize_rows.out(case, codes=codes_out, scales=scales_out)
        assert same(codes_out, codes) and same(scales_out, scales)


def change_by(how, layer, device):
    """Another weight in the same module."""
    if how == "load_state_dict":
        layer.load_state_dict(layer_on(device).state_dict())
    elif how == "in place":
        layer.weight.add_(1)
    elif how == "scale in place":
        layer.weight_scale.mul_(2)
    elif how == "bias in place":
        layer.bias.add_(1)
    elif how == "new parameter":
        layer.weight = nn.Parameter(layer.weight.flip(0), requires_grad=False)
    elif how == "data":
        layer.weight.data = layer.weight.data.flip(0)
    elif how == "to":
        layer.to(torch.bfloat16)
    elif how == "pickle":
        return pickle.loads(pickle.dumps(layer)), True
    elif how == "deepcopy":
        return copy.deepcopy(layer), True
    elif how == "save":
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        return torch.load(file, weights_only=False), True
    return layer, False


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "how",
    ["load_state_dict", "in place", "scale in place", "bias in place", "new parameter", "data", "to"]
    + ["pickle", "deepcopy", "save"],
)
def test_a_stale_pack_never_runs(how, device, compiled):
    layer = layer_on(device)
    x = torch.randn(3, 96, device=device, dtype=torch.float16)
    before = layer(x)
    layer, unchanged = change_by(how, layer, device)
    forward = torch.compile(layer, fullgraph=True) if compiled else layer
    y = forward(x)
    fresh = ops.dynamic_linear(x, layer.weight, layer.weight_scale, layer.bias, quoin.ONE_ABSMAX)
    assert same(y, fresh)
    assert unchanged or how == "to" or not same(y, before)
    if unchanged:  # the copy's weight is its own
        layer.weight.add_(1)
        fresh = ops.dynamic_linear(
            x, layer.weight, layer.weight_scale, layer.bias, quoin.ONE_ABSMAX
        )
        assert same(layer(x), fresh) and not same(fresh, before)


def test_compiled_code_sees_a_weight_that_changed():
    layer = layer_on("cpu")
    x = torch.randn(3, 96, dtype=torch.float16)
    compiled = torch.compile(layer, fullgraph=True)
    compiled(x)
    layer.weight.add_(1)
    assert same(compiled(x), layer(x))


def test_packs_once_and_says_so():
    layer = layer_on("cpu")
    x = torch.randn(3, 96, dtype=torch.float16)
    layer(x)
    start = packs()
    for _ in range(3):
        layer(x)
    assert packs() == start
    for _ in range(3):  # the function form packs for each call
        ops.dynamic_linear(x, layer.weight, layer.weight_scale, layer.bias)
    assert packs() == start + 3
    with torch.inference_mode():
        layer(x)
    assert packs() == start + 3


@pytest.mark.parametrize("device", DEVICES)
def test_other_views_of_packed_memory_are_checked_again(device):
    slot = torch.tensor(ops._new_slot())
    base = torch.randint(-127, 128, (40, 192), dtype=torch.int8, device=device)
    weight, scale, bias = base[:, :96], torch.rand(80, device=device)[:40], torch.rand(40, device=device)
    codes, scales = quantize_rows(torch.randn(3, 96, dtype=torch.float16, device=device))

    def run(w, s, b):
        return ops.linear(codes, scales, w, s, b, None, 6.2e-5, slot)

    expected = run(weight, scale, bias)
    for bad in [
        (base[:, ::2], scale, bias),
        (weight.view(torch.uint8), scale, bias),
        (weight, scale[:39], bias),
        (weight, torch.as_strided(scale, (40,), (2,)), bias),
        (weight, scale.view(torch.int32), bias),
        (weight, scale, bias[:39]),
    ]:
        with pytest.raises(RuntimeError):
            run(*bad)
    assert same(run(weight, scale, bias), expected)


@pytest.mark.parametrize("how", ["from_float", "init", "to", "rowwise"])
def test_layers_made_under_inference_mode_are_packed_once(how):
    x = torch.randn(3, 96, dtype=torch.float16)
    with torch.inference_mode():
        args = (x,)
        if how == "init":
            layer = Int8Linear(96, 40)
        elif how == "rowwise":
            layer, args = RowwiseInt8Linear(96, 40), quantize_rows(x)
        else:
            layer = layer_on("cpu")
        if how == "to":
            layer.to(torch.bfloat16)
        assert not any(p.is_inference() for p in layer.parameters())
        before = layer(*args)
        start = packs()
        assert same(layer(*args), before) and packs() == start
        next(layer.parameters()).add_(1)  # the weight
        assert not same(layer(*args), before) and packs() == start + 1


def test_weights_without_a_version_are_never_kept():
    with torch.inference_mode():
        layer = copy.deepcopy(layer_on("cpu"))
        assert layer.weight.is_inference()
        x = torch.randn(3, 96, dtype=torch.float16)
        before = layer(x)
        layer.weight.add_(1)
        assert not same(layer(x), before)


def test_freed_slots_are_gone():
    layer = layer_on("cpu")
    number = layer._slot.number
    x = torch.randn(3, 96, dtype=torch.float16)
    weight, scale, bias = layer.weight, layer.weight_scale, layer.bias
    layer(x)
    del layer
    start = packs()
    ops.dynamic_linear(x, weight, scale, bias, quoin.ONE_ABSMAX, number)
    assert packs() == start + 1


@pytest.mark.parametrize("device", DEVICES)
def test_casts_keep_the_scales_exact(device):
    layer = layer_on(device)
    scale = layer.weight_scale.clone()
    layer.half().bfloat16()
    assert layer.weight_scale.dtype == torch.float32 and same(layer.weight_scale, scale)
    assert layer.bias.dtype == torch.bfloat16 and layer.out_dtype == torch.bfloat16
    assert layer.weight.dtype == torch.int8
    codes, scales = quantize_rows(torch.randn(2, 96, device=device))
    assert layer(codes, scales).dtype == torch.bfloat16


@pytest.mark.parametrize("device", DEVICES)
def test_opcheck(device):
    layer = layer_on(device)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        x = torch.randn(5, 96, device=device, dtype=dtype)
        codes, scales = quantize_rows(x)
        weights = (layer.weight, layer.weight_scale, layer.bias)
        library.opcheck(ops.quantize_rows.default, (x,))
        library.opcheck(ops.quantize_rows.out, (x,), {"codes": codes, "scales": scales})
        library.opcheck(ops.linear.default, (codes, scales, *weights, dtype, 1.0))
        out = torch.empty(5, 40, device=device, dtype=dtype)
        library.opcheck(ops.linear.out, (codes, scales, *weights, 1.0), {"out": out})
        library.opcheck(ops.dynamic_linear.default, (x, *weights, 1.0))
        library.opcheck(ops.dynamic_linear.out, (x, *weights, 1.0), {"out": out})


@pytest.mark.parametrize("device", DEVICES)
def test_compiles_in_one_graph(device):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = layer_on(device), layer_on(device)
            self.down = layer_on(device, 40, 96)

        def forward(self, x):
            codes, scales = quantize_rows(F.rms_norm(x, (96,)))
            return x + self.down(F.silu(self.q(codes, scales)) * self.k(codes, scales))

    block = Block()
    compiled = torch.compile(block, fullgraph=True, dynamic=True)
    for m in (1, 3, 17):
        x = torch.randn(2, m, 96, device=device, dtype=torch.float16)
        torch.testing.assert_close(compiled(x), block(x), rtol=2e-2, atol=2e-2)


def test_quantizes_a_model_in_place(capsys):
    shared = nn.Linear(32, 32)
    model = nn.ModuleDict(
        {
            "a": nn.Sequential(nn.Linear(64, 32), nn.ReLU(), shared),
            "b": shared,
            "lm_head": nn.Linear(32, 100),
        }
    )
    report = quantize_(model)
    assert isinstance(model["a"][0], Int8Linear) and isinstance(model["a"][2], Int8Linear)
    assert model["a"][2] is model["b"]
    assert type(model["lm_head"]) is nn.Linear
    assert [layer.name for layer in report.layers] == ["a.0", "a.2"]
    assert report.skipped == ["lm_head"]
    assert all(0 < layer.relative_error < 0.01 for layer in report.layers)
    assert "a.0" in str(report) and "2 layers" in str(report)
    assert "quantising" in capsys.readouterr().err

    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    report = quantize_(model, lambda name, layer: name == "1", progress=False)
    assert type(model[0]) is nn.Linear and isinstance(model[1], Int8Linear)
    assert not capsys.readouterr().err
    with pytest.raises(ValueError, match="itself an nn.Linear"):
        quantize_(nn.Linear(8, 8))


def test_quantizing_holds_one_float_layer_at_a_time(monkeypatch):
    model = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    alive = [weakref.ref(layer) for layer in model]
    counts = []

    def from_float(linear, original=Int8Linear.from_float):
        counts.append(sum(layer() is not None for layer in alive))
        return original(linear)

    monkeypatch.setattr(Int8Linear, "from_float", from_float)
    quantize_(model, progress=False)
    assert counts == [3, 2, 1]


@pytest.mark.parametrize("device", DEVICES)
def test_errors_hold_the_values(device):
    layer = layer_on(device)
    x = torch.randn(3, 96, device=device, dtype=torch.float16)
    codes, scales = quantize_rows(x)
    cases = [
        (lambda: layer(x[:, :90]), r"\[3, 90\].*96"),
        (lambda: layer(x.double()), "Double"),
        (lambda: layer(x.t().contiguous().t()), r"strides \[1, 3\]"),
        (lambda: layer(codes, scales[:2]), r"\[2\].*\[3, 96\]"),
        (lambda: layer(codes, scales.half()), "float16"),
        (lambda: layer(codes.float(), scales), "float32"),
        (lambda: ops.linear(codes, scales, layer.weight.t(), layer.weight_scale), r"\[96, 40\]"),
        (lambda: quantize_rows(torch.tensor(1.0, device=device)), "scalar"),
        (
            lambda: ops.dynamic_linear.out(
                x, layer.weight, layer.weight_scale, out=x.new_empty(3, 41)
            ),
            r"\[3, 41\].*40",
        ),
        (lambda: ops.dynamic_linear.out(x, layer.weight, layer.weight_scale, out=None), "out is None"),
        (lambda: ops.dynamic_linear(x, None, layer.weight_scale), "weight is None"),
        (lambda: ops.linear(codes, None, layer.weight, layer.weight_scale), "scale_x is None"),
        (lambda: ops.linear(codes, scales, layer.weight, None), "scale_w is None"),
        (lambda: ops.dynamic_linear(x, layer.weight.to("meta"), layer.weight_scale), "weight is on meta"),
        (
            lambda: ops.dynamic_linear.out(
                x, layer.weight, layer.weight_scale, out=torch.empty(3, 40, device="meta")
            ),
            "out is on meta",
        ),
        (
            lambda: ops.quantize_rows.out(x, codes=codes, scales=scales.to("meta")),
            "scales is on meta",
        ),
        (
            lambda: ops.dynamic_linear.out(
                x, layer.weight.to("meta"), layer.weight_scale, out=x.new_empty(3, 40)
            ),
            "weight is on meta",
        ),
    ]
    given = {"scale_x": scales, "weight": layer.weight, "scale_w": layer.weight_scale}
    for name in given:
        others = {**given, name: given[name].to("meta")}
        cases.append(
            (
                lambda others=others: ops.linear.out(codes, **others, out=x.new_empty(3, 40)),
                f"{name} is on meta",
            )
        )
    if device != "cpu":
        cases.append((lambda: layer(codes, scales.cpu()), "scale_x is on the CPU, but x on cuda:0"))
        cases.append((lambda: layer(x.cpu()), "weight|cuda:0"))
    for call, message in cases:
        with pytest.raises((RuntimeError, NotImplementedError), match=message):
            call()


@pytest.mark.parametrize("device", DEVICES)
def test_random_bad_calls_raise_or_work(device):
    generator = np.random.default_rng(3)
    layer = layer_on(device)
    x = torch.randn(3, 96, device=device, dtype=torch.float16)
    codes, scales = quantize_rows(x)
    things = [
        None, 0, 2.5, "x", [1], torch.float16,
        x, codes, scales, layer.weight, layer.weight_scale, layer.bias,
        x.t(), x[:, ::2], x[:0], x[0], x.double(), x.bool(), x.to(torch.complex64), x[None, :, None],
        codes.t(), scales[:2], scales[None], torch.empty(0, device=device),
        torch.tensor(3, device=device), x.cpu(), codes.cpu(), torch.empty(3, 96, device="meta"),
        x.to_sparse(), torch.zeros(2, 131_072, dtype=torch.int8, device=device),
    ]  # fmt: skip

    def any_thing():
        return things[generator.integers(len(things))]

    calls = [
        lambda: quantize_rows(any_thing()),
        lambda: ops.quantize_rows.out(any_thing(), codes=any_thing(), scales=any_thing()),
        lambda: layer(any_thing()),
        lambda: layer(any_thing(), any_thing()),
        lambda: ops.linear(any_thing(), any_thing(), any_thing(), any_thing(), any_thing()),
        lambda: ops.linear(codes, scales, any_thing(), any_thing(), any_thing(), any_thing()),
        lambda: ops.linear(codes, scales, layer.weight, layer.weight_scale, None, None, 1.0, any_thing()),
        lambda: ops.dynamic_linear(x, any_thing(), any_thing(), any_thing()),
        lambda: ops.dynamic_linear.out(x, layer.weight, layer.weight_scale, out=any_thing()),
    ]
    errors = results = 0
    for _ in range(3000):
        try:
            calls[generator.integers(len(calls))]()
            results += 1
        except Exception as error:  # noqa: BLE001  (any Python error will do)
            assert str(error)
            errors += 1
    assert errors > 1000 and results > 50
    if device != "cpu":
        torch.cuda.synchronize()


@no_gpu
def test_cuda_graph_and_streams():
    layer = layer_on("cuda")
    x = torch.randn(4, 96, device="cuda", dtype=torch.float16)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            layer(x)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = layer(x)
    x.copy_(torch.randn_like(x))
    graph.replay()
    assert same(y, layer(x))

    # On a stream of its own: the operator waits for what came before on that stream, and no other.
    big = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        for _ in range(20):
            big = (big @ big).clamp(-1, 1)
        z = layer(big[:4, :96])
    stream.synchronize()
    assert same(z, layer(big[:4, :96]))


@pytest.mark.parametrize("device", DEVICES)
def test_overlapping_launches_give_the_same_bits(device):
    linears = [nn.Linear(1024, 1024, dtype=torch.float16, device=device) for _ in range(4)]
    layers = [quoin.torch.Int8Linear.from_float(linear) for linear in linears]

    def chain():
        y = torch.ones(16, 1024, dtype=torch.float16, device=device)
        for _ in range(5):
            for layer in layers:
                y = layer(y)
        return y

    expected = chain()
    quoin.torch.set_overlap(True)
    try:
        assert same(chain(), expected) and same(chain(), expected)
    finally:
        quoin.torch.set_overlap(False)


@no_gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs")
def test_another_device():
    layer = layer_on("cuda:1")
    x = torch.randn(4, 96, device="cuda:1", dtype=torch.float16)
    y = layer(x)
    assert y.device == x.device and torch.cuda.current_device() == 0
    assert same(y, copy.deepcopy(layer).to("cuda:0")(x.to("cuda:0")))


@no_gpu
def test_core_takes_tensors_of_a_gpu():
    layer = layer_on("cuda")
    x = torch.randn(4, 96, device="cuda", dtype=torch.float16)
    core = quoin.prepare(
        layer.weight, layer.weight_scale, layer.bias, dequant_factor=quoin.ONE_ABSMAX
    )
    assert core.device == 0
    y = core.dynamic(x)
    torch.cuda.synchronize()
    assert same(y, layer(x))
