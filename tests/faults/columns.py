"""Damage to what Arrow, parquet and HDF5 hold: columns of other types, missing columns, wrong metadata."""

import datetime
import json
from pathlib import Path
from typing import Any

from tests.faults import blunt, pictures
from tests.faults.damage import Damage, Rng
from tests.faults.values import break_document, encode


def break_columns(rng: Rng, root: Path, path: Path) -> Damage:
    """Change a parquet or Arrow file: its bytes, a column, its metadata, or the bytes of an image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if rng.random() < 0.35:
        return blunt.break_bytes(rng, root, path, images=True)
    parquet = path.suffix == ".parquet"
    table = pq.read_table(path) if parquet else pa.ipc.open_stream(path.read_bytes()).read_all()
    way = rng.choice((_other_type, _other_type, _drop, _twice, _metadata, _picture, _rows))
    table, what, images = way(rng, table)
    if parquet:
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    lost = (0, 0) if way is _picture else None
    whole = way is not _rows and not what.endswith(TEXTS)
    return Damage(f"columns: {what}", str(path.relative_to(root)), images, lost, whole)


TEXTS = (" is list of texts", " is dictionary", " is text")  # other captions, but sound ones


def _column(rng: Rng, kind: str, count: int) -> Any:
    """A column of another type than anybody expects of a caption, an image or a label."""
    import pyarrow as pa

    values = {
        "binary": ([b"\xff\x00caption"] * count, pa.binary()),
        "list of texts": ([["a", None]] * count, pa.list_(pa.string())),
        "list of numbers": ([[1, 2]] * count, pa.list_(pa.int64())),
        "struct": ([{"a": {"b": 1}}] * count, None),
        "null": ([None] * count, pa.null()),
        "double": ([float("nan")] * count, pa.float64()),
        "date": ([datetime.date(1, 1, 1)] * count, pa.date32()),
        "big timestamp": ([10**14] * count, pa.timestamp("s")),
        "big date": ([2**31 - 1] * count, pa.date32()),
        "duration": ([2**62] * count, pa.duration("s")),
        "dictionary": (pa.array(["a"] * count).dictionary_encode(), None),
        "bool": ([True] * count, pa.bool_()),
        "text": (["../../outside/secret.jpg"] * count, pa.string()),
        "huge number": ([2**63 - 1] * count, pa.int64()),
        "negative number": ([-1] * count, pa.int64()),
        "map": ([[("a", 1)]] * count, pa.map_(pa.string(), pa.int64())),
    }[kind]
    return values[0] if isinstance(values[0], pa.Array) else pa.array(values[0], values[1])


KINDS = (
    "binary",
    "list of texts",
    "list of numbers",
    "struct",
    "null",
    "double",
    "date",
    "big timestamp",
    "big date",
    "duration",
    "dictionary",
    "bool",
    "text",
    "huge number",
    "negative number",
    "map",
)


def _other_type(rng: Rng, table: Any) -> tuple[Any, str, bool]:
    name, kind = rng.choice(table.column_names), rng.choice(KINDS)
    metadata = table.schema.metadata if rng.random() < 0.5 else None
    changed = table.set_column(table.column_names.index(name), name, _column(rng, kind, len(table)))
    return changed.replace_schema_metadata(metadata), f"{name} is {kind}", False


def _drop(rng: Rng, table: Any) -> tuple[Any, str, bool]:
    name = rng.choice(table.column_names)
    return table.drop_columns([name]), f"no {name}", False


def _twice(rng: Rng, table: Any) -> tuple[Any, str, bool]:
    name = rng.choice(table.column_names)
    return table.append_column(name, table.column(name)), f"{name} twice", False


def _metadata(rng: Rng, table: Any) -> tuple[Any, str, bool]:
    document, what, _ = break_document(rng, json.loads(table.schema.metadata[b"huggingface"]))
    data = encode(document, rng) if rng.random() < 0.8 else b"\xff not JSON"
    return table.replace_schema_metadata({"huggingface": data}), f"metadata: {what}", False


def _picture(rng: Rng, table: Any) -> tuple[Any, str, bool]:
    import pyarrow as pa

    rows = table.column("image").to_pylist()
    one = rng.choice([row for row in rows if row["bytes"]])
    one["bytes"], what = pictures.broken(rng, one["bytes"])
    changed = pa.array(rows, table.schema.field("image").type)
    return (
        table.set_column(table.column_names.index("image"), table.schema.field("image"), changed),
        f"image: {what}",
        True,
    )


def _rows(rng: Rng, table: Any) -> tuple[Any, str, bool]:
    return (table.slice(0, 0), "no rows", False) if rng.random() < 0.5 else (table.slice(0, 1), "one row", False)


def break_hdf5(rng: Rng, root: Path, path: Path) -> Damage:
    """Change an HDF5 file: its bytes, or one of its arrays."""
    import h5py
    import numpy as np

    if rng.random() < 0.4:
        return blunt.break_bytes(rng, root, path, images=True)
    with h5py.File(path, "r+") as file:
        name = rng.choice(sorted(file))
        values = file[name][()]
        del file[name]
        ways = {
            "missing": None,
            "shorter": values[:-1],
            "longer": np.concatenate([values, values[:1]]),
            "scalar": np.array(3),
            "floats": np.full(len(values), np.nan),
            "text": np.array([b"\xff\xfe"] * len(values)),
            "empty": values[:0],
            "flat": values.reshape(len(values), -1),
            "numbers": np.full((len(values), 1), -1),
            "bytes with line ends": np.array([b"a\nb\x00c\x85"] * len(values))[:, None],
            "one pixel too few": values[..., :-1] if values.ndim > 1 else values,
        }
        way = rng.choice([*ways, "group"])
        if way == "group":
            file.create_group(name)
        elif ways[way] is not None:
            file[name] = ways[way]
    return Damage(f"{name}: {way}", str(path.relative_to(root)))
