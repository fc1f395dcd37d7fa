"""Models quantised in place."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import nn
from tqdm.auto import tqdm

from .layers import Int8Linear


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What quantising did to one layer's weight W, with Q the int8 weight dequantised."""

    name: str
    out_features: int
    in_features: int
    relative_error: float  # ||W - Q|| / ||W||, Frobenius norms
    largest_error: float  # max |W - Q|
    bytes_before: int
    bytes_after: int


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """Every layer that `quantize_` replaced, and the linear layers that it left."""

    layers: list[LayerReport]
    skipped: list[str]

    def __str__(self) -> str:
        width = max((len(layer.name) for layer in self.layers), default=5)
        lines = [f"{'layer':{width}}  {'out x in':>13}  relative error  largest error"]
        for layer in self.layers:
            shape = f"{layer.out_features} x {layer.in_features}"
            lines.append(
                f"{layer.name:{width}}  {shape:>13}  {layer.relative_error:14.5f}  "
                f"{layer.largest_error:13.6g}"
            )
        before = sum(layer.bytes_before for layer in self.layers)
        after = sum(layer.bytes_after for layer in self.layers)
        lines.append(
            f"{len(self.layers)} layers, {before / 2**20:.1f} MiB -> {after / 2**20:.1f} MiB; "
            f"{len(self.skipped)} left as they were"
        )
        return "\n".join(lines)


def quantize_(
    model: nn.Module,
    filter: Callable[[str, nn.Linear], bool] | None = None,
    *,
    progress: bool = True,
) -> QuantizationReport:
    """Replaces the nn.Linear layers of a model by `Int8Linear`, in place.

    Args:
      model: any module but a single nn.Linear (`Int8Linear.from_float` does that).
      filter: called with a layer's name and the layer; False leaves it as it is. Left out, every
        layer but one named `lm_head` is replaced, as serving engines do.
      progress: show a progress bar on standard error.

    Returns: the error of each layer's weight. A layer that is used in several places is replaced by
      one layer in all of them. Subclasses of nn.Linear are left alone.
    """
    if isinstance(model, nn.Linear):
        raise ValueError(
            "the model is itself an nn.Linear, which nothing can replace in place; use "
            "quoin.torch.Int8Linear.from_float(model)"
        )
    chosen, skipped = _choose(model, filter)
    reports: list[LayerReport] = []
    with tqdm(total=len(chosen), desc="quantising", disable=not progress) as bar:
        while chosen:  # nothing but the model holds on to a layer: its memory is free for the next
            linear, places = next(iter(chosen.items()))
            del chosen[linear]
            quantized = Int8Linear.from_float(linear)
            reports.append(_report(places[0][2], linear, quantized))
            for parent, child, _ in places:
                setattr(parent, child, quantized)
            bar.update()
    return QuantizationReport(reports, skipped)


_Places = dict[nn.Linear, list[tuple[nn.Module, str, str]]]  # parent, its attribute, full name


def _choose(
    model: nn.Module, filter: Callable[[str, nn.Linear], bool] | None
) -> tuple[_Places, list[str]]:
    """The layers to replace, and the names of those that stay."""
    chosen: _Places = {}
    skipped: list[str] = []
    for name, layer in model.named_modules(remove_duplicate=False):
        if not isinstance(layer, nn.Linear):
            continue
        parent, _, child = name.rpartition(".")
        wanted = child != "lm_head" if filter is None else filter(name, layer)
        if wanted and type(layer) is nn.Linear:
            chosen.setdefault(layer, []).append((model.get_submodule(parent), child, name))
        else:
            skipped.append(name)
    return chosen, skipped


@torch.no_grad()
def _report(name: str, linear: nn.Linear, layer: Int8Linear) -> LayerReport:
    weight = linear.weight.float()
    error = weight - layer.dequantized_weight()
    norm = float(weight.norm())
    return LayerReport(
        name=name,
        out_features=linear.out_features,
        in_features=linear.in_features,
        relative_error=float(error.norm()) / norm if norm > 0 else 0.0,
        largest_error=float(error.abs().max()) if error.numel() else 0.0,
        bytes_before=linear.weight.nbytes,
        bytes_after=layer.weight.nbytes + layer.weight_scale.nbytes,
    )
