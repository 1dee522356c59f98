"""Sources whose fields hold something else than they should: counted and named, or refused in one line."""

import datetime
import json
import os
import random
import struct
from pathlib import Path

import pytest

from sclip_plugin.cli import main
from sclip_plugin.shards.readers.table import csv_records
from tests.helpers import formats as fixtures
from tests.helpers.conversion import check_counts, image, members, sources, tree, write_csv

NOT_TEXT = "caption that is not text"
DEEP = b"[" * 100_000 + b"]" * 100_000
STRANGE = [5, 2.5, True, ["a", 5, None], [[[[[["deep"]]]]]], {"a": 1}, {"raw": 7}, [], "", "\ud800 half", None]


@pytest.fixture
def run(tmp_path, capsys):
    """A function that converts a source: (status, what was printed, the line on stderr)."""

    def convert(source: Path, *flags: object) -> tuple[int, str, str]:
        status = main(["convert", str(source), "--out", str(tmp_path / "out"), *map(str, flags)])
        said = capsys.readouterr()
        assert said.err.count("\n") == (status != 0), said.err
        if (tmp_path / "out/manifest.json").exists():
            check_counts(tmp_path / "out")
        return status, said.out, said.err

    return convert


def photos(folder: Path, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(image(number))


def texts(out: Path) -> set[str]:
    found = [json.loads(one["json"]).get("captions", []) for one in members(out / "paired").values()]
    return {text for one in found for text in one}


# Tables


def table(root: Path, *lines: str, header: str = "filepath,caption") -> Path:
    photos(root, 6)
    (root / "t.csv").write_text("\n".join([header, *lines, ""]), encoding="utf-8", newline="")
    return root / "t.csv"


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (['0.jpg,"a tree', "1.jpg,b", "2.jpg,c", "3.jpg,d"], "line 2: "),  # never closed
        (["0.jpg,a", '1.jpg,"a tree', "2.jpg,b", '3.jpg,"c, d"'], "line 3: "),  # closed by the next quote
        (["0.jpg,a", '1.jpg,"a tree', "2.jpg,b", '3.jpg,c of 5"', "4.jpg,e"], "line 3: a quoted cell holds other rows"),
        (['0.jpg,"big" tree'], "line 2: "),
    ],
)
def test_a_quote_that_stands_alone_is_refused_with_its_line(tmp_path, run, lines, place):
    status, _, error = run(table(tmp_path / "in", *lines))
    assert status == 1
    assert f"t.csv: {place}" in error
    assert 'look for a " that stands alone' in error
    assert not (tmp_path / "out").exists()


def test_captions_of_several_lines_are_no_fault(tmp_path, run):
    lines = [
        '0.jpg,"a tree,\nred, and\n\nsee fig1.jpg, left"',
        '1.jpg,"he said ""hi""\r\n"',
        '2.jpg,5" pipe',
        "3.jpg,x",
    ]
    assert run(table(tmp_path / "in", *lines), "--val-ratio", 0)[0] == 0
    expected = {"a tree, red, and see fig1.jpg, left", 'he said "hi"', '5" pipe', "x"}
    assert texts(tmp_path / "out") == expected


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_whatever_a_csv_writer_writes_is_read_as_it_was(tmp_path, separator):
    draw = random.Random(0)
    texts = ["".join(draw.choices('",;|\t\n\r .ab\u2028"', k=draw.randint(0, 12))) for _ in range(500)]
    rows = [(f"{number}.jpg", text) for number, text in enumerate(texts)]
    write_csv(tmp_path / "t.csv", rows, ("filepath", "caption"), separator)
    found = [dict(record) for _, record in csv_records(str(tmp_path / "t.csv"))]
    assert found == [{"filepath": name, "caption": text.strip()} for name, text in rows]


def test_rows_that_do_not_fit_the_header_are_counted_and_the_first_ones_named(tmp_path, run):
    lines = ["0.jpg,a tree, a house", "1.jpg", "2.jpg,b,", "3.jpg,c,d", "4.jpg,e,f", "  ", "5.jpg,good"]
    status, out, _ = run(table(tmp_path / "in", *lines), "--val-ratio", 0)
    assert status == 0
    assert texts(tmp_path / "out") == {"b", "good"}  # empty cells behind the last column do no harm
    counts = check_counts(tmp_path / "out")
    assert counts["captions"]["skipped"] == {"row that does not fit the header": 4}
    named = [note for note in counts["notes"] if note.startswith("left out: t.csv: line ")]
    assert named == [
        "left out: t.csv: line 2: 3 cells, but the header has 2",
        "left out: t.csv: line 3: 1 cell, but the header has 2",
        "left out: t.csv: line 5: 3 cells, but the header has 2",
    ]
    assert all(f"note: 1 ({note})" in out for note in named)


@pytest.mark.parametrize("role", ["split", "group"])
def test_a_row_whose_split_or_group_cannot_be_told_is_refused(tmp_path, run, role):
    source = table(tmp_path / "in", "0.jpg,a tree, a house,test", header="filepath,caption,part")
    status, _, error = run(source, f"--{role}-column", "part")
    assert status == 1
    assert f"t.csv: line 2: 4 cells, but the header has 3: its {role} cannot be told" in error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", b"", "x.jsonl: there is no record in it"),
        ("x.jsonl", b"\n \n", "x.jsonl: there is no record in it"),
        ("x.csv", b"filepath,caption\n\n", "x.csv: there is no record in it"),
        ("x.csv", b"filepath,caption,caption\n0.jpg,a,b\n", "line 1: the header names the column 'caption' twice"),
        ("x.csv", b'file\npath","a\nb"\n0.jpg,x\n', "no column recognised"),
        ("x.csv", b'"a\nb","c\nd"\n0.jpg,x\n', "its columns are: a b, c d"),
        ("x.jsonl", b'{"image": "0.jpg", "text": ' + DEEP + b"}", "x.jsonl: line 1: not JSON: nested too deeply"),
        ("x.jsonl", b'{"image": "0.jpg", "n": 1' + b"0" * 5000 + b"}", "x.jsonl: line 1: not JSON: "),
        ("x.json", b'[{"image": "0.jpg", "text": "a"}, {"text": ' + DEEP + b"}]", "x.json: not JSON: lists or objects"),
        (
            "captions.json",
            b'{"images": [{"id": 1, "file_name": "0.jpg"}], "annotations": [' + b" " * 100_000 + DEEP + b"]}",
            "captions.json: not JSON: lists or objects are nested more than 100 times",
        ),
        (
            "captions.json",
            b'{"images": [{"id": 1, "file_name": "0.jpg"}, {"id": 1, "file_name": "1.jpg"}], "annotations": []}',
            "captions.json: image 2: the id 1 belongs to '0.jpg' and to '1.jpg'",
        ),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(tmp_path, run, name, content, message):
    photos(tmp_path / "in", 2)
    (tmp_path / "in" / name).write_bytes(content)
    form = {".csv": "table", ".jsonl": "jsonl"}.get(Path(name).suffix, "coco" if name == "captions.json" else "jsonl")
    status, _, error = run(tmp_path / "in" / name, "--from", form)
    assert status in (1, 2)
    assert message in error
    assert not (tmp_path / "out").exists()


# JSON


def test_a_damaged_json_that_is_not_recognised_says_why(tmp_path, run):
    (tmp_path / "x.json").write_bytes(b"[" * 5000)
    status, _, error = run(tmp_path / "x.json")
    assert status == 1
    assert "x.json: not JSON: lists or objects are nested more than 100 times" in error


def test_captions_that_are_no_texts_are_counted(tmp_path, run):
    photos(tmp_path / "in", len(STRANGE) + 1)
    rows = [{"image": f"{n}.jpg", "text": value} for n, value in enumerate(["a tree", *STRANGE])]
    (tmp_path / "in/x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run(tmp_path / "in/x.jsonl", "--val-ratio", 0)[0] == 0
    assert texts(tmp_path / "out") == {"a tree", "a", "? half"}
    counts = check_counts(tmp_path / "out")
    assert counts["captions"]["skipped"] == {NOT_TEXT: 7, "empty caption": 1}
    assert counts["notes"] == {"text with halves of surrogate pairs, which are no Unicode: replaced by ?": 1}


@pytest.mark.parametrize("form", ["jsonl", "parquet", "tar"])
def test_labels_groups_and_splits_of_other_types(tmp_path, run, form):
    rows = [
        {"label": 5, "group": 7, "part": "train", "text": "one"},
        {"label": ["x"], "group": "g", "part": "\ud800", "text": "two"},
        {"label": "\udc00", "group": "h", "part": ["test"], "text": "three"},
        {"label": None, "group": None, "part": None, "text": "four"},
    ]
    (tmp_path / "in").mkdir()
    if form == "parquet":  # a column has one type there
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = {
            "image": [image(n) for n in range(4)],
            "text": [row["text"] for row in rows],
            "label": pa.array([datetime.date(2020, 1, n + 1) for n in range(4)]),
            "group": pa.array([b"a", b"\xff", None, b"b"]),
            "part": pa.array([["train"], ["test"], None, None]),
        }
        pq.write_table(pa.table(table), tmp_path / "in/x.parquet")
    elif form == "jsonl":
        photos(tmp_path / "in", 4)
        lines = [json.dumps({"image": f"{n}.jpg", **row}) for n, row in enumerate(rows)]
        (tmp_path / "in/x.jsonl").write_text("\n".join(lines))
    else:
        rows = [{**row, "split": row["part"], "caption": row["text"]} for row in rows]
        found = [(f"{n}.jpg", image(n)) for n in range(4)] + [
            (f"{n}.json", json.dumps(row).encode()) for n, row in enumerate(rows)
        ]
        fixtures.tar_of(tmp_path / "in/x.tar", sorted(found))
    columns = () if form == "tar" else ("--split-column", "part", "--group-column", "group")
    assert run(tmp_path / f"in/x.{form}", *columns)[0] == 0
    counts = check_counts(tmp_path / "out")
    about = [json.loads(one["json"]) for one in members(tmp_path / "out/paired").values()]
    unclear = "in the source's own split '(neither text nor a number)'"
    if form == "parquet":
        assert counts["images"]["skipped"] == {unclear: 1, "group that is neither text nor a number": 1}
        assert {(one["label"], one.get("group")) for one in about} == {("2020-01-03", None), ("2020-01-04", "b")}
    else:
        assert counts["images"]["skipped"] == {unclear: 1, "in the source's own split '?'": 1}
        assert {(one.get("label"), one.get("group")) for one in about} == {("5", "7"), (None, None)}
        assert counts["notes"]["label that is neither text nor a number: not used"] == 1


def test_a_group_that_is_a_list_is_refused_with_its_place(tmp_path, run):
    photos(tmp_path / "in", 1)
    (tmp_path / "in/x.jsonl").write_text('{"image": "0.jpg", "text": "a", "group": ["g"]}')
    status, _, error = run(tmp_path / "in/x.jsonl", "--group-column", "group")
    assert status == 1
    assert "x.jsonl: line 1: group that is neither text nor a number" in error


def test_image_names_of_any_kind_are_missing_images(tmp_path, run):
    names = [5, ["0.jpg"], {"path": "0.jpg"}, None, "\ud800/x.jpg", "a\0/b.jpg", "x" * 5000, "0.jpg", "a\nb.jpg"]
    photos(tmp_path / "in", 1)
    rows = [{"image": name, "text": "a tree"} for name in names]
    (tmp_path / "in/x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert run(tmp_path / "in/x.jsonl")[0] == 0
    skipped = check_counts(tmp_path / "out")["captions"]["skipped"]
    assert skipped == {"no image named": 3, "image missing": 5}


def test_a_record_without_the_caption_field_is_noted(tmp_path, run):
    photos(tmp_path / "in", 2)
    (tmp_path / "in/x.jsonl").write_text('{"image": "0.jpg", "caption": "a"}\n{"image": "1.jpg", "text": "b"}')
    _, out, _ = run(tmp_path / "in/x.jsonl")
    assert "note: 1 (record without the field 'caption', which the first one has)" in out


def test_coco_with_ids_of_any_type(tmp_path, run):
    photos(tmp_path / "in", 4)
    ids = [1, [1], {"a": 1}, "four"]
    images = [{"id": number, "file_name": f"{n}.jpg"} for n, number in enumerate(ids)]
    images += [{"id": 1.0, "file_name": "0.jpg"}, {"id": 9, "file_name": ["x"]}]
    notes = [{"image_id": number, "caption": "text"} for number in (1, [1], True, None, "four", 9)]
    notes += [{"image_id": 1, "caption": 5}, {"image_id": 1, "label": "x"}]
    (tmp_path / "in/c.json").write_text(json.dumps({"images": images, "annotations": notes}))
    assert run(tmp_path / "in/c.json", "--val-ratio", 0)[0] == 0
    assert sources(tmp_path / "out/paired") == {"0.jpg", "3.jpg"}
    counts = check_counts(tmp_path / "out")
    expected = {"annotation of an unknown image id": 3, "no image named": 1, NOT_TEXT: 1}
    assert counts["captions"]["skipped"] == expected
    assert counts["notes"]["annotation without caption"] == 1


def test_karpathys_fields_of_any_type(tmp_path, run):
    photos(tmp_path / "in", len(STRANGE) + 2)
    rows = [{"filename": f"{n}.jpg", "sentences": one} for n, one in enumerate([[{"raw": "a tree"}], *STRANGE])]
    rows += [{"filename": ["x"], "filepath": 5, "sentences": "lost"}]
    rows += [{"filename": f"{len(rows) - 1}.jpg", "filepath": {}, "sentences": [{"tokens": ["a"]}], "split": {"a": 1}}]
    (tmp_path / "in/dataset.json").write_text(json.dumps({"images": rows}))
    assert run(tmp_path / "in/dataset.json", "--val-ratio", 0)[0] == 0
    assert texts(tmp_path / "out") == {"a tree", "a", "? half"}
    skipped = check_counts(tmp_path / "out")["captions"]["skipped"]
    assert skipped == {NOT_TEXT: 8, "empty caption": 1, "no image named": 1}


def test_polyvore_and_scicap_with_fields_of_any_type(tmp_path, run):
    source = fixtures.polyvore(tmp_path / "p")
    items = json.loads((source / "train_info.json").read_text())
    for item, value in zip(items, ([1], {"a": 1}, 5)):
        item |= {"title": value, "description": None}
    items[3] |= {"id": ["x"], "images": {"y": 1}}
    (source / "train_info.json").write_text(json.dumps(items))
    assert run(source)[0] == 0
    skipped = check_counts(tmp_path / "out")["captions"]["skipped"]
    assert skipped == {NOT_TEXT: 3, "no image named": 1, "image missing": 1}
    (source / "polyvore_item_metadata.json").write_bytes(b'{"1": ' + DEEP + b"}")
    assert "polyvore_item_metadata.json: not JSON: lists or objects" in run(source, "--overwrite")[2]


def test_a_figure_of_scicap_that_is_no_object_is_counted(tmp_path, run):
    source = fixtures.scicap(tmp_path / "s")
    damaged = (DEEP, b"", b"[1]", b'{"0-originally-extracted": 5, "paper-ID": [1]}')
    for number, content in zip((0, 1, 2, 4), damaged):
        (source / f"SciCap-Caption-All/train/1001.{number:04d}v1-Figure2-1.json").write_bytes(content)
    assert run(source)[0] == 0
    skipped = check_counts(tmp_path / "out")["captions"]["skipped"]
    expected = {"figure whose .json is not a JSON object": 3, NOT_TEXT: 1}
    assert skipped == {**expected, "caption of a figure with subfigures": 1}


# Parquet and Arrow


def rows_of(path: Path, **columns: object) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(next(iter(columns.values())))  # type: ignore[arg-type, call-overload]
    pq.write_table(pa.table({"image": [image(n) for n in range(count)], **columns}), path)
    return path


def test_a_binary_column_of_captions_is_read_as_text(tmp_path, run):
    import pyarrow as pa

    source = rows_of(tmp_path / "x.parquet", text=pa.array([b"a tree", "é".encode(), b"\xff\xfe", b"", None]))
    assert run(source, "--val-ratio", 0)[0] == 0
    assert texts(tmp_path / "out") == {"a tree", "é"}
    assert check_counts(tmp_path / "out")["captions"]["skipped"] == {NOT_TEXT: 1, "empty caption": 1}


def test_keys_and_values_of_an_arrow_map_are_no_captions(tmp_path, run):
    import pyarrow as pa

    maps = pa.array([[("a", "b")], [("c", "d"), ("e", "f")]], pa.map_(pa.string(), pa.string()))
    source = rows_of(tmp_path / "x.parquet", text=maps)
    status, _, said = run(source)
    assert status == 1  # no caption is left
    assert f"{NOT_TEXT}: 3" in said


def test_a_second_folder_of_parquet_files_is_noted(tmp_path, run):
    rows_of(tmp_path / "in/x.parquet", text=["a", "b"])
    rows_of(tmp_path / "in/data/y.parquet", text=["c"])
    assert "note: 1 (not read: data/, since there are .parquet files beside it)" in run(tmp_path / "in")[1]


def exotic() -> dict[str, object]:
    """Columns of types that are rare, with values that Python cannot hold."""
    import decimal

    import pyarrow as pa

    far = 2**62
    return {
        "timestamp": pa.array([0, far], pa.timestamp("us")),
        "zone": pa.array([0, 1], pa.timestamp("s", tz="Mars/Phobos")),
        "date": pa.array([0, 2**30], pa.date32()),
        "time": pa.array([0, far], pa.time64("us")),
        "duration": pa.array([0, far], pa.duration("s")),
        "decimal": pa.array([decimal.Decimal("1.50"), None], pa.decimal128(10, 2)),
        "struct": pa.array([{"a": {"b": 1}}, None]),
        "map": pa.array([[("a", "b")], None], pa.map_(pa.string(), pa.string())),
        "float": pa.array([float("nan"), 1e300]),
        "binary": pa.array([b"\xff", b"ok"]),
    }


@pytest.mark.parametrize("name", sorted(exotic()))
@pytest.mark.parametrize("role", ["caption", "label", "group", "split"])
def test_columns_of_any_type_are_used_or_counted(tmp_path, run, name, role):
    columns = {"value": exotic()[name]} if role == "caption" else {"text": ["a tree", "b"], "value": exotic()[name]}
    source = rows_of(tmp_path / "x.parquet", **columns)
    status, _, error = run(source, f"--{role}-column", "value", "--val-split", "none")
    assert status == 0 or "no caption belongs to a usable image" in error or "no usable image" in error


def test_a_damaged_arrow_file_is_one_line(tmp_path, run):
    source = fixtures.arrow(tmp_path / "a")
    path = source / "train/data-00000-of-00001.arrow"
    data = path.read_bytes()
    at = data.index(struct.pack("<iii", 0, 21, 42))  # offsets of the texts
    path.write_bytes(data[:at] + struct.pack("<iii", 0, 2**31 - 1, -5) + data[at + 12 :])
    status, _, error = run(source)
    assert status == 1
    assert "data-00000-of-00001.arrow: " in error


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset_dict.json", b'{"splits": 5}'),
        ("dataset_dict.json", b'{"splits": [5]}'),
        ("dataset_dict.json", b'{"splits": [".."]}'),
        ("dataset_dict.json", b'{"splits": ["\\ud800"]}'),
        ("dataset_dict.json", b'{"splits": ["train", "train"]}'),
        ("dataset_dict.json", b"[]"),
        ("dataset_dict.json", DEEP),
        ("train/state.json", b'{"_data_files": {"a": 1}}'),
        ("train/state.json", b'{"_data_files": [5]}'),
        ("train/state.json", b'{"_data_files": [{"filename": ["x"]}]}'),
        ("train/state.json", b"\xff"),
        ("train/state.json", None),
    ],
)
def test_damaged_files_beside_arrow_are_named(tmp_path, run, name, content):
    source = fixtures.arrow(tmp_path / "a")
    if content is None:
        (source / name).unlink()
    else:
        (source / name).write_bytes(content)
    status, _, error = run(source)
    assert status == 1
    assert name in error


@pytest.mark.parametrize("names", [b"5", b'{"a": 1}', b"[1, [2]]"])
def test_class_names_of_other_types(tmp_path, run, names):
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = b'{"info": {"features": {"label": {"names": ' + names + b"}}}}"
    schema = pa.schema([("image", pa.binary()), ("text", pa.string()), ("label", pa.int64())], {b"huggingface": about})
    table = pa.Table.from_pylist([{"image": image(0), "text": "a", "label": 0}], schema)
    pq.write_table(table, tmp_path / "x.parquet")
    assert run(tmp_path / "x.parquet")[0] == 0


# FashionGen


@pytest.mark.parametrize("damage", ["ragged", "grey", "group", "floats"])
def test_arrays_of_another_shape_are_refused(tmp_path, run, damage):
    import h5py
    import numpy as np

    source = fixtures.fashiongen(tmp_path / "f")
    with h5py.File(source / "fashiongen_256_256_train.hdf5", "a") as file:
        name = "input_name" if damage in ("ragged", "group") else "input_image"
        del file[name]
        if damage == "group":
            file.create_group(name)
        else:
            shapes = {"ragged": (9, 1), "grey": (10, 16, 16, 1), "floats": (10, 16, 16, 3)}
            file[name] = np.zeros(shapes[damage], dtype=float if damage == "floats" else np.uint8)
    status, _, error = run(source)
    assert status == 1
    assert f"train.hdf5: {name} is not an array" in error


# Tars


def test_damaged_members_of_a_tar_are_counted(tmp_path, run):
    found = [
        one
        for n, about in enumerate((b'{"captions": 5}', b'{"captions": ' + DEEP + b"}", b'{"caption": {}}', b"\xff"))
        for one in ((f"{n}.jpg", image(n)), (f"{n}.json", about))
    ]
    found += [("8.jpg", image(8)), ("8.json", b'{"captions": 5}'), ("8.txt", b"a tree"), ("8.png", image(9, "PNG"))]
    found += [("9.jpg", image(10)), ("9.cls", b"1" * 5000), ("9.txt", b"a river")]
    fixtures.tar_of(tmp_path / "in/x.tar", found)
    assert run(tmp_path / "in", "--val-ratio", 0)[0] == 0
    counts = check_counts(tmp_path / "out")
    assert texts(tmp_path / "out") == {"a tree", "a river"}
    assert counts["captions"]["skipped"] == {NOT_TEXT: 3}
    assert counts["images"]["skipped"] == {"further image in its sample": 1}
    assert counts["notes"] == {
        "member .json that is not a JSON object: not read": 2,
        "member that is not UTF-8: bytes replaced": 1,
    }


def test_members_that_come_twice_are_counted(tmp_path, run):
    found = [("a.jpg", image(1)), ("a.txt", b"one"), ("a.txt", b"two"), ("a.JPG", image(2)), ("b.jpg", image(3))]
    fixtures.tar_of(tmp_path / "in/x.tar", [*found, ("b.txt", b"three")])
    assert run(tmp_path / "in", "--val-ratio", 0)[0] == 0
    counts = check_counts(tmp_path / "out")
    assert counts["images"]["skipped"] == {"further image in its sample": 1}
    assert counts["notes"] == {"member that comes twice in its sample: the last one is used": 1}
    assert texts(tmp_path / "out") == {"two", "three"}


def test_texts_that_are_no_utf8_are_noted(tmp_path, run):
    fixtures.tar_of(tmp_path / "in/x.tar", [("a.jpg", image(1)), ("a.txt", b"caf\xe9"), ("b.txt", "é".encode())])
    assert run(tmp_path / "in", "--val-ratio", 0)[0] == 0
    assert check_counts(tmp_path / "out")["notes"] == {"member that is not UTF-8: bytes replaced": 1}
    source = fixtures.fashion200k(tmp_path / "f")
    path = source / "labels/dress_train_detect_all.txt"
    path.write_bytes(path.read_bytes().replace(b"red dress number 1\n", b"caf\xe9 dress\n"))
    assert "note: 2 (line that is not UTF-8: bytes replaced)" in run(source, "--overwrite")[1]


def test_class_names_that_are_no_utf8_are_refused(tmp_path, run):
    fixtures.tar_of(tmp_path / "in/x.tar", [("a.jpg", image(1)), ("a.cls", b"0")])
    (tmp_path / "in/classnames.txt").write_bytes(b"caf\xe9\n")
    status, _, error = run(tmp_path / "in")
    assert status == 1
    assert "classnames.txt: not UTF-8 text" in error


# Folders


def test_files_of_captions_that_are_not_read_are_named_wherever_they_are(tmp_path, run):
    source = fixtures.imagefolder(tmp_path / "in")
    (source / "train/captions.csv").write_text("file_name,text\n")
    (source / "train/train-1.txt").write_text("a caption beside its image")
    (source / "README.txt").write_text("nothing")
    _, out, _ = run(source)
    assert "note: 2 (not read: train/captions.csv, train/train-1.txt (give the file as SOURCE to read it))" in out


def test_a_table_among_the_images_is_not_called_unread_but_others_are(tmp_path, run):
    source = table(tmp_path / "in", "0.jpg,a tree")
    _, out, _ = run(source)
    assert "not read" not in out
    for number in range(5):
        (tmp_path / f"in/{number}.json").write_text("{}")
    _, out, _ = run(source, "--overwrite")
    assert "note: 5 (not read: 0.json, 1.json, 2.json and 2 more" in out


def test_names_that_are_no_utf8_are_converted(tmp_path, run):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.makedirs(folder + b"/cl\xe4ss")
    for number in range(3):
        Path(os.fsdecode(folder + b"/cl\xe4ss/%d\xff.jpg" % number)).write_bytes(image(number))
    source = Path(os.fsdecode(folder))
    assert run(source)[0] == 0
    assert len(members(tmp_path / "out/unpaired")) == 3
    first = tree(tmp_path / "out")
    (source / os.fsdecode(b"t\xff.csv")).write_text("filepath,caption\nx.jpg,a\n")
    status, _, error = run(source / os.fsdecode(b"t\xff.csv"), "--overwrite")
    assert status == 1
    assert "no caption belongs to a usable image" in error
    assert tree(tmp_path / "out") == first


def test_classes_whose_folders_differ_in_bytes_that_are_no_utf8_stay_apart(tmp_path, run):
    for number, name in enumerate((b"cl\xe4ss", b"cl\xe5ss", "clæss".encode())):
        os.makedirs(os.fsencode(tmp_path) + b"/in/" + name)
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/" + name + b"/x%d.jpg" % number)).write_bytes(image(number))
    assert run(tmp_path / "in", "--as", "classification", "c")[0] == 0
    assert (tmp_path / "out/c/classnames.txt").read_text() == "cl\\xe4ss\ncl\\xe5ss\nclæss\n"


def test_names_with_line_ends_are_told_in_one_line(tmp_path, run):
    folder = tmp_path / "a\nb"
    folder.mkdir()
    (folder / "c\nd.csv").write_text("filepath,caption\n")
    status, _, error = run(folder / "c\nd.csv")
    assert status == 1
    assert "a b/c d.csv: there is no record in it" in error
    photos(folder, 2)
    status, out, _ = run(folder)
    assert status == 0
    assert "not read: c d.csv" in out
