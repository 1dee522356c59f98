"""Low-rank adapters (LoRA) in an open_clip model, whose state dict goes on holding plain, merged weights.

`add_adapters` wraps layers by peft and extends the model's class in place. From then on `state_dict` gives the
weights with their updates merged, under open_clip's own names, so that a checkpoint is one of open_clip's; and
`load_state_dict` takes such a state dict. The adapters themselves, from which training goes on, are `adapter_weights`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import torch
from open_clip.modified_resnet import AttentionPool2d
from torch import Tensor, nn

from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.evaluation.during_training import random_state_kept
from sclip_plugin.evaluation.features import Encoder, evaluating
from sclip_plugin.training.attention import AttentionPool, SelfAttention, replaceable
from sclip_plugin.training.lora import LoraSettings

ADAPTER: Final = "default"  # peft's name for the only adapter of a layer
TRAINED: Final = ("logit_scale", "logit_bias")  # beside the adapters
COLOURS: Final = 3  # input channels of a layer that reads pixels
_MARK: Final = "lora_"  # in the names of peft's parameters, and of no other


class _Merging(nn.Module):
    """Mixed into the model's own class by `add_adapters`, in front of it."""

    def state_dict(self, *args: Any, prefix: str = "", **kwargs: Any) -> Any:
        """The weights with their updates merged, under the names that they have without adapters, in that order."""
        found = super().state_dict(*args, prefix=prefix, **kwargs)
        adapted = {f"{prefix}{name}": layer for name, layer in _adapted(self)}
        for name in [name for name in found if name.startswith(prefix)]:
            tensor = found.pop(name)
            if name in adapted:
                tensor = _merged(tensor, adapted[name])
            if _MARK not in name:
                found[plain(name)] = tensor
        return found

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing: Any, unknown: Any, errors: Any
    ) -> None:
        """Take the weights that are no adapted ones; of these the frozen part and the update stay as they are."""
        adapted = {f"{prefix}{name}": layer for name, layer in _adapted(self)}
        for name, tensor in super().state_dict(prefix=prefix).items():
            if _MARK in name:
                state_dict[name] = tensor
            elif plain(name) in state_dict:
                given = state_dict.pop(plain(name))
                if name in adapted and not _close(given, _merged(tensor, adapted[name])):
                    errors.append(f"{plain(name)} is not the start model's weight with the update of the adapters")
                state_dict[name] = tensor if name in adapted else given
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unknown, errors)


@lru_cache
def _merging(cls: type) -> type:
    """The class with `_Merging` in front of it, under its own name."""
    return type(cls.__name__, (_Merging, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def plain(name: str) -> str:
    """The name that a parameter has without adapters."""
    return name.replace(".base_layer.", ".").replace(".sclip_in_proj.", ".in_proj_")


def _adapted(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The name of each adapted weight in the wrapped model, with its layer."""
    from peft.tuners.lora import LoraLayer

    for name, module in model.named_modules():
        if isinstance(module, LoraLayer):
            yield f"{name}.base_layer.weight", module


@torch.no_grad()
def _merged(weight: Tensor, layer: Any) -> Tensor:
    """A weight with the update of its layer; in float64, since the host lets a GPU round products to TF32."""
    down, up = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    exact = torch.float32 if weight.device.type == "mps" else torch.float64  # of which MPS has none
    update = layer.scaling[ADAPTER] * (up.flatten(1).to(exact) @ down.flatten(1).to(exact))
    return (weight.to(exact) + update.view(weight.shape)).to(weight.dtype)


def add_adapters(model: nn.Module, settings: LoraSettings, encoder: Encoder, seed: int) -> None:
    """Wrap the linear layers, attentions and convolutions of the towers; changes the model in place.

    Adapted is what a forward pass calls as a module: a weight that is handed to a function, as CLIP's projections are,
    would pass a wrapper by. The layer that reads pixels is left alone, as are embeddings. The updates begin at zero.
    Everything but them and the logit scale is frozen; BatchNorm's statistics follow the data as they ever do.

    Args:
        model: an open_clip model.
        settings: which towers, and how.
        encoder: of this model; it makes the forward pass.
        seed: of the adapters' first values; the random state of the process is kept.

    Raises:
        UsageError: a tower that cannot be adapted.
    """
    from peft import LoraConfig, inject_adapter_in_model

    names = set(model.state_dict())
    targets = [name for tower in settings.towers for name in _prepared(model, tower, encoder)]
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules="|".join(re.escape(name) for name in targets),  # a list would match the ends of names too
    )
    with random_state_kept():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, ADAPTER)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = _MARK in name or name in TRAINED
    cls: Any = type(model)
    model.__class__ = _merging(cls)
    assert set(model.state_dict()) == names, "the names of open_clip"


def _prepared(model: nn.Module, tower: str, encoder: Encoder) -> list[str]:
    """The names of the layers of a tower that can be wrapped, after its self-attentions have become modules.

    Raises:
        UsageError: it has none.
    """
    of_tower = {name: module for name, module in model.named_modules() if _is_in(name, tower)}
    for module in of_tower.values():
        if type(module) is AttentionPool2d:
            module.__class__ = AttentionPool
    found = []
    for name in _called(model, of_tower, tower, encoder):
        module = of_tower[name]
        if isinstance(module, nn.MultiheadAttention):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, SelfAttention(module))
            found += [f"{name}.sclip_in_proj", f"{name}.out_proj"]
        else:
            found.append(name)
    if not found:
        raise UsageError(f"--lora-rank: the {tower} tower of --model has no layer that could be adapted")
    return found


def _is_in(name: str, tower: str) -> bool:
    return name.startswith("visual.") == (tower == "image")


def _called(model: nn.Module, modules: Mapping[str, nn.Module], tower: str, encoder: Encoder) -> list[str]:
    """The layers that can be wrapped or replaced and that a forward pass calls, in the model's order."""
    seen = set()

    def note(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...], _output: object) -> None:
            if not isinstance(module, nn.MultiheadAttention) or replaceable(module, arguments):
                seen.add(name)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in modules.items() if _of_a_kind(module)]
    with evaluating(model):
        if tower == "image":
            visual: Any = model.visual
            side = visual.image_size
            height, width = side if isinstance(side, tuple | list) else (side, side)
            encoder.images(torch.zeros(1, 3, height, width))
        else:
            encoder.texts(["a"])
    for hook in hooks:
        hook.remove()
    return [name for name in modules if name in seen]


def _of_a_kind(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and module.in_channels > COLOURS
    return isinstance(module, nn.Linear | nn.MultiheadAttention)


def adapter_weights(model: nn.Module) -> dict[str, Tensor]:
    """The adapters of a model by their names in it, on their device, without gradient."""
    return {name: parameter.detach() for name, parameter in model.named_parameters() if _MARK in name}


@torch.no_grad()
def restore_adapters(
    model: nn.Module, adapters: Mapping[str, Tensor], weights: Mapping[str, Tensor], path: str
) -> None:
    """Give the model the adapters of a checkpoint, once they are known to belong to it.

    Args:
        model: the start model with fresh adapters.
        adapters: what `adapter_weights` gave.
        weights: the merged weights of the same checkpoint, by open_clip's names.
        path: of the checkpoint, for messages.

    Raises:
        DataError: adapters of other layers, or weights that another start model has led to.
    """
    own = adapter_weights(model)
    if {name: tensor.shape for name, tensor in own.items()} != {name: one.shape for name, one in adapters.items()}:
        raise DataError(f"--resume {path}: its adapters are of other layers than those of --model")
    for name, tensor in own.items():
        tensor.copy_(adapters[name])
    buffers = {plain(name) for name, _ in model.named_buffers()}  # BatchNorm's statistics have moved
    for name, tensor in model.state_dict().items():
        if name not in buffers and name not in TRAINED and not _close(weights[name], tensor):
            raise DataError(
                f"--resume {path}: adapts another start model: {name} differs; give the --model and --pretrained of "
                "its run"
            )


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are equal up to the rounding of their type."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one.to(other.device), other)
    precision = torch.finfo(one.dtype).eps
    return torch.allclose(one.to(other.device).float(), other.float(), rtol=16 * precision, atol=16 * precision)


def told(model: nn.Module, settings: LoraSettings) -> str:
    """One line that says what is trained."""
    trained = sum(one.numel() for one in model.parameters() if one.requires_grad)
    share = 100 * trained / sum(one.numel() for one in model.parameters())
    layers = sum(1 for _ in _adapted(model))
    dropout = f", dropout {settings.dropout:g}" if settings.dropout else ""
    return (
        f"LoRA of rank {settings.rank}, alpha {settings.alpha:g}{dropout}, on {layers} layers of the "
        f"{' and '.join(settings.towers)} tower{'s' if len(settings.towers) > 1 else ''}: {trained} numbers learn "
        f"({share:.1f}% of all), the logit scale among them; all else is frozen"
    )
