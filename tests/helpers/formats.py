"""A small source of each format, with the quirks that the real ones have.

Each public function that is named after a format writes its source and returns what `sclip convert` takes.
"""

import csv
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.helpers.conversion import image


def _pictures(folder: Path, names: Iterable[str], form: str = "JPEG", first: int = 0) -> None:
    """Write images that differ, numbered from `first`."""
    for number, name in enumerate(names, first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image(number, form))


def karpathy(root: Path, images: str = "RSICD_images", suffix: str = "jpg", name: str = "dataset_rsicd.json") -> Path:
    """RSICD: captions padded with duplicates, a split of its own, one file missing, one image that has no entry."""
    names = [f"{kind}_{n}.{suffix}" for kind in ("airport", "bareland") for n in range(6)]
    _pictures(root / images, [*names, f"extra_1.{suffix}"], "TIFF" if suffix == "tif" else "JPEG")
    (root / images / names[3]).unlink()
    rows = []
    for number, one in enumerate(names):
        texts = [
            f"a view of {one.split('_')[0]} number {number} .",
            "many planes are parked .",
            "many planes are parked .",
        ]
        rows.append(
            {
                "filename": one,
                "imgid": number,
                "split": ("train", "train", "train", "train", "val", "test")[number % 6],
                "sentences": [{"raw": text, "tokens": text.split(), "imgid": number} for text in texts],
            }
        )
    (root / name).write_text(json.dumps({"images": rows, "dataset": "rsicd"}))
    return root


def class_lists(root: Path) -> None:
    """Write RSICD's folder `txtclasses_rsicd`: a file of image names for each class."""
    folder = root / "txtclasses_rsicd"
    folder.mkdir()
    for kind in ("airport", "bareland"):
        (folder / f"{kind}.txt").write_text("".join(f"{kind}_{n}.jpg\n" for n in range(6)))


def coco(root: Path) -> Path:
    """COCO: several captions an image, an annotation without image, an image without annotation, a missing file."""
    _pictures(root / "val2017", [f"{n:012d}.jpg" for n in range(8)])
    images = [{"id": n, "file_name": f"{n:012d}.jpg", "height": 20, "width": 24} for n in range(9)]
    notes = [
        {"id": 10 * n + k, "image_id": n, "caption": f"A thing {n}, text {k}. "} for n in range(7) for k in range(2)
    ]
    notes += [{"id": 99, "image_id": 77, "caption": "of nothing"}, {"id": 98, "image_id": 8, "caption": "file is gone"}]
    (root / "captions.json").write_text(
        json.dumps({"info": {}, "licenses": [], "images": images, "annotations": notes})
    )
    return root / "captions.json"


def jsonl(root: Path) -> Path:
    """JSON Lines: a text or a list of texts, a byte-order mark, an empty line, a null caption."""
    _pictures(root, [f"imgs/{n}.jpg" for n in range(9)])
    rows = [{"image": f"imgs/{n}.jpg", "text": f"scene {n}" if n % 2 else [f"scene {n}", "étang ☂"]} for n in range(7)]
    rows.append({"image": "imgs/7.jpg", "text": None})
    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (root / "data.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\n")
    return root / "data.jsonl"


def json_array(root: Path) -> Path:
    """The records of `jsonl` as one JSON array."""
    path = jsonl(root)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    path.unlink()
    (root / "data.json").write_text(json.dumps(rows))
    return root / "data.json"


def imagefolder(root: Path) -> Path:
    """Hugging Face's imagefolder: a metadata.csv in each split's folder; one image without a row."""
    for split, count in (("train", 8), ("test", 3)):
        _pictures(root / split, [f"{split}-{n}.png" for n in range(count)], "PNG", first=0 if split == "train" else 50)
        with open(root / split / "metadata.csv", "w", newline="") as file:
            rows = [(f"{split}-{n}.png", f"{split} picture {n}") for n in range(count - (split == "train"))]
            csv.writer(file).writerows([("file_name", "text"), *rows])
    return root


def _rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows with the image inside, with or without its path."""
    return [
        {
            "image": {
                "bytes": image(first + n, "PNG" if n % 2 else "JPEG"),
                "path": f"Screenshot {n}.png" if n % 2 else None,
            },
            "text": f"a cartoon of person {n}",
            "label": n % 2,
        }
        for n in range(count)
    ]


def _hf_schema(pa: Any) -> Any:
    """The schema of `_rows` with Hugging Face's metadata. `pa` is the pyarrow package."""
    features = {"image": {"_type": "Image"}, "text": {}, "label": {"names": ["bart", "lisa"], "_type": "ClassLabel"}}
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("text", pa.string()),
        ("label", pa.int64()),
    ]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def parquet(root: Path) -> Path:
    """Simpsons' parquet: image bytes with or without a path, ClassLabel names in the schema, a row without image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "data").mkdir(parents=True)
    rows = [*_rows(9), {"image": {"bytes": None, "path": None}, "text": "nothing to see", "label": 0}]
    pq.write_table(pa.Table.from_pylist(rows, _hf_schema(pa)), root / "data" / "train-00000-of-00001.parquet")
    return root


def arrow(root: Path) -> Path:
    """`DatasetDict.save_to_disk` as the datasets library lays it out: streaming format, two splits."""
    import pyarrow as pa

    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    for split, count, first in (("train", 8, 0), ("test", 3, 30)):
        folder = root / split
        folder.mkdir()
        name = "data-00000-of-00001.arrow"
        table = pa.Table.from_pylist(_rows(count, first), _hf_schema(pa))
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}], "_split": split}))
        (folder / "dataset_info.json").write_text("{}")
    return root


def tar_of(path: Path, members: Iterable[tuple[str, bytes] | tarfile.TarInfo]) -> None:
    """Write a tar of members, each (name, bytes) or a ready header without content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for one in members:
            if isinstance(one, tarfile.TarInfo):
                tar.addfile(one)
                continue
            info = tarfile.TarInfo(one[0])
            info.size = len(one[1])
            tar.addfile(info, io.BytesIO(one[1]))


def img2dataset(root: Path) -> Path:
    """img2dataset: tars beside parquet and statistics; a failed download has left text without image."""
    for shard in range(2):
        members = []
        for n in range(5):
            key, text = f"{shard:05d}{n:04d}", f"caption {n} of {shard}"
            if (shard, n) != (1, 4):
                members.append((f"{key}.jpg", image(10 * shard + n)))
            about = {"caption": text, "url": "http://x/y.jpg", "key": key, "status": "success", "width": 24}
            members += [(f"{key}.txt", text.encode()), (f"{key}.json", json.dumps(about).encode())]
        tar_of(root / f"{shard:05d}.tar", members)
        (root / f"{shard:05d}.parquet").write_bytes(b"PAR1")
        (root / f"{shard:05d}_stats.json").write_text("{}")
    return root


def fashion200k(root: Path) -> Path:
    """Fashion200k: items with several images, a file that is gone, one image in no list."""
    for kind in ("dress", "top"):
        for split, items in (("train", range(4)), ("test", range(4, 6))):
            lines = []
            for item in items:
                for view in range(2):
                    name = f"women/{kind}es/casual_{kind}/{kind}{item}/{kind}{item}_{view}.jpeg"
                    lines.append(f"{name}\t0.9{view}\tred {kind} number {item}\n")
                    if (kind, item, view) != ("top", 0, 1):
                        _pictures(root, [name], first=hash_of(name))
            (root / "labels").mkdir(exist_ok=True)
            (root / "labels" / f"{kind}_{split}_detect_all.txt").write_text("".join(lines))
    _pictures(root, ["women/dresses/casual_dress/other/other_0.jpeg"], first=7)
    return root


def hash_of(name: str) -> int:
    """A small number that depends on the name."""
    return sum(name.encode()) * 31 % 100_000


def fashiongen(root: Path) -> Path:
    """FashionGen's HDF5: (N, 1) Latin-1 texts, several images a product, pixels without a file format."""
    import h5py
    import numpy as np

    root.mkdir(parents=True, exist_ok=True)
    for split, products in (("train", 5), ("validation", 2)):
        rng = np.random.default_rng(len(split))
        count = 2 * products
        ids = np.arange(count) // 2 + (100 if split == "validation" else 0)
        texts = {
            "input_name": [f"Blouson ét\xe9 {i}".encode("latin-1") for i in ids],
            "input_description": [f"Long sleeve, caf\xe9 au lait. Number {i}.".encode("latin-1") for i in ids],
            "input_category": [(b"JACKETS & COATS", b"TOPS")[i % 2] for i in ids],
            "input_subcategory": [b"BOMBERS" for _ in ids],
        }
        with h5py.File(root / f"fashiongen_256_256_{split}.hdf5", "w") as file:
            file["input_image"] = rng.integers(0, 255, (count, 16, 16, 3), dtype=np.uint8)
            file["input_productID"] = ids[:, None]
            for name, values in texts.items():
                file[name] = np.array(values)[:, None]
    return root


def polyvore(root: Path) -> Path:
    """Polyvore: titles and descriptions, semantic categories by id, a missing file."""
    root.mkdir(parents=True)
    about = {}
    for split, ids in (("train", range(8)), ("valid", range(8, 10)), ("test", range(10, 13))):
        items = [
            {"images": f"{n}.jpg", "id": n, "title": f"item {n}", "description": "" if n % 3 else f"a fine thing {n}."}
            for n in ids
        ]
        (root / f"{split}_info.json").write_text(json.dumps(items))
        about |= {str(n): {"semantic_category": ("tops", "shoes")[n % 2], "url_name": "x"} for n in ids}
    (root / "polyvore_item_metadata.json").write_text(json.dumps(about))
    _pictures(root / "images", [f"{n}.jpg" for n in range(13) if n != 5])
    return root


def scicap(root: Path) -> Path:
    """SciCap: one JSON a figure; those with subfigures have no image in the folder."""
    for split, numbers in (("train", range(7)), ("val", range(7, 9)), ("test", range(9, 12))):
        folder = root / "SciCap-Caption-All" / split
        folder.mkdir(parents=True)
        for n in numbers:
            name = f"1001.{n:04d}v1-Figure2-1"
            about = {
                "contains-subfigure": n == 3,
                "paper-ID": f"1001.{n // 2 if n < 6 else n:04d}v1",
                "figure-ID": f"{name}.png",
                "figure-type": "Graph Plot",
                "0-originally-extracted": f"Figure 2: Curve {n}, accuracy over time.",
            }
            (folder / f"{name}.json").write_text(json.dumps(about))
            if n != 3:
                _pictures(root / "SciCap-No-Subfig-Img" / split, [f"{name}.png"], "PNG", first=n)
    return root


def table(root: Path) -> Path:
    """A CSV with semicolons, quotes and line ends in cells, a duplicate, a missing file, two images without a row."""
    _pictures(root, [f"{n}.jpg" for n in range(10)])
    rows = [(f"{n}.jpg", f'text "{n}"; with\nbreaks') for n in range(8)]
    rows += [("0.jpg", 'text "0";  with breaks'), ("gone.jpg", "missing")]
    with open(root / "captions.csv", "w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([("filename", "caption"), *rows])
    return root / "captions.csv"


def folder(root: Path) -> Path:
    """Folders of classes without any text."""
    _pictures(root, [f"{kind}/{n}.jpg" for kind in ("dense_forest", "river") for n in range(4)])
    return root
