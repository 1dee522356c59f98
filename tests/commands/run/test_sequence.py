"""What `sclip run` does in which order, with commands that are played."""

import json
import shlex
import sys

import pytest

from sclip_plugin import cli


def printed(text: str) -> list[list[str]]:
    return [shlex.split(line[2:]) for line in text.splitlines() if line.startswith("$ ")]


def names(argvs: list[list[str]]) -> list[str]:
    """A short name of each command: training by the run's name, the others by their own."""
    return [words[words.index("--name") + 1] if "--name" in words else words[3] for words in argvs]


def value(words: list[str], flag: str) -> str:
    return words[words.index(flag) + 1]


WHOLE = ["keywords", "checkup", "keywords", "supervised-0", "eval", "trusted-0", "eval", "wiseft", "export"]
FINAL = ["eval"] * 4  # start model, both arms, the chosen model


def test_the_printed_commands_are_what_is_run(command, played, capsys):
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    as_typed = [
        ["sclip", *argv[3:]] if argv[2] == "sclip_plugin.cli" else ["python", *argv[1:]] for argv in played.argvs
    ]
    assert printed(said) == as_typed
    assert all(argv[0] == sys.executable for argv in played.argvs)
    assert names(played.argvs) == WHOLE + FINAL


def test_a_dry_run_prints_the_same_commands_and_writes_nothing(command, root, played, capsys):
    for arm, epoch in (("supervised", 4), ("trusted", 4)):
        played.scores[arm, epoch, "val"] = 0.9 + (arm == "trusted") / 100
    assert cli.main([*command, "--dry-run"]) == 0
    dry = printed(capsys.readouterr().out)
    assert not (root / "out").exists()
    assert played.argvs == []
    assert cli.main(command) == 0
    assert printed(capsys.readouterr().out) == dry  # the last epoch of the last arm is the best here


def test_the_choice_is_by_validation_and_never_by_test(command, root, played, capsys):
    sets = ["--val", f"c={root / 'c'}", "--test", f"t={root / 't'}"]
    played.scores["trusted", 2, "val"], played.scores["trusted", 2, "c"] = 0.6, 0.7
    played.scores["supervised", 3, "val"] = 0.75  # the best by val alone
    for epoch in (1, 3, 4):
        played.scores["trusted", epoch, "t"] = played.scores["supervised", epoch, "t"] = 0.99
    assert cli.main([*command, *sets]) == 0
    said = capsys.readouterr().out
    assert "supervised: best after epoch 3, 62.5 by the mean over val, c" in said
    assert "trusted recipe: best after epoch 2, 65.0 by the mean over val, c" in said
    assert "chosen by the mean over val, c: trusted recipe, epoch 2, alpha 0.5" in said
    before = played.argvs[: names(played.argvs).index("export")]
    assert not any(str(root / "t") in word for argv in before for word in argv)
    assert all(f"t={root / 't'}" in argv for argv in played.argvs[-4:])

    assert cli.main([*command, *sets, "--by", "val"]) == 0
    assert "chosen by val: supervised, epoch 3, alpha 0.5" in capsys.readouterr().out
    wiseft = next(argv for argv in reversed(played.argvs) if argv[3] == "wiseft")
    assert value(wiseft, "--tuned") == "epoch_3.pt"
    assert value(wiseft, "--by") == "val"
    assert wiseft[4].endswith("runs/supervised-0")
    found = json.loads((root / "out" / "choice.json").read_text())
    assert found == {"arm": "supervised", "seed": 0, "epoch": 3, "alpha": 0.5, "by": ["val"]}


def test_the_table_has_start_model_arms_and_chosen_model(command, root, played, capsys):
    played.scores["trusted", 2, "val"] = 0.6
    played.scores["start", 0, "val"], played.scores["chosen", 0, "val"] = 0.3, 0.61
    played.scores["chosen", 0, "t"] = 0.7
    assert cli.main([*command, "--test", f"t={root / 't'}"]) == 0
    said = capsys.readouterr().out
    table = (root / "out" / "table.md").read_text()
    assert table in said
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:4]]
        for cells in (line.split("|") for line in table.splitlines())
        if len(cells) > 4
    }
    assert rows["start model"] == ["50.0", "30.0"]
    assert rows["supervised, epoch 1"] == ["50.0", "50.0"]
    assert rows["trusted recipe, epoch 2"] == ["50.0", "60.0"]
    assert rows["chosen: trusted recipe, epoch 2, alpha 0.5"] == ["70.0", "61.0"]
    assert (root / "out" / "report.png").read_bytes()[:4] == b"\x89PNG"
    page = (root / "out" / "report.html").read_text()
    assert "sclip wiseft" in page  # among the commands
    assert "chosen: trusted recipe, epoch 2" in page
    assert "The choice knows of retrieval only." in said
    assert f"model: {root / 'out' / 'model'}" in said


@pytest.mark.parametrize(
    ("alpha", "exported", "told"),
    [(0.0, "--weights", "fine-tuning has not made it better"), (0.7, "--weights", ""), (1.0, "--pretrained", "")],
)
def test_what_is_exported_follows_from_the_chosen_point(command, played, capsys, alpha, exported, told):
    played.alpha = alpha
    assert cli.main([*command, "--license", "mit"]) == 0
    export = played.argvs[names(played.argvs).index("export")]
    assert exported in export
    assert value(export, "--license") == "mit"
    assert told in capsys.readouterr().out


def test_where_the_check_up_doubts_the_keywords_an_arm_has_none(command, played, capsys):
    played.verdict = "supervised"
    assert cli.main(command) == 0
    assert "The check-up doubts the keywords, so there is a third arm" in capsys.readouterr().out
    train = next(argv for argv in played.argvs if "trusted-captions-0" in argv)
    assert value(train, "--sclip-recipe") == "trusted"
    assert "--keywords" not in train
    assert names(played.argvs).count("eval") == 3 + 5


def test_named_arms_are_what_is_trained(command, root, played):
    assert cli.main([*command, "--arms", "trusted-captions,supervised"]) == 0
    assert names(played.argvs)[:4] == ["checkup", "supervised-0", "eval", "trusted-captions-0"]  # no keywords
    assert "--keywords" not in played.argvs[0]
    played.argvs.clear()
    (root / "words.txt").write_text("tree\nriver\n")
    arms = ["--arms", "published,pair-keywords", "--keywords", str(root / "words.txt")]
    assert cli.main([*command, "--out", str(root / "other"), *arms]) == 0
    assert names(played.argvs)[:5] == ["checkup", "pair-keywords-0", "eval", "published-0", "eval"]
    pairs, published = played.argvs[1], played.argvs[3]
    assert value(pairs, "--sclip-pair-keyword-weight") == "1"
    assert "--unpaired-data" not in pairs
    assert "--sclip-recipe" not in published
    assert value(published, "--keywords") == str(root / "words.txt")


def test_what_is_done_is_kept_and_an_interrupted_training_goes_on(command, root, played, capsys, monkeypatch):
    monkeypatch.chdir(root)
    played.interrupted = "train-trusted-0"
    assert cli.main(command) == 1
    assert "interrupted; run the same command again to continue" in capsys.readouterr().err
    played.interrupted = ""
    played.argvs.clear()
    (root / "out" / "runs" / "trusted-0" / "mark").write_text("of the first call")
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert said.count("(done before; kept: its output is in ") == 5
    assert "epoch_3.pt: is cut off" in said
    assert "(goes on after epoch 2)" in said
    assert (root / "out" / "runs" / "trusted-0" / "mark").exists()  # the folder was not made anew
    assert names(played.argvs)[:2] == ["trusted-0", "eval"]
    assert value(played.argvs[0], "--resume") == "latest"
    played.argvs.clear()
    (root / "another file").write_text("in the current folder")
    assert cli.main(command) == 0
    assert played.argvs == []


def test_other_flags_train_anew(command, root, played):
    played.interrupted = "train-trusted-0"
    assert cli.main(command) == 1
    mark = root / "out" / "runs" / "trusted-0" / "mark"
    mark.write_text("of the first call")
    played.interrupted = ""
    assert cli.main([*command, "--lr", "1e-4"]) == 0
    assert not mark.exists()
    assert value(next(argv for argv in reversed(played.argvs) if "trusted-0" in argv), "--lr") == "0.0001"


def test_a_command_that_fails_is_told_in_one_line(command, root, played, capsys):
    played.fails = "train-trusted-0"
    assert cli.main(command) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert f"ended with status 1: no luck; see {root / 'out' / 'logs' / 'train-trusted-0.log'}" in err
    assert not (root / "out" / "model").exists()


def test_no_finite_measure_is_told(command, played, capsys):
    for arm in ("supervised", "trusted"):
        for epoch in range(1, 5):
            played.scores[arm, epoch, "val"] = float("nan")
    assert cli.main(command) == 1
    assert "no saved epoch measures a finite number on the validation sets; try a lower --lr" in capsys.readouterr().err


def test_a_damaged_file_of_figures_is_named(command, root, played, capsys):
    assert cli.main(command) == 0
    for name in ("checkup", "wiseft"):
        (root / "out" / f"{name}.json").write_text("[]")
        assert cli.main(command) == 1
        assert f"{name}.json: damaged; remove it, and run the same command again" in capsys.readouterr().err
        (root / "out" / f"{name}.json").unlink()
        assert cli.main(command) == 0
        capsys.readouterr()


def test_a_second_process_in_one_folder_is_refused(command, root, played, capsys):
    import fcntl

    (root / "out").mkdir()
    with open(root / "out" / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cli.main(command) == 2
    assert "another process is at work there" in capsys.readouterr().err
    assert played.argvs == []


@pytest.mark.parametrize(
    ("name", "ran"),
    [("proposals.txt", 0), ("keywords.txt", 0), ("model", 3), ("wiseft.json", 3), ("runs/trusted-0", 3)],
)
def test_what_somebody_else_wrote_is_refused_before_training(command, root, played, capsys, name, ran):
    mine = root / "out" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("by hand")
    assert cli.main(command) == 2
    assert f"{mine}: this study did not make it" in capsys.readouterr().err
    assert mine.read_text() == "by hand"
    assert len(played.argvs) == ran


def test_an_export_replaces_its_own_files_only(command, root, played):
    assert cli.main(command) == 0
    (root / "out" / "model" / "README.md").write_text("a card of the user's own")
    played.alpha = 0.9
    assert cli.main([*command, "--license", "mit"]) == 0
    assert "--overwrite" in played.argvs[-2]
    assert (root / "out" / "model" / "README.md").exists()
