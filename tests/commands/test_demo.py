"""The demo's parts: what is embedded, and the study that it is."""

import sys
import zipfile

import pytest

from sclip_plugin import cli
from sclip_plugin.commands.demo import embedded
from sclip_plugin.commands.study import spec
from sclip_plugin.commands.study.steps import prepare_steps
from sclip_plugin.errors import DataError


def test_embedded_files_are_small_and_licensed():
    assert sum(path.stat().st_size for path in embedded.FOLDER.iterdir() if path.is_file()) <= 10 * 2**20
    with zipfile.ZipFile(embedded.FOLDER / embedded.ICONS) as archive:
        assert "Apache License" in archive.read("LICENSE.txt").decode()
        assert "Pictogrammers" in archive.read("NOTICE.txt").decode()
    notice = (embedded.FOLDER / "NOTICE-start.txt").read_text()
    assert "tabler: Tabler Icons" in notice
    assert "Pictogrammers" not in notice


def test_icons_unpack_once(tmp_path):
    folder = embedded.unpack(embedded.ICONS, tmp_path / "icons")
    images, rows = embedded.images_and_captions()
    assert len(images) == 2943
    assert len({row["label"] for row in rows}) == 25
    assert all((folder / row["filepath"]).is_file() for row in rows)
    (folder / "captions.csv").write_text("changed")
    assert (embedded.unpack(embedded.ICONS, folder) / "captions.csv").read_text() == "changed"
    (folder / embedded.MARKER).unlink()
    assert (embedded.unpack(embedded.ICONS, folder) / "captions.csv").read_text() != "changed"


def test_start_model_loads(tmp_path):
    from sclip_plugin.evaluation.models import load_model

    folder = embedded.unpack(embedded.START, tmp_path / "start")
    model, _, tokenizer = load_model(f"local-dir:{folder}", None, "cpu", "fp32")
    assert model.encode_text(tokenizer(["alarm clock"])).shape == (1, 128)


def test_missing_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"embedded icons\.zip: .*; reinstall sclip-plugin"):
        embedded.unpack(embedded.ICONS, tmp_path / "icons")


def test_unpack_writes_icons_and_start_model(tmp_path, capsys):
    assert cli.main(["demo", "--unpack", str(tmp_path)]) == 0
    assert (tmp_path / "icons" / "captions.csv").is_file()
    assert (tmp_path / "start" / "open_clip_config.json").is_file()


def test_the_demo_is_a_study_whose_arms_differ_in_the_method_only(tmp_path):
    study = spec.load(spec.locate("demo"), tmp_path, seeds=[0], steps=3)
    supervised, sclip = study.arms["supervised"].flags, study.arms["sclip"].flags
    method = {"unpaired-data", "keywords"}
    assert {k: v for k, v in sclip.items() if k not in method} == {**supervised, "loss": "sclip"}
    assert set(sclip) - set(supervised) == method
    assert supervised["loss"] == "clip"  # the same loader: pairs, captions and crops
    assert study.arms["sclip"].steps == 3
    assert study.prepare[0].command == ("sclip", "demo", "--unpack", str(tmp_path))


def test_data_commands_are_understood(tmp_path, capsys):
    steps = prepare_steps(spec.load(spec.locate("demo"), tmp_path))
    assert [step.command[1] for step in steps] == ["demo", "convert", "convert", "keywords"]
    convert, themes = steps[1].command, steps[2].command
    assert themes[: len(convert)] == convert  # the same split
    for step in steps:
        with pytest.raises(SystemExit, match="0"):
            cli.main([*step.command[1:], "--help"])


def test_demo_refuses_nonsense(capsys):
    assert cli.main(["demo", "--steps", "0"]) == 2
    assert "--steps must be at least 1, got 0" in capsys.readouterr().err


def test_icons_are_redrawn_the_same_way_twice(tmp_path, monkeypatch):
    from sclip_plugin.commands.demo import shifted
    from tests.helpers.shards import write_shards

    write_shards(tmp_path / "shards", 5, 2, captions=False)
    for name in ("a", "b"):
        monkeypatch.setattr(sys, "argv", ["shifted", str(tmp_path / "shards"), str(tmp_path / name)])
        shifted.main()
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert len(first) == 5
    assert first == second


def test_redrawing_leaves_out_what_cannot_be_used_and_leaves_nothing_half_done(tmp_path, capsys, monkeypatch):
    from sclip_plugin.commands.demo import shifted
    from tests.helpers.shards import picture, write_tar

    members = [("a.png", picture(1)), ("b.png", b"junk"), ("c.txt", b"x"), ("d.png", picture(2))]
    write_tar(tmp_path / "shards" / "0.tar", members)
    assert shifted.main([str(tmp_path / "shards"), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0-00000.png", "0-00003.png"]
    assert capsys.readouterr().out == "left out: undecodable image x 1, no image x 1\n"
    assert shifted.main([str(tmp_path / "nowhere"), str(tmp_path / "more")]) == 1
    assert "SHARDS: no such shard" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    assert shifted.main([str(tmp_path / "shards"), str(tmp_path / "more")]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"shifted: {tmp_path / 'more'}: No space left on device"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "shards"]


def test_a_full_disk_while_unpacking_is_named(tmp_path, capsys, monkeypatch):
    import zipfile

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    assert cli.main(["demo", "--unpack", str(tmp_path / "d")]) == 1
    assert capsys.readouterr().err == f"sclip demo: {tmp_path / 'd' / 'icons'}: No space left on device\n"
