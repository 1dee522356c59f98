"""The dataset card (README.md) of a set of shards, so that Hugging Face's `load_dataset(DIR, PART)` reads each part.

Without a card that library guesses the columns from the first five samples of a part. If these mix image formats, it
refuses the part; if a later sample has another format, or a field of the `.json` that the first five lack, it drops the
image or the field and says nothing. So the card declares the columns of each part, one for each image format in it. The
shards stay as they are: one shard may hold several formats, each sample under the suffix of its bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sclip_plugin.front_matter import front_matter, table_cell
from sclip_plugin.shards import layout
from sclip_plugin.shards.conversion.plan import ShardPlan
from sclip_plugin.shards.manifest import Manifest
from sclip_plugin.storage.outputs import write

SPLITS: Final = {layout.PAIRED: "train", layout.UNPAIRED: "train", layout.VAL: "validation", layout.CLASSES: "test"}

_IMAGE: Final = "image"
_TEXT: Final = {"dtype": "string"}
_LOADING: Final = """## Loading

```python
from datasets import load_dataset

samples = load_dataset("DIR", "{part}", split="{split}")
```

{images}
The shards are plain tars of samples: open_clip, webdataset and wids read them as they are.
"""
_MEANINGS: Final = {
    layout.PAIRED: "images with captions: one in `txt`, all of them in `json`",
    layout.UNPAIRED: "images without any text",
    layout.VAL: "images held out for retrieval, with their captions in `txt`, one a line",
    layout.CLASSES: "images for classification, with the number of their class in `cls`",
}


def write_card(plan: ShardPlan, manifest: Manifest) -> None:
    """Write the card of a set whose shards are written, unless a README.md of the user's own stands there.

    A card with the same bytes is left alone.
    """
    path, data = plan.root / layout.CARD, card(plan, manifest).encode("utf-8", "backslashreplace")
    if layout.own_readme(plan.root) is None and not (path.exists() and path.read_bytes() == data):
        write(path, data)


def card(plan: ShardPlan, manifest: Manifest) -> str:
    """The text of the card."""
    parts = _columns(plan)
    fields = {"configs": [_config(part, number == 0) for number, part in enumerate(parts)]}
    described = [{"config_name": part, "features": features} for part, features in parts.items()]
    first = next(iter(parts))
    blocks = [
        f"{front_matter({**fields, 'dataset_info': described})}{layout.CARD_MARK}\n",
        "# Images with and without captions, as tar shards\n" if first != layout.CLASSES else "# Images of classes\n",
        _parts_table(plan, manifest),
        _left_out(manifest),
        _LOADING.format(part=first, split=SPLITS[first], images=_about_images(parts.values())),
        "## Licence\n\nThe licence is that of the images and texts; name it as `license:` in this file's header.\n",
    ]
    return "\n".join(block for block in blocks if block)


def _config(part: str, default: bool) -> dict[str, object]:
    pattern = f"{layout.shard_folder(part)}/*.tar"
    found: dict[str, object] = {"config_name": part, "data_files": [{"split": SPLITS[part], "path": pattern}]}
    return found | ({"default": True} if default else {})


def _columns(plan: ShardPlan) -> dict[str, list[dict[str, object]]]:
    """{part: its columns, as `dataset_info` of a card declares them}, in the order of the parts."""
    there: dict[str, list[tuple[str, bool, bool]]] = {}
    for part, suffix, labelled, grouped in plan.index.kinds_of_sample():
        there.setdefault(part, []).append((suffix, labelled, grouped))
    return {part: _features(part, there[part], plan.classes) for part in plan.sizes}


def _features(part: str, samples: Sequence[tuple[str, bool, bool]], classes: Sequence[str]) -> list[dict[str, object]]:
    """The columns of a part: its images, its text, what `layout.members` puts into the .json, and the loader's own.

    Args:
        part: its name.
        samples: (suffix, whether one has a label, whether one has a group) for each suffix.
        classes: names of the classes, in the order of the numbers in `.cls`.
    """
    suffixes = {suffix for suffix, _, _ in samples}
    found: list[dict[str, object]] = [{"name": one, "dtype": _IMAGE} for one in sorted(suffixes)]
    if part in (layout.PAIRED, layout.VAL):
        found.append({"name": "txt", **_TEXT})
    if part == layout.CLASSES:
        names = {str(number): name for number, name in enumerate(classes)}
        found.append({"name": "cls", "dtype": {"class_label": {"names": names}}})
    about: list[dict[str, object]] = [{"name": "source", **_TEXT}]
    if part in (layout.PAIRED, layout.VAL):
        about.insert(0, {"name": "captions", "sequence": "string"})
    about += [{"name": "label", **_TEXT}] if any(labelled for _, labelled, _ in samples) else []
    about += [{"name": "group", **_TEXT}] if any(grouped for _, _, grouped in samples) else []
    return [*found, {"name": "json", "struct": about}, {"name": "__key__", **_TEXT}, {"name": "__url__", **_TEXT}]


def _about_images(parts: Iterable[Sequence[Mapping[str, object]]]) -> str:
    """Where a reader of the samples finds the image."""
    columns = sorted({f"`{one['name']}`" for features in parts for one in features if one.get("dtype") == _IMAGE})
    if len(columns) == 1:
        return f"The image of a sample is in the column {columns[0]}."
    return f"The image of a sample is in the column of its format ({', '.join(columns)}); the others are `None`."


def _parts_table(plan: ShardPlan, manifest: Manifest) -> str:
    counts = manifest["counts"]
    images, captions = counts["images"]["written"], counts["captions"]["written"]
    rows = [
        f"| `{part}` | {images.get(part, 0)} | {captions.get(part, 0)} | {plan.shards(part)} | {_MEANINGS[part]} |"
        for part in plan.sizes
    ]
    return "\n".join(["| part | images | captions | shards | |", "|---|---|---|---|---|", *rows, ""])


def _left_out(manifest: Manifest) -> str:
    counts = manifest["counts"]
    rows = [
        f"| {what} | {table_cell(reason)} | {count} |"
        for what, one in (("images", counts["images"]), ("captions", counts["captions"]))
        for reason, count in one["skipped"].items()
    ]
    head = ["What was read and is not in these shards:", "", "| what | why | how many |", "|---|---|---|"]
    return "\n".join([*head, *rows, ""]) if rows else ""
