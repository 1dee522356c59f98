"""`sclip inspect` on real shards with a tiny model."""

from sclip_plugin import cli
from tests.evaluation.sets import model_with_weights


def test_inspect_command(shards, tmp_path, capsys):
    name = model_with_weights(tmp_path / "model")
    words = ["--train-data", str(shards / "paired"), "--unpaired-data", str(shards / "unpaired"), "--device", "cpu"]
    common = ["inspect", "--model", name, *words, "--keywords", str(shards / "keywords.txt"), "--pairs", "16"]
    for suffix in ("png", "html"):
        assert cli.main([*common, "--out", str(tmp_path / f"panel.{suffix}")]) == 0
    assert (tmp_path / "panel.png").read_bytes().startswith(b"\x89PNG")
    assert "images without candidate keyword" in capsys.readouterr().out
    assert cli.main([*common, "--out", str(tmp_path / "panel.gif")]) == 2
    assert cli.main([*common, "--out", "x.png", "--images", "0"]) == 2
    assert cli.main([*common, "--out", "x.png", "--keyword-template", "a"]) == 2
    errors = capsys.readouterr().err
    for message in ("must end in .png or .html", "--images must be at least 1, got 0", "must hold {} once, got 'a'"):
        assert message in errors
    assert cli.main([*common, "--out", "x.png", "--sclip-pseudo-label", "hard-image", "--sclip-epsilon", "0.1"]) == 2
    assert "--sclip-epsilon does nothing with --sclip-pseudo-label hard-image" in capsys.readouterr().err
