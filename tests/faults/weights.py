"""Damage to checkpoints: PyTorch's archives and safetensors."""

import io
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

from tests.faults import blunt
from tests.faults.damage import Damage, Rng
from tests.faults.values import break_document, encode


class _Malicious:
    """Unpickling this writes a file into the current folder."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch planted-by-a-checkpoint",)


def break_checkpoint(rng: Rng, root: Path, path: Path) -> Damage:
    """Put another file in place of a checkpoint, or damage it."""
    if rng.random() < 0.35:
        return blunt.break_bytes(rng, root, path)
    way = rng.choice((_junk, _malicious, _other_object, _other_object, _other_state, _other_state))
    if path.suffix == ".safetensors":
        way = rng.choice((_header, _header, _other_state, _junk))
    what = way(rng, path)
    return Damage(f"checkpoint: {what}", str(path.relative_to(root)))


def _junk(rng: Rng, path: Path) -> str:
    data = rng.choice(
        (
            b"",
            b"junk",
            b"PK\x03\x04" + rng.randbytes(200),
            rng.randbytes(4000),
            b"<html>404</html>",
            b"\x80\x02",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        )
    )
    path.write_bytes(data)
    return f"{data[:20]!r}"


def _malicious(rng: Rng, path: Path) -> str:
    import torch

    value = rng.choice((_Malicious(), {"state_dict": _Malicious()}, {"epoch": 1, "state_dict": {"a": _Malicious()}}))
    if rng.random() < 0.5:
        torch.save(value, path)
    else:
        path.write_bytes(pickle.dumps(value))
    return "a malicious pickle"


def _other_object(rng: Rng, path: Path) -> str:
    import numpy as np
    import torch

    values = (
        [],
        {},
        3,
        None,
        "text",
        {"state_dict": 5},
        {"state_dict": None},
        {"state_dict": []},
        {"state_dict": {}},
        {1: 2},
        torch.zeros(3),
        {"state_dict": {"a": "b"}},
        {"epoch": "x", "state_dict": {1: torch.zeros(1)}},
        torch.nn.Linear(2, 2),
        np.zeros(3),
        {"model": {}},
        {"state_dict": {"module.": torch.zeros(1)}},
        [1, {"a": 1}],
    )
    value = rng.choice(values)
    torch.save(value, path)
    return f"holds {value!r:.50}".replace("\n", " ")


def _other_state(rng: Rng, path: Path) -> str:
    """The same keys, but one tensor is missing, of another shape or kind, or there is one more."""
    import torch
    from safetensors.torch import load_file, save_file

    safe = path.suffix == ".safetensors"
    state = load_file(path) if safe else torch.load(path, map_location="cpu")["state_dict"]
    key = rng.choice(sorted(state))
    way = rng.choice(("missing", "shape", "scalar", "kind", "more", "empty", "strided", "nan", "all missing"))
    changes = {
        "shape": torch.zeros(3, 5),
        "scalar": torch.tensor(1.0),
        "kind": state[key].to(torch.int8),
        "empty": torch.zeros(0),
        "strided": torch.zeros(()).expand(state[key].shape).contiguous()
        if safe
        else torch.zeros(()).expand(state[key].shape),
        "nan": torch.full_like(state[key], float("nan")) if state[key].is_floating_point() else state[key],
    }
    if way == "missing":
        del state[key]
    elif way == "more":
        state["nobody.knows.this"] = torch.zeros(2)
    elif way == "all missing":
        state = {"other.weight": torch.zeros(2)}
    else:
        state[key] = changes[way]
    if safe:
        save_file(state, path)
    else:
        torch.save({"epoch": 1, "state_dict": state}, path)
    return f"{key}: {way}"


def _header(rng: Rng, path: Path) -> str:
    """The table at the start of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    document, what, _ = break_document(rng, json.loads(data[8 : 8 + length]))
    header = encode(document, rng)
    size = rng.choice((len(header), len(header), len(header), 2**63, 2**40, 0))
    path.write_bytes(struct.pack("<Q", size) + header + data[8 + length :])
    return f"header of {size} bytes: {what}"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint as training does, its keys prefixed as those of DDP."""
    import torch

    buffer = io.BytesIO()
    torch.save(
        {"epoch": 1, "name": "x", "state_dict": {f"module.{key}": value for key, value in state.items()}}, buffer
    )
    path.write_bytes(buffer.getvalue())
