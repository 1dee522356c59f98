"""The patch files themselves: four changes, each with its reason, that fit in one place and by every tool."""

import re
import shutil
import subprocess

import pytest

from sclip_plugin.patches import releases
from tests.helpers.hosts import RELEASE, TOUCHED, contents, copy_host, needs_patch, patch

pytestmark = needs_patch


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {path: releases.sha256(files[path]) for path in TOUCHED}


def sections(release) -> list[str]:
    """The changes of a patch file: a title, a reason, a diff."""
    return re.split(r"^(?=Change \d: )", release.path.read_text(), flags=re.M)[1:]


def hunks(diff: str):
    """(path, lines before, lines after) of each hunk, counted by its header."""
    path = None
    lines = iter(diff.splitlines(keepends=True))
    for line in lines:
        if line.startswith("+++ b/"):
            path = line[6:].strip()
        if header := re.match(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@", line):
            before, after = [], []
            wanted = [int(number or 1) for number in header.groups()]
            while [len(before), len(after)] != wanted:
                line = next(lines)
                before += [line[1:]] * (line[0] in " -")
                after += [line[1:]] * (line[0] in " +")
            yield path, before, after


@pytest.mark.parametrize("release", releases.releases(), ids=lambda release: release.patch)
def test_four_changes_with_a_reason_each(release):
    titles = [section.splitlines()[0] for section in sections(release)]
    assert [title.split(":")[0] for title in titles] == ["Change 1", "Change 2", "Change 3", "Change 4"]
    for section in sections(release):
        reason = section.split("diff --git")[0].splitlines()[1:]
        assert len(" ".join(reason)) > 80
    for change_ in sections(release)[:3]:
        assert len(list(hunks(change_))) == 1


def test_each_hunk_fits_in_one_place_only(tmp_path):
    """The context is one line: enough, since no hunk can land elsewhere."""
    files = {path: data.decode() for path, data in contents(copy_host(tmp_path)).items()}
    for section in sections(RELEASE):
        for path, before, after in hunks(section):
            if not before:
                files[path] = "".join(after)
                continue
            assert ("\n" + files[path]).count("\n" + "".join(before)) == 1, (path, before)
            files[path] = ("\n" + files[path]).replace("\n" + "".join(before), "\n" + "".join(after))[1:]
    assert digests({path: text.encode() for path, text in files.items()}) == RELEASE.patched


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_each_change_is_a_commit_of_its_own_in_a_source_tree(tmp_path):
    """The way that patches/README.md shows for a merge request."""
    copy_host(tmp_path / "src")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run("git init -q && git add -A", shell=True, cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "stock"], cwd=tmp_path, check=True)
    for section in sections(RELEASE):
        apply = ["git", "apply", "--directory=src", "--index"]
        subprocess.run(apply, input=section, text=True, cwd=tmp_path, check=True)
        subprocess.run([*git, "commit", "-qm", section.split("diff --git")[0]], cwd=tmp_path, check=True)
    assert digests(contents(tmp_path / "src")) == RELEASE.patched


@pytest.mark.skipif(not shutil.which("patch"), reason="no patch program here")
def test_gnu_patch_gives_the_same_files(tmp_path):
    host = copy_host(tmp_path)
    with open(RELEASE.path) as diff:
        subprocess.run(["patch", "-p1", "-s", "--fuzz=0"], stdin=diff, cwd=host, check=True)
    assert digests(contents(host)) == RELEASE.patched
    assert patch("status", host) == 0
    assert patch("revert", host) == 0
