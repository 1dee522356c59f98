"""`tools/debian.py`: packages by apt, with programs that stand for apt's and dpkg's."""

import pytest

from sclip_plugin.errors import DataError, UsageError
from tools import debian

APT = """#!/bin/sh
test "$1 $2" = "download owls=1:2.0" || exit 9
echo feathers > owls_1%3a2.0_all.deb
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr" && cp "$2" "$3/usr/owl"
"""


def programs(folder, monkeypatch, **texts):
    folder.mkdir()
    for name, text in texts.items():
        program = folder / name.replace("_", "-")
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_package_is_fetched_once(tmp_path, monkeypatch):
    programs(tmp_path / "bin", monkeypatch, apt_get=APT, dpkg_deb=DPKG)
    found = debian.fetch("owls", "1:2.0", tmp_path / "kept")
    assert found == tmp_path / "kept" / "owls-1-2.0"
    assert (found / "usr" / "owl").read_text() == "feathers\n"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["owls-1-2.0"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert debian.fetch("owls", "1:2.0", tmp_path / "kept") == found


def test_without_apt_the_package_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="^apt-get is not on this machine: owls 1:2.0 is fetched on Debian or Ubuntu$"):
        debian.fetch("owls", "1:2.0", tmp_path / "kept")


def test_what_apt_says_is_passed_on(tmp_path, monkeypatch):
    failing = "#!/bin/sh\necho 'E: Version was not found' >&2\nexit 100\n"
    programs(tmp_path / "bin", monkeypatch, apt_get=failing, dpkg_deb=DPKG)
    with pytest.raises(DataError, match="owls 3: apt-get download: E: Version was not found"):
        debian.fetch("owls", "3", tmp_path / "kept")
    assert not (tmp_path / "kept" / "owls-3").exists()
