"""compressed-tensors checkpoints."""

import json

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
pytest.importorskip("quoin.torch", reason="quoin was built without PyTorch's operators")

import quoin  # noqa: E402
from quoin.torch import Int8Linear, quantize_  # noqa: E402
from torch import nn  # noqa: E402


class Tiny(nn.Module):
    """Two blocks and a head, tied to the embedding."""

    def __init__(self, dtype=torch.bfloat16):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.up = nn.ModuleList([nn.Linear(32, 64, bias=i == 0) for i in range(2)])
        self.down = nn.ModuleList([nn.Linear(64, 32, bias=False) for _ in range(2)])
        self.norm = nn.RMSNorm(32)
        self.lm_head = nn.Linear(32, 50, bias=False)
        self.lm_head.weight = self.embed.weight
        self.register_buffer("rope", torch.arange(4.0), persistent=False)
        self.to(dtype)

    def forward(self, ids):
        x = self.embed(ids)
        for up, down in zip(self.up, self.down):
            x = x + down(torch.relu(up(self.norm(x))))
        return self.lm_head(x)


IDS = torch.tensor([[1, 2, 3, 49]])


@pytest.fixture
def model():
    torch.manual_seed(1)
    return Tiny()


@pytest.fixture
def saved(model, tmp_path):
    quantize_(model, progress=False)
    quoin.save_compressed(model, tmp_path, progress=False)
    return tmp_path


def edit(folder, change):
    """Applies `change` to the checkpoint's tensors."""
    file = folder / "model.safetensors"
    tensors = safetensors_torch.load_file(file)
    change(tensors)
    safetensors_torch.save_file(tensors, file)


def edit_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("shard", [10**9, 3000])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_round_trip(model, tmp_path, shard, device):
    quantize_(model, progress=False)
    expected = model(IDS)
    quoin.save_compressed(model, tmp_path, max_shard_bytes=shard, progress=False)
    assert (tmp_path / "model.safetensors.index.json").exists() == (shard == 3000)
    torch.manual_seed(2)
    other = Tiny()
    if device == "meta":
        rope = other.rope
        other = other.to("meta")
        other.rope = rope
        other.lm_head.weight = other.embed.weight
    assert quoin.load_compressed(tmp_path, other, progress=False) is other
    if device == "meta":
        other.lm_head.weight = other.embed.weight
    assert isinstance(other.up[1], Int8Linear) and type(other.lm_head) is nn.Linear
    assert torch.equal(other(IDS).view(torch.int16), expected.view(torch.int16))
    other = quoin.load_compressed(tmp_path, other, progress=False)  # over int8 layers as well
    assert torch.equal(other(IDS).view(torch.int16), expected.view(torch.int16))


def test_loading_under_inference_mode(saved, model):
    with torch.inference_mode():
        loaded = quoin.load_compressed(saved, Tiny(), progress=False)
        assert torch.equal(loaded(IDS).view(torch.int16), model(IDS).view(torch.int16))
    layers = [m for m in loaded.modules() if isinstance(m, Int8Linear)]
    assert layers and not any(p.is_inference() for layer in layers for p in layer.parameters())


def test_folder_is_what_others_read(saved):
    tensors = safetensors_torch.load_file(saved / "model.safetensors")
    assert tensors["up.0.weight"].dtype == torch.int8
    assert tensors["up.0.weight_scale"].shape == (64, 1)
    assert "lm_head.weight" not in tensors  # tied
    scheme = json.loads((saved / "config.json").read_text())["quantization_config"]
    compressed = pytest.importorskip("compressed_tensors", reason="compressed-tensors is missing")
    from compressed_tensors.quantization import QuantizationConfig

    config = QuantizationConfig.model_validate(scheme)
    assert config.format == "int-quantized" and config.ignore == ["lm_head"]
    assert config.config_groups["group_0"].weights.num_bits == 8
    assert compressed


def test_scales_of_the_models_type_and_minus_128(model, saved):
    def change(tensors):
        tensors["up.0.weight"][0, :3] = -128
        tensors["up.0.weight_scale"] = tensors["up.0.weight_scale"].to(torch.bfloat16)

    edit(saved, change)
    loaded = quoin.load_compressed(saved, Tiny(), progress=False)
    layer = loaded.up[0]
    tensors = safetensors_torch.load_file(saved / "model.safetensors")
    assert layer.weight_scale.dtype == torch.float32
    assert torch.equal(layer.weight_scale, tensors["up.0.weight_scale"].float())
    # Against the value that the checkpoint stands for.
    x = torch.randn(5, 32)
    weight = tensors["up.0.weight"].float() * tensors["up.0.weight_scale"].float()
    expected = x @ weight.t() + tensors["up.0.bias"].float()
    assert (layer(x) - expected).norm() < 0.02 * expected.norm()


def set_in(path, value):
    def change(config):
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = value

    return change


GROUP = ("quantization_config", "config_groups", "group_0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("quantization_config"), "no quantization_config"),
        (set_in(("quantization_config", "quant_method"), "gptq"), "'gptq'"),
        (set_in(("quantization_config", "format"), "pack-quantized"), "'pack-quantized'"),
        (set_in(("quantization_config", "format"), "float-quantized"), "'float-quantized'"),
        (set_in(("quantization_config", "kv_cache_scheme"), {"num_bits": 8}), "kv_cache_scheme"),
        (
            set_in(("quantization_config", "sparsity_config"), {"format": "marlin-24"}),
            "'marlin-24'",
        ),
        (set_in((*GROUP, "weights", "num_bits"), 4), "weights.num_bits is 4"),
        (set_in((*GROUP, "weights", "strategy"), "group"), "strategy is 'group'"),
        (set_in((*GROUP, "weights", "symmetric"), False), "symmetric is False"),
        (set_in((*GROUP, "weights", "type"), "float"), "type is 'float'"),
        (set_in((*GROUP, "input_activations"), None), "input_activations is None"),
        (set_in((*GROUP, "input_activations", "dynamic"), False), "dynamic is False"),
        (set_in((*GROUP, "input_activations", "strategy"), "tensor"), "strategy is 'tensor'"),
        (set_in(("quantization_config", "config_groups"), {}), "config_groups"),
    ],
)
def test_other_schemes_are_refused_by_name(saved, change, message):
    edit_config(saved, change)
    model = Tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        quoin.load_compressed(saved, model, progress=False)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("up.0.weight_scale"), "no 'up.0.weight_scale'"),
        (lambda t: t.pop("up.0.weight"), "no 'up.0.weight'"),
        (lambda t: t.pop("norm.weight"), "missing .norm.weight"),
        (lambda t: t.update(extra=torch.zeros(1)), "not the model's .extra"),
        (lambda t: t.update({"up.0.weight": torch.zeros(64, 31, dtype=torch.int8)}), r"\[64, 31\]"),
        (lambda t: t.update({"up.0.weight_scale": torch.zeros(1)}), r"F32 \[1\]"),
        (lambda t: t.update({"up.0.weight_zero_point": torch.zeros(64, 1)}), "symmetric"),
        (lambda t: t.update({"norm.weight": torch.zeros(3)}), r"\[3\]"),
        (lambda t: t.update({"embed.weight": torch.zeros(50, 32, dtype=torch.int8)}), "Embedding"),
    ],
)
def test_wrong_tensors_leave_the_model_alone(saved, change, message):
    edit(saved, change)
    model = Tiny()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        quoin.load_compressed(saved, model, progress=False)
    assert not any(isinstance(m, Int8Linear) for m in model.modules())
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


def test_broken_files(saved, model):
    with pytest.raises(FileNotFoundError):
        quoin.load_compressed(saved / "nowhere", Tiny(), progress=False)
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match="model.safetensors is no safetensors file"):
        quoin.load_compressed(saved, Tiny(), progress=False)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="neither model.safetensors nor"):
        quoin.load_compressed(saved, Tiny(), progress=False)
    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json is no JSON"):
        quoin.load_compressed(saved, Tiny(), progress=False)


def test_an_index_may_not_leave_its_folder(saved):
    index = {"weight_map": {"norm.weight": "../other.safetensors"}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="not in its folder"):
        quoin.load_compressed(saved, Tiny(), progress=False)


def test_saving_is_whole_or_not_at_all(model, saved, monkeypatch):
    before = {file.name: file.read_bytes() for file in saved.iterdir()}

    def fail(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(safetensors_torch, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        quoin.save_compressed(model, saved, progress=False)
    assert {file.name: file.read_bytes() for file in saved.iterdir()} == before


def test_nothing_to_save(tmp_path):
    with pytest.raises(ValueError, match="no Int8Linear"):
        quoin.save_compressed(Tiny(), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
