"""`sclip split`, `sclip verify` and `sclip convert --dry-run`."""

import json
import shutil

import pytest
from PIL import Image

from sclip_plugin.cli import main
from tests.helpers.conversion import check_counts, convert, image, members, source, sources, tree


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """photos, captions.csv and `full/`, everything paired."""
    root = source(tmp_path_factory.mktemp("source"))
    assert convert(root, root / "full", "--group-column", "group") == 0
    return root


def split(*words) -> int:
    return main(["split", *map(str, words)])


def verify(*words) -> int:
    return main(["verify", *map(str, words)])


def test_a_split_is_what_the_conversion_would_have_given(root, tmp_path):
    assert split(root / "full", "--out", tmp_path / "split", "--paired-ratio", 0.3) == 0
    assert convert(root, tmp_path / "converted", "--group-column", "group", "--paired-ratio", 0.3) == 0
    for part in ("paired", "unpaired", "val"):
        assert tree(tmp_path / "split" / part) == tree(tmp_path / "converted" / part)
    check_counts(tmp_path / "split")
    assert verify(tmp_path / "split") == 0


def test_several_ratios_are_nested(root, tmp_path):
    assert split(root / "full", "--out", tmp_path, "--paired-ratio", 0.1, 0.3, 1.0) == 0
    few, more, whole = (sources(tmp_path / ratio / "paired") for ratio in ("0.1", "0.3", "1.0"))
    assert few < more < whole == sources(root / "full/paired")
    assert sources(tmp_path / "0.1/unpaired") > sources(tmp_path / "0.3/unpaired") > sources(root / "full/unpaired")
    for ratio in ("0.1", "0.3", "1.0"):
        assert tree(tmp_path / ratio / "val") == tree(root / "full/val")


def test_another_seed_and_another_val(root, tmp_path):
    assert split(root / "full", "--out", tmp_path / "a", "--paired-ratio", 0.5, "--seed", 1) == 0
    assert split(root / "full", "--out", tmp_path / "b", "--paired-ratio", 0.5) == 0
    assert sources(tmp_path / "a/paired") != sources(tmp_path / "b/paired")
    assert members(tmp_path / "a/val/test") == members(root / "full/val/test")
    assert split(root / "full", "--out", tmp_path / "c", "--val-ratio", 0.4) == 0
    assert len(sources(tmp_path / "c/val/test")) == 16
    assert not sources(tmp_path / "c/val/test") & sources(tmp_path / "c/paired")


def test_no_image_is_decoded(root, tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("opened"))
    assert split(root / "full", "--out", tmp_path / "out", "--paired-ratio", 0.5) == 0


def test_captions_that_were_hidden_before_are_told(root, tmp_path, capsys):
    assert split(root / "full", "--out", tmp_path / "few", "--paired-ratio", 0.5) == 0
    capsys.readouterr()
    assert split(tmp_path / "few", "--out", tmp_path / "fewer", "--paired-ratio", 0.5) == 0
    assert "caption hidden when the source was made; it cannot come back" in capsys.readouterr().out


def test_an_interrupted_split_continues(root, tmp_path, monkeypatch):
    import sclip_plugin.shards.conversion.shard_task as writer

    write, left = writer.write_shard, [2]

    def stop(*args):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return write(*args)

    flags = ("--paired-ratio", 0.5, "--workers", 1)
    monkeypatch.setattr(writer, "write_shard", stop)
    assert split(root / "full", "--out", tmp_path / "a", *flags) == 1
    assert not (tmp_path / "a/manifest.json").exists()
    monkeypatch.setattr(writer, "write_shard", write)
    assert split(root / "full", "--out", tmp_path / "a", *flags) == 0
    assert split(root / "full", "--out", tmp_path / "b", *flags) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("{tmp}/nothing", "--out", "{tmp}/o"), 1, "no manifest.json"),
        (("{full}", "--out", "{full}"), 2, "--out must be another folder than SHARDS"),
        (("{full}", "--out", "{full}", "--overwrite"), 2, "--out must be another folder than SHARDS"),
        (("{full}", "--out", "{tmp}/o", "--paired-ratio", "0.5", "0"), 2, "--paired-ratio must be above 0"),
        (("{full}", "--out", "{tmp}/o", "--paired-ratio", "0.5", "0.5"), 2, "the same ratio twice"),
        (("{full}", "--out", "{tmp}/o", "--shards", "0"), 2, "--shards must be at least 1"),
    ],
)
def test_split_refusals(root, tmp_path, capsys, words, status, message):
    before = tree(root / "full")
    assert split(*(word.format(tmp=tmp_path, full=root / "full") for word in words)) == status
    assert message in capsys.readouterr().err
    assert tree(root / "full") == before
    assert not (tmp_path / "o").exists()


def test_verify_passes_what_convert_writes(root, tmp_path, capsys):
    assert verify(root / "full", "--sheet", tmp_path / "sheet.png") == 0
    said = capsys.readouterr().out
    assert "no fault" in said
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000
    assert verify(root / "full/paired") == 0
    flags = ("--as", "classification", "colours")
    assert convert(root, tmp_path / "out", *flags) == 0
    assert verify(tmp_path / "out/colours") == 0


def flip(path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def retar(path, change) -> None:
    """Rewrite a tar with `change` applied to its list of (name, bytes)."""
    import tarfile

    from tests.helpers.formats import tar_of

    with tarfile.open(path) as tar:
        found = [(member.name, tar.extractfile(member).read()) for member in tar]
    tar_of(path, change(found))


def jpeg(found):
    """Index of the first image."""
    return next(index for index, (name, _) in enumerate(found) if name.endswith(".jpg"))


def replaced(index: int, member):
    return lambda found: [*found[:index], member(found), *found[index + 1 :]]


DAMAGE = {
    "image: undecodable image": lambda d: retar(d / "paired/000000.tar", replaced(0, lambda f: (f[0][0], b"no image"))),
    "image that open_clip decodes wrongly: alpha": lambda d: retar(
        d / "paired/000000.tar", replaced(0, lambda f: (f[0][0][:-3] + "png", image(1, "PNG", "RGBA")))
    ),
    "no image": lambda d: retar(d / "paired/000000.tar", lambda f: f[1:]),
    "several images in one sample": lambda d: retar(
        d / "paired/000000.tar", lambda f: [f[0], (f[0][0][:-3] + "png", image(1, "PNG")), *f[1:]]
    ),
    "not one caption in .txt, which stock open_clip reads": lambda d: retar(
        d / "paired/000000.tar", replaced(1, lambda f: (f[1][0], b"one\ntwo"))
    ),
    "no caption in .txt": lambda d: retar(d / "val/test/0.tar", replaced(1, lambda f: (f[1][0], b" \n"))),
    "caption in an unpaired sample": lambda d: retar(
        d / "unpaired/000000.tar", lambda f: [f[0], (f[0][0][:-3] + "txt", b"x"), *f[1:]]
    ),
    "key occurs twice": lambda d: retar(d / "paired/000000.tar", lambda f: [*f, *f[:3]]),
    "key with a dot, or a name that leads out": lambda d: retar(
        d / "unpaired/000000.tar", lambda f: [("a.b.jpg", f[0][1]), *f[1:]]
    ),
    "member that belongs to no sample": lambda d: retar(d / "unpaired/000000.tar", lambda f: [("readme", b"x"), *f]),
    "tar cannot be read to its end": lambda d: flip(d / "paired/000000.tar", 5 * 512 + 3),
    "sizes.json does not say what the shards hold": lambda d: (d / "paired/sizes.json").write_text("{}"),
    "nshards.txt and 0.tar, 1.tar, … do not agree": lambda d: (d / "val/test/nshards.txt").write_text("7"),
    "shard of the manifest is missing": lambda d: (d / "unpaired/000001.tar").unlink(),
    "shard is not in the manifest": lambda d: shutil.copy(d / "paired/000000.tar", d / "paired/000099.tar"),
    "shard differs from the manifest (sha256)": lambda d: flip(d / "paired/000000.tar", -1),
    "counts in the manifest do not add up": lambda d: _recount(d),
    "manifest cannot be read": lambda d: (d / "manifest.json").write_text("{"),
    "unfinished: run the same sclip convert again": lambda d: (d / ".progress").mkdir(),
}


def _recount(folder) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["counts"]["captions"]["read"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("fault", DAMAGE)
def test_verify_names_each_fault(root, tmp_path, capsys, fault):
    shutil.copytree(root / "full", tmp_path / "bad")
    DAMAGE[fault](tmp_path / "bad")
    assert verify(tmp_path / "bad") == 1
    assert f"({fault})" in capsys.readouterr().out


def test_verify_checks_classes(root, tmp_path, capsys):
    assert convert(root, tmp_path, "--as", "classification", "colours") == 0
    (tmp_path / "colours/classnames.txt").write_text("blue\n")
    assert verify(tmp_path / "colours") == 1
    assert "is not in classnames.txt" in capsys.readouterr().out


def test_verify_refuses_what_is_none(tmp_path, capsys):
    assert verify(tmp_path) == 1
    assert "no tars in it" in capsys.readouterr().err
    assert verify(tmp_path / "gone") == 1
    assert "no such folder" in capsys.readouterr().err


def test_dry_run_writes_a_contact_sheet_and_no_shard(root, tmp_path, capsys):
    (root / "photos/bad.jpg").write_bytes(b"no image")
    try:
        assert convert(root, tmp_path / "out", "--paired-ratio", 0.5, "--dry-run") == 0
        said = capsys.readouterr().out
        assert convert(root, tmp_path / "out", "--paired-ratio", 0.5) == 0
        written = check_counts(tmp_path / "out")["images"]["written"]
    finally:
        (root / "photos/bad.jpg").unlink()
    assert "skipped: 1 (undecodable image)" in said
    assert f"nothing written but {tmp_path / 'out'}-preview.png" in said
    for part, number in written.items():
        assert any(line.split()[:2] == [part, str(number)] for line in said.splitlines())
    with Image.open(tmp_path / "out-preview.png") as sheet:
        assert len(set(sheet.resize((40, 40)).convert("L").tobytes())) > 20


def test_dry_run_leaves_no_folder_behind(root, tmp_path):
    assert convert(root, tmp_path / "deep/out", "--dry-run") == 1 or not (tmp_path / "deep/out").exists()
    assert not (tmp_path / "deep/out").exists()


def test_keys_stay_the_same(root, tmp_path):
    assert split(root / "full", "--out", tmp_path / "out", "--paired-ratio", 0.5) == 0
    before = {**members(root / "full/paired"), **members(root / "full/unpaired")}
    after = {**members(tmp_path / "out/paired"), **members(tmp_path / "out/unpaired")}
    assert set(before) == set(after)
    assert all(before[key]["jpg"] == after[key]["jpg"] for key in before)
