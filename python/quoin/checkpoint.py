"""compressed-tensors W8A8 checkpoints (`int-quantized` safetensors), read and written.

In such a folder `config.json` holds a `quantization_config`, and each quantised linear layer has
`<layer>.weight`, int8 [N, K], and `<layer>.weight_scale`, [N, 1], in one `model.safetensors` or in
several beside `model.safetensors.index.json`. Activations are quantised per token as they come.
Other schemes are refused by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from tqdm.auto import tqdm

from .torch.layers import Int8Linear, RowwiseInt8Linear, _constant

_CONFIG = "config.json"
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"


def load_compressed(
    path: str | os.PathLike[str], model: nn.Module, *, progress: bool = True
) -> nn.Module:
    """Loads a W8A8 checkpoint into a model, in place.

    Each nn.Linear whose weight is int8 in the checkpoint becomes a `quoin.torch.Int8Linear` on the
    same device; every other tensor is copied into the parameter or buffer of its name, in that one's
    type. A model on the meta device takes the tensors as they are, on the CPU. Parameters that the
    model ties to a loaded one may be missing.

    Everything is checked before the model is touched: raises ValueError for another scheme (naming
    it), a missing or unexpected tensor, a wrong shape or type, and FileNotFoundError.

    Returns: the model.
    """
    folder = pathlib.Path(path)
    _check_scheme(folder, _read_json(folder / _CONFIG))
    files = _files_of(folder)
    entries = _entries(folder, files)
    plan = _plan(folder, model, entries)
    with _opened(folder, set(files.values())) as opened:
        for name in tqdm(plan.layers, desc="loading int8 layers", disable=not progress):
            _load_layer(model, name, plan, files, opened)
        for name in tqdm(plan.plain, desc="loading the rest", disable=not progress):
            _load_plain(model, name, opened[files[name]].get_tensor(name))
    if callable(getattr(model, "tie_weights", None)):
        model.tie_weights()
    return model


def save_compressed(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    max_shard_bytes: int = 5_000_000_000,
    progress: bool = True,
) -> None:
    """Writes a model with `quoin.torch.Int8Linear` layers as a W8A8 checkpoint.

    The folder is made if it is missing. Tensors larger together than `max_shard_bytes` go into
    several files. A `config.json` is written from `model.config`, where there is one, with the
    quantization_config added. Each file is whole or absent, and the index, or the single file, comes
    last. Tied tensors are written once.
    """
    layers = {n: m for n, m in model.named_modules() if isinstance(m, Int8Linear)}
    for name, module in model.named_modules():
        if isinstance(module, RowwiseInt8Linear):
            raise ValueError(
                f"layer '{name}' is a RowwiseInt8Linear, whose scales are largest magnitudes; "
                "compressed-tensors knows true scales only: use Int8Linear"
            )
    if not layers:
        raise ValueError("the model has no Int8Linear layer; quantise it first (quantize_)")
    folder = pathlib.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    shards = _shards(model, max_shard_bytes)
    config = getattr(model, "config", None)
    config_json: dict[str, Any] = config.to_dict() if hasattr(config, "to_dict") else {}
    ignored = [
        n for n, m in model.named_modules() if isinstance(m, nn.Linear) and not isinstance(m, Int8Linear)
    ]
    config_json["quantization_config"] = _scheme(ignored)
    _write_whole(
        folder / _CONFIG, lambda file: file.write_text(json.dumps(config_json, indent=2, default=str))
    )
    names = (
        [_SINGLE]
        if len(shards) == 1
        else [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    )
    for file_name, tensors in tqdm(
        list(zip(names, shards)), desc="writing", unit="file", disable=not progress
    ):
        ready = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
        _write_whole(
            folder / file_name,
            lambda file, ready=ready: safetensors.torch.save_file(ready, file, {"format": "pt"}),
        )
    if len(shards) == 1:
        (folder / _INDEX).unlink(missing_ok=True)
        return
    index = {
        "metadata": {"total_size": sum(t.nbytes for shard in shards for t in shard.values())},
        "weight_map": {name: file for file, shard in zip(names, shards) for name in shard},
    }
    _write_whole(folder / _INDEX, lambda file: file.write_text(json.dumps(index, indent=2)))
    (folder / _SINGLE).unlink(missing_ok=True)


# --- the scheme


def _scheme(ignored: list[str]) -> dict[str, Any]:
    numbers = {"num_bits": 8, "type": "int", "symmetric": True}
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "quantization_status": "compressed",
        "ignore": ignored,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**numbers, "strategy": "channel", "dynamic": False},
                "input_activations": {**numbers, "strategy": "token", "dynamic": True},
                "output_activations": None,
            }
        },
    }


def _check_scheme(folder: pathlib.Path, config: dict[str, Any]) -> None:
    """Refuses whatever is not W8A8 with true scales per channel and dynamic scales per token."""

    def refuse(what: str) -> None:
        raise ValueError(
            f"{folder / _CONFIG}: {what}; quoin reads compressed-tensors 'int-quantized': int8 "
            "weights with a scale per channel, int8 activations with a dynamic scale per token"
        )

    scheme = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(scheme, dict):
        refuse("there is no quantization_config")
    method = scheme.get("quant_method", "compressed-tensors")
    if method != "compressed-tensors":
        refuse(f"quant_method is '{method}'")
    if scheme.get("format") != "int-quantized":
        refuse(f"format is '{scheme.get('format')}'")
    for extra in ("kv_cache_scheme", "transform_config"):
        if scheme.get(extra):
            refuse(f"{extra} is {scheme[extra]}")
    sparsity = (scheme.get("sparsity_config") or {}).get("format", "dense")
    if sparsity != "dense":
        refuse(f"sparsity_config has format '{sparsity}'")
    groups = scheme.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        refuse("config_groups is missing or empty")
    for name, group in groups.items():
        wanted = {
            "weights": {"strategy": "channel", "dynamic": False},
            "input_activations": {"strategy": "token", "dynamic": True},
        }
        if group.get("format") not in (None, "int-quantized"):
            refuse(f"{name} has format '{group['format']}'")
        if group.get("output_activations"):
            refuse(f"{name}.output_activations is {group['output_activations']}")
        for part, rules in wanted.items():
            numbers = group.get(part)
            if not isinstance(numbers, dict):
                refuse(f"{name}.{part} is {numbers}")
            for key, value in {"num_bits": 8, "type": "int", "symmetric": True, **rules}.items():
                found = numbers.get(key, {"type": "int", "symmetric": True, "dynamic": False}.get(key))
                if found != value:
                    refuse(f"{name}.{part}.{key} is {found!r}, not {value!r}")
            if numbers.get("actorder"):
                refuse(f"{name}.{part}.actorder is {numbers['actorder']!r}")


# --- reading


class _Plan:
    """What goes where, decided before the model is touched."""

    def __init__(self) -> None:
        self.layers: list[str] = []  # int8 layers
        self.plain: list[str] = []  # tensors that are copied as they are


def _read_json(file: pathlib.Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is no JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}, not an object")
    return content


def _files_of(folder: pathlib.Path) -> dict[str, str]:
    """Each tensor's file."""
    if (folder / _INDEX).exists():
        files = _read_json(folder / _INDEX).get("weight_map")
        if not isinstance(files, dict) or not files:
            raise ValueError(f"{folder / _INDEX} has no weight_map")
        for file in set(files.values()):
            if pathlib.PurePath(str(file)).name != file:
                raise ValueError(f"{folder / _INDEX} names '{file}', which is not in its folder")
        return files
    if not (folder / _SINGLE).exists():
        raise FileNotFoundError(f"{folder} has neither {_SINGLE} nor {_INDEX}")
    with _opened(folder, {_SINGLE}) as opened:
        return dict.fromkeys(opened[_SINGLE].keys(), _SINGLE)


@contextlib.contextmanager
def _opened(folder: pathlib.Path, names: set[str]) -> Iterator[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        opened = {}
        for name in sorted(names):
            try:
                file = safetensors.safe_open(folder / name, framework="pt")
                opened[name] = stack.enter_context(file)
            except safetensors.SafetensorError as error:
                raise ValueError(f"{folder / name} is no safetensors file: {error}") from None
        yield opened


def _entries(folder: pathlib.Path, files: dict[str, str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Each tensor's shape and type, as safetensors names it."""
    with _opened(folder, set(files.values())) as opened:
        entries = {}
        held = {file: set(opened[file].keys()) for file in opened}
        for name, file in files.items():
            if name not in held[file]:
                raise ValueError(f"{folder / file} lacks '{name}', which the index places there")
            tensor = opened[file].get_slice(name)
            entries[name] = (tuple(tensor.get_shape()), tensor.get_dtype())
    return entries


def _plan(
    folder: pathlib.Path, model: nn.Module, entries: dict[str, tuple[tuple[int, ...], str]]
) -> _Plan:
    plan = _Plan()
    modules = dict(model.named_modules())
    wanted = {**dict(model.named_parameters(remove_duplicate=False))}
    wanted.update(_persistent_buffers(model))
    unexpected: list[str] = []
    loaded: set[str] = set()

    def refuse(what: str) -> None:
        raise ValueError(f"{folder}: {what}")

    for name, (shape, dtype) in entries.items():
        layer = name.rpartition(".")[0]
        scale_name = f"{layer}.weight_scale"
        if name.endswith(".weight_zero_point"):
            refuse(f"'{name}' is there, but quoin reads symmetric weights only")
        if name.endswith(".weight") and dtype == "I8":
            linear = modules.get(layer)
            if not isinstance(linear, (nn.Linear, Int8Linear)):
                kind = "no module" if linear is None else type(linear).__name__
                refuse(f"'{name}' is int8, but the model has {kind} of that name, not nn.Linear")
            expected = (linear.out_features, linear.in_features)
            if shape != expected:
                refuse(f"'{name}' is {list(shape)}, but the model's layer {list(expected)}")
            if scale_name not in entries:
                refuse(f"'{name}' is int8, but there is no '{scale_name}'")
            scale_shape, scale_type = entries[scale_name]
            if scale_shape not in ((shape[0], 1), (shape[0],)) or scale_type not in (
                "F16",
                "BF16",
                "F32",
            ):
                refuse(
                    f"'{scale_name}' is {scale_type} {list(scale_shape)}; it must be F16, BF16 or "
                    f"F32 [{shape[0]}, 1]"
                )
            plan.layers.append(layer)
            loaded.update((name, scale_name))
        elif name.endswith(".weight_scale"):
            if f"{layer}.weight" not in entries:
                refuse(f"'{name}' is there, but no '{layer}.weight'")
        elif name in wanted:
            if tuple(wanted[name].shape) != shape:
                refuse(f"'{name}' is {list(shape)}, but the model's {list(wanted[name].shape)}")
            plan.plain.append(name)
            loaded.add(name)
        else:
            unexpected.append(name)
    present = {id(wanted[name]) for name in loaded if name in wanted}
    missing = [n for n, tensor in wanted.items() if n not in loaded and id(tensor) not in present]
    tied = set(getattr(model, "_tied_weights_keys", None) or [])
    missing = [name for name in missing if name not in tied]
    if missing or unexpected:
        refuse(
            f"{len(missing)} tensors of the model are missing ({', '.join(missing[:5]) or 'none'}), "
            f"{len(unexpected)} are not the model's ({', '.join(unexpected[:5]) or 'none'})"
        )
    if not plan.layers:
        refuse("there is no int8 weight")
    return plan


def _persistent_buffers(model: nn.Module) -> dict[str, torch.Tensor]:
    buffers = {}
    for prefix, module in model.named_modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and name not in module._non_persistent_buffers_set:
                buffers[f"{prefix}.{name}" if prefix else name] = buffer
    return buffers


def _load_layer(
    model: nn.Module, name: str, plan: _Plan, files: dict[str, str], opened: dict[str, Any]
) -> None:
    old = model.get_submodule(name)
    device = torch.device("cpu") if old.weight.is_meta else old.weight.device
    out_dtype = old.out_dtype if isinstance(old, Int8Linear) else old.weight.dtype
    layer = Int8Linear(old.in_features, old.out_features, bias=False, device="meta", dtype=out_dtype)

    def tensor(part: str) -> torch.Tensor:
        full = f"{name}.{part}"
        return opened[files[full]].get_tensor(full).to(device)

    scale = tensor("weight_scale").float().reshape(-1, 1)
    layer.weight = _constant(tensor("weight").contiguous())
    layer.weight_scale = _constant(scale)
    # Filled with the other tensors.
    layer.bias = _constant(old.bias) if old.bias is not None and old.bias.is_inference() else old.bias
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


@torch.no_grad()
def _load_plain(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    parent_name, _, child = name.rpartition(".")
    parent = model.get_submodule(parent_name)
    target = getattr(parent, child)
    if not target.is_meta:
        target.copy_(tensor)
    elif isinstance(target, nn.Parameter):
        setattr(parent, child, nn.Parameter(tensor, requires_grad=target.requires_grad))
    else:
        parent._buffers[child] = tensor


# --- writing


def _shards(model: nn.Module, most: int) -> list[dict[str, torch.Tensor]]:
    """The model's tensors in order, tied ones once, in parts of at most `most` bytes."""
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in model.state_dict(keep_vars=False).items():
        if not isinstance(tensor, torch.Tensor):
            continue
        place = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.dtype)
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        if size and size + tensor.nbytes > most:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    return shards


def _write_whole(file: pathlib.Path, write: Any) -> None:
    """Writes beside the file, then takes its place."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(handle)
    part = pathlib.Path(name)
    try:
        write(part)
        part.chmod(0o666 & ~_umask())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
