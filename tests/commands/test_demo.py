"""The demo's parts: what is embedded, and the study that it is."""

import csv
import sys
import zipfile

import pytest

from sclip_plugin import cli
from sclip_plugin.commands.demo import BENCHES as NAMES
from sclip_plugin.commands.demo import embedded
from sclip_plugin.commands.demo.embedded import BENCHES
from sclip_plugin.commands.study import spec
from sclip_plugin.commands.study.steps import prepare_steps
from sclip_plugin.errors import DataError


def test_embedded_files_are_small_and_licensed():
    sizes = {name: sum((embedded.FOLDER / file).stat().st_size for file in files) for name, files in BENCHES.items()}
    assert sizes["emoji"] <= 15e6
    assert sizes["icons"] <= 10e6
    with zipfile.ZipFile(embedded.FOLDER / embedded.EMOJI) as archive:
        notice = archive.read("NOTICE.txt").decode()
        drawn = {name.split("/")[1] for name in archive.namelist() if name.startswith("images/")}
        assert drawn == {line.split(":")[0] for line in notice.splitlines()[:-1]}  # a licence for each designer
    with zipfile.ZipFile(embedded.FOLDER / embedded.EMOJI_START) as archive:
        notice = archive.read("NOTICE.txt").decode()
        assert "icon-park" in notice
        assert "emoji" not in notice.lower().replace("emoji by", "")
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


@pytest.mark.parametrize("archive", [embedded.START, embedded.EMOJI_START])
def test_start_model_loads(archive, tmp_path):
    from sclip_plugin.evaluation.models import load_model

    folder = embedded.unpack(archive, tmp_path / "start")
    model, _, tokenizer = load_model(f"local-dir:{folder}", None, "cpu", "fp32")
    assert model.encode_text(tokenizer(["alarm clock"])).shape == (1, 128)


def test_the_flag_names_what_is_embedded():
    assert set(NAMES) == set(BENCHES)


def test_missing_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"embedded icons\.zip: .*; reinstall sclip-plugin"):
        embedded.unpack(embedded.ICONS, tmp_path / "icons")


@pytest.mark.parametrize("bench", embedded.BENCHES)
def test_unpack_writes_the_data_and_the_start_model(bench, tmp_path, capsys):
    assert cli.main(["demo", "--bench", bench, "--unpack", str(tmp_path)]) == 0
    with open(tmp_path / bench / "captions.csv", newline="", encoding="utf-8") as file:
        assert all((tmp_path / bench / row["filepath"]).is_file() for row in csv.DictReader(file))
    assert (tmp_path / "start" / "open_clip_config.json").is_file()


def test_the_other_benchs_start_model_is_not_taken_for_this_ones(tmp_path, capsys):
    assert cli.main(["demo", "--bench", "icons", "--unpack", str(tmp_path)]) == 0
    assert cli.main(["demo", "--unpack", str(tmp_path)]) == 1
    assert "holds 'start.zip', not 'emoji-start.zip': choose another folder" in capsys.readouterr().err


def test_emoji_are_ten_designers_of_whom_two_are_kept_for_the_shift(tmp_path):
    folder = embedded.unpack(embedded.EMOJI, tmp_path / "emoji")
    with open(folder / "captions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({row["filepath"] for row in rows}) == 6123
    assert len({row["label"] for row in rows}) == 35
    assert len({row["designer"] for row in rows if row["split"] == "shift"}) == 2
    assert len({row["designer"] for row in rows if row["split"] != "shift"}) == 8


def test_the_demo_is_a_study_whose_arms_differ_in_the_method_only(tmp_path):
    study = spec.load(spec.locate("demo"), tmp_path, seeds=[0], steps=3)
    supervised, sclip = study.arms["supervised"].flags, study.arms["sclip"].flags
    method = {"unpaired-data", "keywords"}  # the rest is the same
    assert {k: v for k, v in sclip.items() if k not in method} == {**supervised, "loss": "sclip"}
    assert set(sclip) - set(supervised) == method
    assert supervised["loss"] == "clip"  # the same loader: pairs, captions and crops
    assert study.arms["trusted"].flags == {**sclip, "sclip-recipe": "trusted"}
    controls = {"loss": "sclip", "sclip-pair-keyword-weight": 1.0, "keywords": sclip["keywords"]}
    assert study.arms["pair-keywords"].flags == {**supervised, **controls}  # no unpaired image
    assert study.arms["sclip"].steps == 3
    assert study.prepare[0].command == ("sclip", "demo", "--bench", "emoji", "--unpack", str(tmp_path))


@pytest.mark.parametrize("base", BENCHES)
def test_data_commands_are_understood(base, tmp_path, capsys):
    steps = prepare_steps(spec.load(spec.locate("demo"), tmp_path, base=base))
    kinds = [step.command[1] for step in steps]
    assert kinds == ["demo", *["convert"] * (len(kinds) - 2), "keywords"]
    for step in steps:
        with pytest.raises(SystemExit, match="0"):
            cli.main([*step.command[1:], "--help"])


def test_the_panel_is_drawn_of_what_the_study_wrote(tmp_path, shards, tiny_model, capsys):
    import shutil

    import open_clip
    import torch

    from sclip_plugin.commands.demo import _draw_panel

    folder = tmp_path / "start"
    shutil.copytree(tiny_model.removeprefix("local-dir:"), folder)
    shutil.copytree(shards, tmp_path / "shards")
    shutil.copy(shards / "keywords.txt", tmp_path)
    checkpoints = tmp_path / "runs" / "sclip-3" / "checkpoints"
    checkpoints.mkdir(parents=True)
    _draw_panel(tmp_path, 3)  # no run has ended
    assert not (tmp_path / "panel.png").exists()
    torch.save({"state_dict": open_clip.create_model(tiny_model).state_dict(), "epoch": 1}, checkpoints / "epoch_1.pt")
    _draw_panel(tmp_path, 3)
    assert (tmp_path / "panel.png").read_bytes()[:4] == b"\x89PNG"
    assert f"$ sclip inspect --model local-dir:{folder}" in capsys.readouterr().out


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
    assert capsys.readouterr().err == f"sclip demo: {tmp_path / 'd' / 'emoji'}: No space left on device\n"
