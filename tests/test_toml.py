"""The one reader of TOML files: what it reads, and how it refuses."""

import pytest

from sclip_plugin.errors import DataError
from sclip_plugin.toml import load_toml


def test_reads_tables_whatever_the_line_ends_and_a_mark_at_the_start(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbfname = 'a'\r\n[arms]\r\nhard = ['--x', '1']\r\n")
    assert load_toml(path) == {"name": "a", "arms": {"hard": ["--x", "1"]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = 'a'\narms = [\nbad", r"a\.toml: not valid TOML: .*line 3"),
        (b"name = 'a'\nname = 'b'\n", r"a\.toml: not valid TOML: .*line 2"),
        (b"name = '\xff'", r"a\.toml: not UTF-8 text .* at byte 8"),
        (None, r"a\.toml: No such file"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "a.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_toml(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"x = {'[' * 100_000}", "nested too deeply"),
        (f"x{'.a' * 3000} = 1", "nested too deeply"),
        (f"x = {'{a=' * 60}1{'}' * 60}", "nested too deeply"),
        (f"x = {'1' * 5000}", "Exceeds the limit"),
        ("x = 1979-99-99", "line 1"),
        ("x = 'a\x00b'", "line 1"),
    ],
)
def test_what_python_cannot_hold_is_refused(tmp_path, content, message):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(DataError, match=rf"a\.toml: not valid TOML: .*{message}"):
        load_toml(tmp_path / "a.toml")
