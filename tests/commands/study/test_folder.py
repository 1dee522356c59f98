"""Running a step so that a second call goes on where one stopped."""

import dataclasses
import shlex

import pytest

from sclip_plugin.commands.study.fingerprint import fingerprint
from sclip_plugin.commands.study.folder import Folder, StepFailed
from sclip_plugin.commands.study.steps import Resume, Step
from sclip_plugin.errors import DataError, UsageError


def script(path, text, product, **more):
    path.write_text(text)
    return Step("job", ("python", str(path)), (product,), **more)


def test_finished_steps_are_kept_and_unfinished_ones_start_anew(tmp_path):
    product, folder = tmp_path / "product", Folder(tmp_path)
    step = script(tmp_path / "job.py", f"open({str(product)!r}, 'a').write('x')", product)
    assert not folder.finished(step)
    folder.run(step)
    assert folder.finished(step)
    assert shlex.split(step.shown) == list(step.command)
    folder.run(step)
    assert product.read_text() == "x"  # the product of an earlier run is removed first
    assert not folder.finished(dataclasses.replace(step, command=(*step.command, "other")))
    product.unlink()
    assert not folder.finished(step)


def test_a_step_may_go_on_from_what_it_left(tmp_path):
    product, folder = tmp_path / "product", Folder(tmp_path / "o")
    text = f"file = open({str(product)!r}, 'a'); file.write('x'); raise SystemExit(file.tell() < 2)"
    step = script(tmp_path / "job.py", text, product)
    assert not folder.begun(step)
    with pytest.raises(StepFailed):
        folder.run(step)
    assert folder.begun(step)
    assert not folder.begun(dataclasses.replace(step, command=(*step.command, "other")))
    folder.run(step, go_on=True)
    assert product.read_text() == "xx"
    assert folder.finished(step)
    product.write_text("by hand")
    with pytest.raises(UsageError, match="product: it has been changed since this study made it"):
        folder.run(step, go_on=True)
    assert product.read_text() == "by hand"


def test_a_step_runs_again_where_its_inputs_changed(tmp_path):
    source, folder = tmp_path / "in.txt", Folder(tmp_path)
    source.write_text("a")
    product = tmp_path / "product"
    step = script(tmp_path / "job.py", f"open({str(product)!r}, 'w')", product, inputs=(str(source), "no such file"))
    folder.run(step)
    assert folder.finished(step)
    source.write_text("b")
    assert not folder.finished(step)


def resumable(tmp_path, end):
    """A step that writes down how it is called, keeps a state, and ends with a status."""
    state, product = tmp_path / "product" / "state", tmp_path / "product"
    text = f"""
import pathlib, sys
pathlib.Path({str(product)!r}).mkdir(exist_ok=True)
with open({str(state)!r}, "a") as file:
    file.write(sys.argv[-1] + " ")
print("said", sys.argv[-1])
raise SystemExit({end})
"""
    return script(tmp_path / "job.py", text, product, inputs=(str(tmp_path / "in"),), resume=Resume(("--on",), state))


def test_a_step_goes_on_where_it_was_ended_if_the_folder_says_so(tmp_path):
    (tmp_path / "in").write_text("a")
    folder, state = Folder(tmp_path, resume=True), tmp_path / "product" / "state"
    with pytest.raises(StepFailed):
        folder.run(resumable(tmp_path, 1))
    folder.run(resumable(tmp_path, 0))
    assert state.read_text() == "--on --on "
    assert folder.log(resumable(tmp_path, 0)).read_text() == "said --on\nsaid --on\n"
    assert folder.seconds("job") is None
    assert folder.finished(resumable(tmp_path, 0))
    folder.run(resumable(tmp_path, 0))  # what is finished begins anew
    assert state.read_text() == "--on "
    assert folder.seconds("job") is not None


def test_a_step_begins_anew_on_other_inputs_and_in_a_folder_that_does_not_resume(tmp_path):
    state, step = tmp_path / "product" / "state", resumable(tmp_path, 1)
    for text in ("a", "b"):
        (tmp_path / "in").write_text(text)
        with pytest.raises(StepFailed):
            Folder(tmp_path, resume=True).run(step)
        assert state.read_text() == "--on "
    with pytest.raises(StepFailed):
        Folder(tmp_path).run(step)
    assert state.read_text() == f"{tmp_path / 'job.py'} "


def test_a_warning_of_a_batch_system_does_not_end_the_command(tmp_path):
    text = f"import os, signal; os.kill(os.getpid(), signal.SIGUSR2); open({str(tmp_path / 'p')!r}, 'w')"
    Folder(tmp_path).run(script(tmp_path / "job.py", text, tmp_path / "p"))
    assert (tmp_path / "p").exists()


def test_a_folder_is_known_by_its_files_and_its_manifest(tmp_path):
    shards = tmp_path / "shards"
    (shards / "paired").mkdir(parents=True)
    before = fingerprint(str(shards / "paired"))
    (shards / "manifest.json").write_text("{}")
    after = fingerprint(str(shards / "paired"))
    (shards / "paired" / "0.tar").write_text("x")
    assert len({before, after, fingerprint(str(shards / "paired"))}) == 3


def test_a_failing_step_names_its_log_and_last_words(tmp_path):
    step = script(tmp_path / "job.py", "print('why'); raise SystemExit(3)", tmp_path / "product")
    with pytest.raises(StepFailed, match=r"ended with status 3: why; see .*job\.log") as error:
        Folder(tmp_path).run(step)
    assert error.value.status == 3
    assert not Folder(tmp_path).finished(step)
    step = script(tmp_path / "job.py", "print('hm')", tmp_path / "product")
    with pytest.raises(StepFailed, match="ended without writing .*product"):
        Folder(tmp_path).run(step)


def test_an_interruption_ends_the_command(tmp_path):
    text = "import signal\nprint('on', flush=True)\nsignal.pause()"
    step = script(tmp_path / "job.py", text, tmp_path / "product")

    def interrupt(_line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Folder(tmp_path).run(step, interrupt)
    assert not Folder(tmp_path).finished(step)


def test_a_full_disk_under_the_log_names_it_and_ends_the_command(tmp_path):
    """`/dev/full` is a disk that is full."""
    step = script(tmp_path / "job.py", f"print('x' * 9000)\nopen({str(tmp_path / 'p')!r}, 'w')", tmp_path / "p")
    folder = Folder(tmp_path)
    folder.log(step).parent.mkdir()
    folder.log(step).symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"job\.log: No space left on device"):
        folder.run(step)
    assert not folder.finished(step)


def test_a_full_disk_under_the_picture_leaves_nothing(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    from sclip_plugin.commands.study import plots

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"report\.png: No space left on device"):
        plots.png(Figure(), tmp_path / "report.png")
    assert list(tmp_path.iterdir()) == []


def test_a_conversion_inside_a_study_names_no_commands_that_come_next(tmp_path):
    """A study goes on by itself, and a set that it evaluates on needs no unpaired images."""
    from tests.helpers.conversion import source

    root = source(tmp_path / "photos", captioned=8, bare=0)
    said: list[str] = []
    command = (
        "sclip",
        "convert",
        str(root / "captions.csv"),
        "--images",
        str(root / "photos"),
        "--out",
        str(tmp_path / "out"),
    )
    Folder(tmp_path).run(Step("job", command), said.append)
    text = "".join(said)
    assert "paired" in text
    assert "no unpaired images" not in text
    assert "open_clip_train" not in text
