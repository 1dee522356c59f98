"""A study removes what it made itself, and nothing else."""

import dataclasses
import os
from pathlib import Path

import pytest

from sclip_plugin import cli
from sclip_plugin.commands.study.folder import Folder, StepFailed
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.errors import UsageError


def step(tmp_path: Path, text: str, *products: Path) -> Step:
    (tmp_path / "job.py").write_text(text)
    return Step("job", ("python", str(tmp_path / "job.py")), products)


def write(product: Path, text: str = "x") -> str:
    return f"open({str(product)!r}, 'w').write({text!r})\n"


def test_a_study_does_not_remove_what_it_did_not_make(file, tmp_path, capsys):
    """The issue's own case: `makes = ["precious"]`."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    first = '[[prepare]]\nrun = "sclip doctor"\nmakes = ["FIRST"]\n'.replace("FIRST", str(tmp_path / "first"))
    file.write_text(f'{file.read_text()}\n{first}[[prepare]]\nrun = "sclip doctor"\nmakes = ["{precious}"]\n')
    assert cli.main(["study", str(file), "--out", str(tmp_path / "o"), "--trust"]) == 2
    said = capsys.readouterr()
    assert f"{precious}: this study did not make it" in said.err
    assert len(said.err.splitlines()) == 1
    assert (precious / "thesis.txt").read_text() == "years of work"
    assert not (tmp_path / "o" / "logs").exists()  # nothing ran


@pytest.mark.parametrize("kind", ["file", "folder", "link", "dangling link"])
def test_nothing_is_removed_where_one_of_the_products_is_not_the_steps(tmp_path, kind):
    own, precious, folder = tmp_path / "own", tmp_path / "precious", Folder(tmp_path / "o")
    made = step(tmp_path, write(own), own)
    folder.run(made)
    (tmp_path / "target").write_text("kept")
    if kind == "file":
        precious.write_text("kept")
    elif kind == "folder":
        precious.mkdir()
    else:
        os.symlink(tmp_path / ("target" if kind == "link" else "nowhere"), precious)
    with pytest.raises(UsageError, match="precious: this study did not make it"):
        folder.run(dataclasses.replace(made, products=(own, precious)))
    assert own.exists()
    assert os.path.lexists(precious)
    assert folder.marker(made).exists()


def test_a_product_that_somebody_wrote_after_the_command_failed_is_kept(tmp_path):
    product, folder = tmp_path / "k.txt", Folder(tmp_path / "o")
    failing = step(tmp_path, "raise SystemExit(1)", product)
    with pytest.raises(StepFailed):
        folder.run(failing)
    product.write_text("by hand")
    with pytest.raises(UsageError, match=r"k\.txt: this study did not make it"):
        folder.run(failing)
    assert product.read_text() == "by hand"


def test_a_product_that_somebody_changed_is_kept(tmp_path):
    product, folder = tmp_path / "k.txt", Folder(tmp_path / "o")
    made = step(tmp_path, write(product), product)
    folder.run(made)
    product.write_text("x, and more by hand")
    with pytest.raises(UsageError, match=r"k\.txt: it has been changed since this study made it"):
        folder.run(made)
    assert product.read_text() == "x, and more by hand"


def test_a_step_that_was_killed_or_failed_half_way_starts_anew(tmp_path):
    product, folder = tmp_path / "half", Folder(tmp_path / "o")
    failing = step(tmp_path, f"{write(product)}raise SystemExit(1)", product)
    with pytest.raises(StepFailed):
        folder.run(failing)
    made = step(tmp_path, write(product, "whole"), product)
    folder.run(made)  # what the command that failed left is the study's own
    assert product.read_text() == "whole"

    folder.forget(made)
    folder.products.begin(made)  # killed with SIGKILL while the command ran: no word of how it ended
    product.mkdir()
    (product / "part").write_text("half")
    folder.run(made)
    assert product.read_text() == "whole"


def test_two_studies_do_not_remove_each_others_products(tmp_path):
    shared = tmp_path / "shared"
    made = step(tmp_path, f"import os; os.mkdir({str(shared)!r})", shared)
    Folder(tmp_path / "a").run(made)
    with pytest.raises(UsageError, match="shared: this study did not make it"):
        Folder(tmp_path / "b").run(made)
    assert shared.is_dir()
    Folder(tmp_path / "a").run(made)


def test_the_studys_folder_may_be_moved(tmp_path):
    Folder(tmp_path / "a").run(step(tmp_path, write(tmp_path / "a" / "p"), tmp_path / "a" / "p"))
    (tmp_path / "a").rename(tmp_path / "b")
    Folder(tmp_path / "b").run(step(tmp_path, write(tmp_path / "b" / "p", "new"), tmp_path / "b" / "p"))
    assert (tmp_path / "b" / "p").read_text() == "new"


def test_a_linked_product_is_removed_as_a_link(tmp_path):
    product, target, folder = tmp_path / "p", tmp_path / "t", Folder(tmp_path / "o")
    target.mkdir()
    (target / "kept").write_text("")
    made = step(tmp_path, f"import os; os.symlink({str(target)!r}, {str(product)!r})", product)
    folder.run(made)
    folder.run(made)
    assert (target / "kept").exists()


def test_a_damaged_record_removes_nothing(tmp_path):
    product, folder = tmp_path / "p", Folder(tmp_path / "o")
    made = step(tmp_path, write(product), product)
    folder.run(made)
    (tmp_path / "o" / "begun" / "job.json").write_text("[" * 100_000)
    with pytest.raises(UsageError, match=r"job\.json: damaged"):
        folder.run(made)
    assert product.exists()
