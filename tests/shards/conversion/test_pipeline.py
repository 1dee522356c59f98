"""A conversion can be called from Python: the library takes values and knows of no command line."""

import pytest

from sclip_plugin.errors import DataError
from sclip_plugin.shards.conversion.build import Target
from sclip_plugin.shards.conversion.pipeline import Conversion, convert, resplit
from sclip_plugin.shards.conversion.sources import SourceSelection
from sclip_plugin.shards.conversion.split import Ratios
from tests.helpers import conversion as command_line
from tests.helpers.conversion import members, source, tree


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return source(tmp_path_factory.mktemp("source"))


def conversion(root, out) -> Conversion:
    selection = SourceSelection((str(root / "captions.csv"),), images=str(root / "photos"))
    return Conversion(selection, Target(out, "captions"), Ratios(0.1, 0.5, seed=0))


def test_converting_gives_the_shards_of_the_command(root, tmp_path):
    manifest = convert(conversion(root, tmp_path / "a"))
    assert command_line.convert(root, tmp_path / "b", "--paired-ratio", 0.5) == 0
    for part in ("paired", "unpaired", "val/test"):
        assert members(tmp_path / "a" / part) == members(tmp_path / "b" / part)
    assert manifest["counts"] == command_line.manifest(tmp_path / "b")["counts"]


def test_splitting_again_gives_the_shards_of_the_command(root, tmp_path):
    convert(conversion(root, tmp_path / "a"))
    resplit(str(tmp_path / "a"), Target(tmp_path / "b", "a"), Ratios(0, 0.2, seed=0, held_out=("val",)))
    command_line.main(["split", f"{tmp_path}/a", "--out", f"{tmp_path}/c", "--paired-ratio", "0.2"])
    for part in ("paired", "unpaired", "val"):
        assert tree(tmp_path / "b" / part) == tree(tmp_path / "c" / part)


def test_a_failure_is_an_exception(root, tmp_path):
    convert(conversion(root, tmp_path / "a"))
    other = Conversion(
        SourceSelection((str(root / "photos"),)), Target(tmp_path / "a", "photos"), Ratios(0.1, 1, seed=1)
    )
    with pytest.raises(DataError, match="was made with other options or input"):
        convert(other)
