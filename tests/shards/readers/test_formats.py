"""Every source format, converted end to end and read back by stock open_clip, our loader and CLIP_benchmark's rules."""

import json

import pytest

from sclip_plugin.cli import main
from tests.helpers import formats as fixtures
from tests.helpers.conversion import check_counts, image, members, stock_reads

MISSING = "image missing"
# builder, flags, {part: images}, {reason: captions skipped}, {reason: images skipped}
CASES = {
    "karpathy": (
        fixtures.karpathy,
        (),
        {"paired": 7, "unpaired": 1, "val": 4},
        {"duplicate caption": 11, MISSING: 3},
        {},
    ),
    "coco": (
        fixtures.coco,
        ("--images", "{root}/val2017"),
        {"paired": 6, "unpaired": 1, "val": 1},
        {"annotation of an unknown image id": 1, MISSING: 1},
        {},
    ),
    "jsonl": (fixtures.jsonl, (), {"paired": 6, "unpaired": 2, "val": 1}, {}, {}),
    "json_array": (fixtures.json_array, (), {"paired": 6, "unpaired": 2, "val": 1}, {}, {}),
    "imagefolder": (fixtures.imagefolder, (), {"paired": 7, "unpaired": 1, "val": 3}, {}, {}),
    "parquet": (
        fixtures.parquet,
        ("--val-ratio", "0.2"),
        {"paired": 7, "val": 2},
        {"no image bytes in its row (its image)": 1},
        {"no image bytes in its row": 1},
    ),
    "arrow": (
        fixtures.arrow,
        ("--paired-ratio", "0.5"),
        {"paired": 4, "unpaired": 4, "val": 3},
        {"hidden by --paired-ratio": 4},
        {},
    ),
    "img2dataset": (
        fixtures.img2dataset,
        (),
        {"paired": 8, "val": 1},
        {"no image in its sample (its image)": 1},
        {"no image in its sample": 1},
    ),
    "fashion200k": (fixtures.fashion200k, (), {"paired": 15, "unpaired": 1, "val": 8}, {MISSING: 1}, {}),
    "fashiongen": (fixtures.fashiongen, (), {"paired": 10, "val": 4}, {}, {}),
    "polyvore": (fixtures.polyvore, (), {"paired": 7, "val": 5}, {MISSING: 1}, {}),
    "scicap": (fixtures.scicap, (), {"paired": 6, "val": 5}, {"caption of a figure with subfigures": 1}, {}),
    "table": (fixtures.table, (), {"paired": 7, "unpaired": 2, "val": 1}, {"duplicate caption": 1, MISSING: 1}, {}),
    "folder": (fixtures.folder, (), {"unpaired": 8}, {}, {}),
}


def convert(source, out, *flags) -> int:
    return main(["convert", str(source), "--out", str(out), *map(str, flags)])


@pytest.fixture(scope="module", params=CASES)
def converted(request, tmp_path_factory):
    """(format, output folder, expectations) of each format."""
    builder, flags, *expected = CASES[request.param]
    root = tmp_path_factory.mktemp(request.param)
    source = builder(root / "source")
    flags = [flag.format(root=root / "source") for flag in flags]
    assert convert(source, root / "out", *flags) == 0
    return request.param, root / "out", expected


def test_counts_add_up_and_nothing_is_lost(converted):
    _, out, (parts, captions, images) = converted
    counts = check_counts(out)
    assert counts["images"]["written"] == parts
    assert counts["captions"]["skipped"] == captions
    assert counts["images"]["skipped"] == images
    for part, number in parts.items():
        assert len(members(out / {"val": "val/test"}.get(part, part))) == number


def test_verify_finds_no_fault(converted, capsys):
    _, out, _ = converted
    assert main(["verify", str(out)]) == 0
    assert "no fault" in capsys.readouterr().out


def _paired(name: str) -> bool:
    return "paired" in CASES[name][2]


def test_stock_open_clip_reads_the_pairs(converted):
    name, out, (parts, *_) = converted
    if not _paired(name):
        pytest.skip("no captions in this format")
    counted, texts = stock_reads(out)
    assert counted == parts["paired"]
    assert sorted(texts) == sorted(sample["txt"].decode() for sample in members(out / "paired").values())


def test_our_loader_reads_pairs_and_unpaired_images(converted):
    import torch

    from sclip_plugin.data.config import MixedConfig
    from sclip_plugin.data.mixed import MixedLoader
    from sclip_plugin.data.shard_list import ShardSet, count_samples, expand

    name, out, (parts, *_) = converted
    if not _paired(name):
        pytest.skip("no captions in this format")

    def source(part):
        shards = expand(str(out / part), "--data")
        return ShardSet(shards, count_samples(shards))

    config = MixedConfig(source("paired"), source("unpaired" if "unpaired" in parts else "paired"), 2, 2)
    loader = MixedLoader(
        config,
        lambda image: torch.zeros(3, *image.size[::-1]).mean(dim=(1, 2)),
        lambda texts: torch.zeros(len(texts), 1),
    )
    seen = sum(len(images.pixels) for images, _ in loader)
    assert seen == 4 * -(-parts["paired"] // 2)
    assert loader.counts["paired: read"] >= parts["paired"]
    assert {key for key in loader.counts if not key.endswith(": read")} == set()


def test_val_follows_clip_benchmarks_rules(converted):
    import webdataset as wds

    _, out, (parts, *_) = converted
    if "val" not in parts:
        pytest.skip("no captions in this format")
    assert (out / "val/dataset_type.txt").read_text() == "retrieval\n"
    shards = int((out / "val/test/nshards.txt").read_text())
    loader = wds.WebDataset(f"{out}/val/test/{{0..{shards - 1}}}.tar", shardshuffle=False)
    loader = loader.decode(wds.autodecode.ImageHandler("pil", extensions=["webp", "png", "jpg", "jpeg"]))
    pairs = list(loader.to_tuple(["webp", "png", "jpg", "jpeg"], "txt").map_tuple(lambda x: x, str.splitlines))
    assert len(pairs) == parts["val"]
    assert all(all(texts) for _, texts in pairs)


def test_texts_and_labels_are_what_the_source_says(converted):
    name, out, _ = converted
    texts, labels, groups = set(), set(), set()
    for part in ("paired", "unpaired", "val/test"):
        for sample in members(out / part).values():
            about = json.loads(sample["json"])
            texts |= set(about.get("captions", []))
            labels.add(about.get("label"))
            groups.add(about.get("group"))
    expected = {
        "karpathy": {"many planes are parked ."},
        "coco": {"A thing 3, text 1."},
        "jsonl": {"étang ☂", "scene 1"},
        "fashiongen": {"Blouson été 3. Long sleeve, café au lait. Number 3"},
        "polyvore": {"item 4", "item 6. a fine thing 6"},
        "scicap": {"Figure 2: Curve 5, accuracy over time."},
        "table": {'text "0"; with breaks'},
        "img2dataset": {"caption 1 of 1"},
    }
    assert expected.get(name, set()) <= texts
    known = {
        "parquet": {"bart", "lisa"},
        "arrow": {"bart", "lisa"},
        "fashion200k": {"dresses", "topes", None},
        "fashiongen": {"jackets & coats", "tops"},
        "polyvore": {"tops", "shoes"},
        "scicap": {"Graph Plot"},
        "folder": {"dense forest", "river"},
    }
    assert labels == known.get(name, {None})
    if name == "fashion200k":
        assert "item dress3" in groups


def test_groups_of_products_stay_on_one_side(tmp_path):
    source = fixtures.fashion200k(tmp_path / "source")
    assert convert(source, tmp_path / "out", "--val-ratio", 0.3, "--paired-ratio", 0.5) == 0
    parts = {}
    for part in ("paired", "unpaired", "val/test"):
        parts[part] = {json.loads(one["json"]).get("group") for one in members(tmp_path / "out" / part).values()} - {
            None
        }
    assert parts["paired"]
    assert not parts["paired"] & parts["unpaired"]
    assert not parts["val/test"] & (parts["paired"] | parts["unpaired"])
    check_counts(tmp_path / "out")


def test_finer_labels_can_be_chosen(tmp_path):
    source = fixtures.fashion200k(tmp_path / "source")
    flags = ("--as", "classification", "fine", "--label-column", "subcategory")
    assert convert(source, tmp_path / "out", *flags) == 0
    assert (tmp_path / "out/fine/classnames.txt").read_text() == "casual dress\ncasual top\n"
    assert convert(source, tmp_path / "other", "--label-column", "colour") == 2


def test_several_sources_become_one_set(tmp_path):
    one, two = fixtures.karpathy(tmp_path / "one"), fixtures.karpathy(tmp_path / "two")
    table = fixtures.table(tmp_path / "three")
    assert main(["convert", str(one), str(two), "--out", str(tmp_path / "out"), str(table)]) == 0
    names = {json.loads(sample["json"])["source"] for sample in members(tmp_path / "out/paired").values()}
    assert {name.split("/")[0] for name in names} == {"one", "two", "captions.csv"}
    counts = check_counts(tmp_path / "out")
    assert counts["images"]["read"] == 12 + 12 + 10
    # the two folders hold the same bytes, so val keeps only what training does not have
    assert counts["notes"]["image with the same bytes as another"] >= 12


def test_recognition_and_its_limits(tmp_path, capsys):
    source = fixtures.folder(tmp_path / "source")
    (source / "captions.csv").write_text("filepath,caption\n")
    assert convert(source, tmp_path / "out") == 0
    assert "not read: captions.csv" in capsys.readouterr().out
    for form, message in (
        ("karpathy", "no dataset*.json"),
        ("coco", "no JSON with images and annotations"),
        ("parquet", "no .parquet file in"),
        ("webdataset", "no .tar in"),
        ("fashiongen", "no fashiongen_*.hdf5 in"),
        ("polyvore", "no *_info.json beside"),
        ("scicap", "no SciCap-Caption-All in"),
        ("arrow", "neither dataset_dict.json nor state.json"),
        ("fashion200k", "no labels/*_detect_all.txt"),
        ("imagefolder", "no metadata.csv"),
        ("table", "is a folder"),
    ):
        assert convert(source, tmp_path / "none", "--from", form) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert convert(source, tmp_path / "none", "--label-column", "x") == 2
    assert "--label-column has no meaning for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b'{"image": "a.jpg", "text": "x"}\nnot json\n', "x.jsonl: line 2: not JSON"),
        ("x.jsonl", b"[1, 2]\n", "x.jsonl: line 1: not a JSON object"),
        ("x.parquet", b"PAR1 no parquet", "x.parquet: "),
        ("x.tar", b"no tar" * 200, "x.tar: "),
        ("x.hdf5", b"no hdf5", "x.hdf5: "),
        ("x.json", b'[{"image": "a.jpg", "text": "x"}, 3]', "x.json: record 2: not a JSON object"),
        (
            "dataset.json",
            b'{"images": [{"filename": "a.jpg", "sentences": []}, 3]}',
            "dataset.json: image 2: not a JSON object",
        ),
        (
            "captions.json",
            b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [7]}',
            "captions.json: annotation 1: not a JSON object",
        ),
    ],
)
def test_damaged_sources_are_named(tmp_path, capsys, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert convert(tmp_path / name, tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_split_column_counts_in_every_format_and_may_hold_anything(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("train", "Validation", "testing", 3)
    rows = [{"image": image(n), "text": f"text {n}", "part": str(name)} for n, name in enumerate(names)]
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "parquet/x.parquet")
    (tmp_path / "lines").mkdir()
    lines = []
    for number, (row, name) in enumerate(zip(rows, names)):
        (tmp_path / f"lines/{number}.jpg").write_bytes(row["image"])
        lines.append(json.dumps({"image": f"{number}.jpg", "text": row["text"], "part": name}))
    (tmp_path / "lines/x.jsonl").write_text("\n".join(lines))
    for source in ("parquet/x.parquet", "lines/x.jsonl"):
        out = tmp_path / "out" / source.partition("/")[0]
        assert convert(tmp_path / source, out, "--split-column", "part") == 0
        counts = check_counts(out)["images"]
        assert counts["written"] == {"paired": 1, "val": 2}
        assert counts["skipped"] == {"in the source's own split '3'": 1}


def test_missing_extras_are_named(tmp_path, capsys, monkeypatch):
    import sys

    source = fixtures.parquet(tmp_path / "source")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert convert(source, tmp_path / "out") == 2
    assert "pip install 'sclip-plugin[parquet]'" in capsys.readouterr().err
    (tmp_path / "x.hdf5").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert convert(tmp_path / "x.hdf5", tmp_path / "out") == 2
    assert "pip install 'sclip-plugin[hdf5]'" in capsys.readouterr().err


def test_spooled_images_survive_a_resume_and_leave_nothing(tmp_path):
    source = fixtures.parquet(tmp_path / "source")
    assert convert(source, tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "manifest.json", "paired", "val"]
