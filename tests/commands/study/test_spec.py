"""Study files: what they may say, how they are merged and refused; the shipped ones."""

import pytest

from sclip_plugin.commands.study import spec
from sclip_plugin.errors import DataError

SMALL = """
baseline = "a"
[variables]
later = "$early/x"
early = "$out/data"
options = "--top 5"
[[prepare]]
run = "sclip keywords '$later' --out '$out/k.txt' $options"
makes = ["$out/k.txt"]
[train]
model = "m"
train-data = "$early"
lr = 1e-3
save-most-recent = true
[train-sclip]
keywords = "$out/k.txt"
[arms.a]
[arms.b]
title = "bee"
loss = "sclip"
save-most-recent = false
unpaired-share = 0.5
[evaluate]
zeroshot = { s = "$out/s" }
"""


def load(tmp_path, text=SMALL, out="o", **options):
    (tmp_path / "s.toml").write_text(text)
    return spec.load(tmp_path / "s.toml", tmp_path / out, **options)


def test_flags_are_the_common_ones_those_of_sclip_and_the_arms_own(tmp_path):
    study = load(tmp_path)
    first, second = study.arms.values()
    assert first.flags == {"model": "m", "train-data": f"{tmp_path}/o/data", "lr": 1e-3, "save-most-recent": True}
    assert second.flags == {
        "model": "m",
        "train-data": f"{tmp_path}/o/data",
        "lr": 1e-3,
        "keywords": f"{tmp_path}/o/k.txt",
        "loss": "sclip",
    }
    assert (second.title, second.unpaired_share, second.stock, first.stock) == ("bee", 0.5, False, True)


def test_commands_keep_folders_with_blanks_as_one_word(tmp_path):
    study = load(tmp_path, out="my out", variables={"early": "a b", "options": "--top 7"})
    out = f"{tmp_path}/my out"
    assert study.prepare[0].command == ("sclip", "keywords", "a b/x", "--out", f"{out}/k.txt", "--top", "7")
    assert [str(path) for path in study.prepare[0].makes] == [f"{out}/k.txt"]
    assert study.arms["a"].flags["train-data"] == "a b"


def test_a_base_gives_data_and_the_study_its_arms(tmp_path):
    (tmp_path / "below.toml").write_text(SMALL)
    own = '[train]\nlr = 0.5\n[[prepare]]\nrun = "sclip doctor"\n[arms.c]\nwd = 1\n'
    text = f'base = "below.toml"\nbaseline = "c"\n{own}'
    study = load(tmp_path, text)
    assert list(study.arms) == ["c"]
    assert study.arms["c"].flags | {"train-data": ""} == {
        "model": "m",
        "train-data": "",
        "lr": 0.5,
        "save-most-recent": True,
        "wd": 1,
    }
    assert [one.command[1] for one in study.prepare] == ["keywords", "doctor"]
    (tmp_path / "other.toml").write_text(SMALL.replace('model = "m"', 'model = "other"'))
    assert load(tmp_path, text, base=str(tmp_path / "other.toml")).arms["c"].flags["model"] == "other"
    assert load(tmp_path, text, seeds=[7], steps=5).arms["c"].steps == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[arms.a]\n[arms.b]", "[arms.start]\n[arms.b]", "arms.start: a name is letters"),
        ('baseline = "a"', 'baseline = "z"', "'z' is not one of the arms a, b"),
        ('baseline = "a"', 'compare = [["a", "y"]]', "'y' is not one of the arms"),
        ('baseline = "a"', "compare = [3]", r"compare: must be pairs of arms, got \[3\]"),
        ('baseline = "a"', "seeds = [[1]]", "seeds: must be different whole numbers"),
        ('makes = ["$out/k.txt"]', 'makes = "k.txt"', "prepare: makes: must be a list of texts, got 'k.txt'"),
        ("lr = 1e-3", "lr = 1979-05-27", "arms.a: lr must be a flag's name without dashes and a plain value"),
        ('baseline = "a"', 'basline = "a"', "unknown key 'basline'; there are title"),
        ('baseline = "a"', "seeds = [1, 1]", "seeds: must be different whole numbers"),
        ('baseline = "a"', "seeds = [-1]", "seeds: must be different whole numbers"),
        ('baseline = "a"', "processes = 0", "processes: must be a whole number of at least 1, got 0"),
        ('baseline = "a"', "processes = true", "processes: must be a whole number, got True"),
        ('baseline = "a"', "arms = 3", "arms"),
        ("lr = 1e-3", "seed = 3", "arms.a: seed is set by the study itself"),
        ("lr = 1e-3", '"--lr" = 3', "--lr must be a flag's name without dashes"),
        ('model = "m"', "", r"arms.a: no model, neither there nor in \[train\]"),
        ('"$early/x"', '"$nowhere/x"', r"variables: later: no variable \$nowhere"),
        ('"$early/x"', '"$5"', r"variables: later: a lone \$"),
        ('"$out/data"', '"$later"', "variables: .* use each other"),
        ('loss = "sclip"', "", 'unpaired-share does nothing without loss = "sclip"'),
        ("unpaired-share = 0.5", "unpaired-share = 0", "unpaired-share: must be above 0 and at most 1, got 0"),
        ("'$out/k.txt' $options", "'$out/k.txt", "prepare: No closing quotation in"),
        ('run = "sclip', 'run = "rm', "a command begins with `sclip` or `python`"),
        ('zeroshot = { s = "$out/s" }', 'zeroshot = { s = "x" }\nknn = 3', "knn must be a table of names and folders"),
        (
            'zeroshot = { s = "$out/s" }',
            'zeroshot = { s = "x" }\nshots = 4',
            "shots does nothing without knn or linear-pr",
        ),
        (
            'zeroshot = { s = "$out/s" }',
            'zeroshot = { s = "x" }\nknn = { s = "x" }\nshots = [0]',
            "shots must be different whole numbers of at least 1",
        ),
        ('zeroshot = { s = "$out/s" }', "", "neither zeroshot nor retrieval names a set"),
        ('zeroshot = { s = "$out/s" }', 'zeroshot = "x"', "zeroshot must be a table"),
        ('zeroshot = { s = "$out/s" }', 'zeroshot = { s = "x" }\njson = "y"', "json is set by the study itself"),
        (
            'zeroshot = { s = "$out/s" }',
            'zeroshot = { s = "x" }\nprecision = "amp"',
            "precision is set by the study itself",
        ),
    ],
)
def test_refusals_name_file_and_key(tmp_path, old, new, message):
    assert old in SMALL
    text = SMALL.replace(old, new)
    text = text if new != "arms = 3" else "arms = 3\n"
    with pytest.raises(DataError, match=message) as error:
        load(tmp_path, text)
    assert "s.toml: " in str(error.value)


def test_a_base_that_stands_on_itself_and_an_unknown_study(tmp_path):
    with pytest.raises(DataError, match="base: it stands on itself"):
        load(tmp_path, 'base = "s.toml"\n')
    with pytest.raises(
        DataError, match="no study 'nowhere': neither a file nor one of batch-size, clip-art, demo, emoji"
    ):
        load(tmp_path, 'base = "nowhere"\n')


def test_a_study_switches_transfer_on(tmp_path):
    own = '[arms.c]\n[evaluate]\nlinear-probe = { s = "$out/s" }\nregions = { p = "$out/p" }\nshots = [1, 4]\n'
    (tmp_path / "below.toml").write_text(SMALL)
    found = load(tmp_path, f'base = "below.toml"\nbaseline = "c"\n{own}').evaluation
    assert found.zeroshot == {"s": f"{tmp_path}/o/s"}, "the base's sets stay"
    assert found.transfer == {"linear-probe": {"s": f"{tmp_path}/o/s"}, "regions": {"p": f"{tmp_path}/o/p"}}
    assert found.shots == (1, 4)
    assert "shots" not in found.flags


@pytest.mark.parametrize("name", spec.shipped())
def test_shipped_studies_load(name, tmp_path):
    study = spec.load(spec.shipped()[name], tmp_path)
    assert len(study.arms) > 1
    assert study.baseline in study.arms
    assert study.title != name
    for arm in study.arms.values():
        assert arm.flags["warmup"] == 10  # the paper's
        assert arm.flags.get("loss") == "sclip" or not any(
            flag.startswith(("sclip", "keyword", "unpaired")) for flag in arm.flags
        )


@pytest.mark.parametrize("name", spec.shipped())
def test_openais_weights_go_with_the_model_that_was_trained_with_quickgelu(name, tmp_path):
    """open_clip only warns: under the plain name it builds another activation than these weights were trained with."""
    for arm in spec.load(spec.shipped()[name], tmp_path).arms.values():
        assert arm.flags.get("pretrained") != "openai" or str(arm.flags["model"]).endswith("-quickgelu")


BASES = ("emoji", "icons", "own-data", "clip-art")


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("name", [name for name in spec.shipped() if not name.startswith("paper")])
def test_every_study_runs_on_every_base(name, base, tmp_path):
    """Whatever variables an arm or a command uses, each base defines them."""
    if base == "own-data" and name in ("pairs", "keywords"):
        pytest.skip("own data hide no captions, and name no classes")
    study = spec.load(spec.shipped()[name], tmp_path, base=str(spec.shipped()[base]) if name != base else None)
    assert study.evaluation.retrieval
    for one in study.prepare:
        assert one.command[0] in ("sclip", "python")


def test_some_arms_alone(tmp_path):
    study = spec.load(spec.locate("first-experiments"), tmp_path)
    some = study.only(["sclip", "supervised", "caption-only"])
    assert list(some.arms) == [name for name in study.arms if name in ("supervised", "caption-only", "sclip")]
    assert some.baseline == "supervised"
    assert some.compare == (("sclip", "caption-only"),)
    assert study.only(["sclip"]).baseline is None
    with pytest.raises(DataError, match="no arm 'none'; there are supervised, "):
        study.only(["sclip", "none"])
