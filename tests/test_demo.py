"""The demo's parts: what is embedded, the commands it builds, going on after an interruption, the table."""

import json
import shlex
import sys
import zipfile

import pytest
from open_clip_train.params import parse_args as stock_arguments

from sclip_plugin import cli
from sclip_plugin.demo import embedded, report, steps
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
    from sclip_plugin.evaluation.command import load_model

    folder = embedded.unpack(embedded.START, tmp_path / "start")
    model, _, tokenizer = load_model(f"local-dir:{folder}", None, "cpu", "fp32")
    assert model.encode_text(tokenizer(["alarm clock"])).shape == (1, 128)


def test_missing_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    with pytest.raises(DataError, match=r"embedded icons\.zip: .*; reinstall sclip-plugin"):
        embedded.unpack(embedded.ICONS, tmp_path / "icons")


@pytest.fixture
def out(tmp_path):
    for part in ("paired", "unpaired"):
        (tmp_path / "shards" / part).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "shards" / part / f"{number:06d}.tar").touch()
    return tmp_path


def flags(step, first):
    """{flag: value} of a command, without its first words."""
    words = list(step.command[first:])
    return dict(zip(words[::2], words[1::2]))


def test_data_commands_are_understood(out, capsys):
    convert, themes, keywords = steps.data_steps(out)
    assert flags(convert, 3)["--group-column"] == "group"
    assert themes.command[: len(convert.command)] == convert.command  # the same split
    assert keywords.command[:2] == ("sclip", "keywords")
    for step in (convert, themes, keywords):
        with pytest.raises(SystemExit, match="0"):
            cli.main([*step.command[1:], "--help"])


def test_both_arms_differ_in_the_method_only(out):
    supervised, sclip = (flags(steps.train_step(out, arm, 1, 7), 3) for arm in ("supervised", "sclip"))
    method = {"--loss", "--unpaired-data", "--keywords", "--dataset-type", "--name"}
    assert {k: v for k, v in supervised.items() if k not in method} == {
        k: v for k, v in sclip.items() if k not in method
    }
    assert supervised["--train-data"] == f"{out}/shards/paired/{{000000..000002}}.tar"
    assert "--loss" not in supervised
    assert sclip["--loss"] == "sclip"
    assert sclip["--unpaired-data"].endswith("unpaired/{000000..000002}.tar")
    parsed = stock_arguments(list(steps.train_step(out, "supervised", 1, 7).command[3:]))
    assert (parsed.epochs, parsed.batch_size, parsed.lr) == (7, steps.BATCH, steps.LR)


def test_no_shards_is_said(tmp_path):
    with pytest.raises(steps.StepFailed, match="paired: no shards"):
        steps.train_step(tmp_path, "sclip", 0, 1)


def test_shown_commands_are_the_ones_run(out):
    step = steps.eval_step(out, "start", None)
    assert shlex.split(step.shown) == list(step.command)
    assert step.argv == [sys.executable, "-m", "sclip_plugin.cli", *step.command[1:]]
    training = steps.train_step(out, "sclip", 0, 2)
    assert training.argv[:3] == [sys.executable, "-m", "open_clip_train.main"]


def script(path, text, product):
    path.write_text(text)
    return steps.Step("job", ("python", str(path)), (product,))


def test_finished_steps_are_kept_and_unfinished_ones_start_anew(tmp_path):
    product, said = tmp_path / "product", []
    step = script(tmp_path / "job.py", f"open({str(product)!r}, 'a').write('x')", product)
    steps.run_step(step, tmp_path, said.append)
    steps.run_step(step, tmp_path, said.append)
    assert product.read_text() == "x"
    assert "done before" in said[-1]
    (tmp_path / "done" / "job.json").unlink()  # as an interruption leaves it
    steps.run_step(step, tmp_path, said.append)
    assert product.read_text() == "x"
    steps.run_step(steps.Step("job", (*step.command, "other"), step.products), tmp_path, said.append)
    assert "done before" not in said[-1]


def test_a_failing_step_names_its_log(tmp_path):
    step = script(tmp_path / "job.py", "print('why'); raise SystemExit(3)", tmp_path / "product")
    with pytest.raises(steps.StepFailed, match=r"ended with status 3: see .*job\.log"):
        steps.run_step(step, tmp_path)
    assert (tmp_path / "logs" / "job.log").read_text() == "why\n"
    assert not (tmp_path / "done" / "job.json").exists()


def evaluation(path, value):
    recalls = {f"{way}_retrieval_recall@{k}": value for way in ("image", "text") for k in (1, 5, 10)}
    results = [{"metrics": {"acc1": value, "acc5": 1.0, "mean_per_class_recall": value}}, {"metrics": recalls}]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"results": results}))


def test_table_reports_what_came_out(tmp_path):
    for name, value in {"start": 0.1, "supervised-0": 0.3, "supervised-1": 0.4, "sclip-0": 0.2, "sclip-1": 0.2}.items():
        evaluation(steps.result_file(tmp_path, name), value)
    results = report.collect(tmp_path, 2)
    table = report.markdown(results).splitlines()
    assert table[2].startswith("| start model | 10.0 | 10.0 |")
    assert table[3].startswith("| supervised | 35.0 ± 7.1 |")
    assert "zero-shot theme accuracy: S-CLIP is 15.0 points below supervised" in report.verdict(results, 500)


def test_demo_refuses_nonsense(capsys):
    assert cli.main(["demo", "--steps", "0"]) == 2
    assert "--steps and --seeds must be at least 1" in capsys.readouterr().err
