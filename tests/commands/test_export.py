"""`sclip export`: what comes out loads in plain open_clip, gives the same numbers, and tells where it is from."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import huggingface_hub
import open_clip
import pytest
import torch
import yaml

from sclip_plugin.cli import main
from sclip_plugin.commands.export import onnx_towers
from sclip_plugin.commands.export.facts import parameters
from sclip_plugin.commands.export.staging import ONNX_FILES
from sclip_plugin.evaluation.models import ModelOptions, load_model
from sclip_plugin.evaluation.names import RECALLS
from tests.evaluation.sets import model_with_weights
from tests.helpers.conversion import convert, source
from tests.helpers.sets import write_retrieval_set
from tests.helpers.training import run_training, train_arguments

RECORDED = """accum_freq: 1
batch_size: 8
epochs: 2
force_context_length: None
force_custom_text: False
force_image_size: None
force_quick_gelu: False
image_interpolation: None
image_mean: None
image_resize_mode: None
image_std: None
keywords: {root}/keywords.txt
log_path: {root}/logs/run/out.log
loss: sclip
lr: 0.001
model: {model}
name: run
precision: fp32
pretrained: {root}/start.pt
siglip: False
train_data: {root}/shards/paired
unpaired_data: {root}/shards/unpaired/{{000000..000001}}.tar
val_data: {root}/shards/val
wandb_notes: a note
model: of two lines
workers: 1
world_size: 2
"""


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> Path:
    root = source(tmp_path_factory.mktemp("data"))
    assert convert(root, root / "shards", "--shards", 2) == 0
    return root


@pytest.fixture
def run(shards, tmp_path) -> Path:
    """The folder of a run of two epochs, whose start model was measured too."""
    model = model_with_weights(tmp_path / "start")
    folder = tmp_path / "logs" / "run"
    (folder / "checkpoints").mkdir(parents=True)
    text = RECORDED.format(root=shards, model=model).replace("model: of two lines\n", "")
    (folder / "params.txt").write_text(text)
    for epoch in (1, 2):
        state = load_model(model_with_weights(tmp_path / f"e{epoch}", seed=epoch), None, "cpu", "fp32")[0].state_dict()
        state = {f"module.{name}": tensor for name, tensor in state.items()}
        torch.save({"epoch": epoch, "state_dict": state}, folder / "checkpoints" / f"epoch_{epoch}.pt")
    lines = [
        {**dict.fromkeys(RECALLS, 0.1 * (epoch + 1)), "clip_val_loss": 3.5 - epoch, "epoch": epoch}
        for epoch in range(3)
    ]
    lines[2]["things/acc1"] = 0.875
    (folder / "checkpoints" / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def export(*words) -> int:
    return main(["export", *map(str, words)])


def change(run: Path, name: str, value: str) -> None:
    """Give an argument of a recorded run another value."""
    text = (run / "params.txt").read_text()
    (run / "params.txt").write_text(re.sub(f"(?m)^{name}: .*$", f"{name}: {value}", text))


def header(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])


def features(model, preprocess, tokenizer) -> list[torch.Tensor]:
    from PIL import Image

    picture = Image.linear_gradient("L").convert("RGB")
    with torch.inference_mode():
        return [model.eval().encode_image(preprocess(picture)[None]), model.encode_text(tokenizer(["a tree"]))]


def plain(folder: Path):
    """(model, transform, tokenizer) as open_clip's own functions give them."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model, preprocess, open_clip.get_tokenizer(f"local-dir:{folder}")


def test_open_clip_loads_the_folder_and_computes_the_same(run, tmp_path, capsys):
    assert export(run, "--out", tmp_path / "out", "--license", "mit") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "open_clip_config.json",
        "open_clip_model.safetensors",
    ]
    trained = load_model(f"local-dir:{tmp_path / 'start'}", str(run / "checkpoints" / "epoch_2.pt"), "cpu", "fp32")
    for mine, theirs in zip(features(*plain(tmp_path / "out")), features(*trained)):
        assert torch.equal(mine, theirs)
    assert "-> " in capsys.readouterr().out
    val = f"val={write_retrieval_set(tmp_path / 'val', 9)}"
    for words in ([run], ["--model", f"local-dir:{tmp_path / 'out'}"]):
        assert main(["eval", *map(str, words), "--retrieval", val, "--device", "cpu"]) == 0
    first, second = re.findall(r"(?m)^val .*$", capsys.readouterr().out)
    assert first == second


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    for name in ("a/m", "b/m"):
        assert export(run, "--out", tmp_path / name, "--license", "mit") == 0
    for path in (tmp_path / "a" / "m").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "m" / path.name).read_bytes()


def test_what_the_run_forced_stands_in_the_configuration(run, tmp_path):
    change(run, "force_quick_gelu", "True")
    change(run, "force_context_length", "16")
    change(run, "image_mean", "[0.5, 0.25, 0.125]")
    change(run, "image_resize_mode", "squash")
    assert export(run, "--out", tmp_path / "out") == 0
    config = json.loads((tmp_path / "out" / "open_clip_config.json").read_text())
    assert config["model_cfg"]["quick_gelu"] is True
    assert (config["preprocess_cfg"]["mean"], config["preprocess_cfg"]["resize_mode"]) == ([0.5, 0.25, 0.125], "squash")
    options = ModelOptions(quick_gelu=True, mean=(0.5, 0.25, 0.125), resize_mode="squash")
    start, weights = f"local-dir:{tmp_path / 'start'}", str(run / "checkpoints" / "epoch_2.pt")
    trained = load_model(start, weights, "cpu", "fp32", options=options)
    assert all(torch.equal(*pair) for pair in zip(features(*plain(tmp_path / "out")), features(*trained)))
    other = load_model(start, weights, "cpu", "fp32")
    assert not torch.equal(features(*plain(tmp_path / "out"))[1], features(*other)[1])


def test_the_card_tells_licence_data_settings_and_both_measures(run, shards, tmp_path):
    assert export(run, "--out", tmp_path / "trees", "--license", "cc-by-4.0") == 0
    text = (tmp_path / "trees" / "README.md").read_text()
    assert header(tmp_path / "trees") == {
        "license": "cc-by-4.0",
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "open_clip", "s-clip"],
    }
    counts = json.loads((shards / "shards" / "manifest.json").read_text())["counts"]
    images, captions = counts["images"]["written"], counts["captions"]["written"]
    assert f"| pairs | {images['paired']} | {captions['paired']} | captions.csv |" in text
    assert f"| images without text | {images['unpaired']} | 0 | captions.csv |" in text
    assert f"| validation | {images['val']} | {captions['val']} | captions.csv |" in text
    assert "| | start model | after epoch 2 |" in text
    assert "| image R@1, % | 10.0 | 30.0 |" in text
    assert "| clip val loss | 3.5 | 1.5 |" in text
    assert "| things/acc1, % | – | 87.5 |" in text
    assert "| `--lr` | 0.001 |" in text
    assert "| `--keywords` | keywords.txt |" in text
    assert "which began as `start.pt`, fine-tuned with S-CLIP" in text
    assert str(shards) not in text  # a folder of this machine is nobody's business
    assert str(tmp_path) not in text


def test_an_earlier_epoch_has_its_own_measures(run, tmp_path):
    assert export(run, "--pretrained", "epoch_1.pt", "--out", tmp_path / "a") == 0
    assert export(run / "checkpoints" / "epoch_1.pt", "--out", tmp_path / "b") == 0
    for name in ("a", "b"):
        text = (tmp_path / name / "README.md").read_text()
        assert "| | start model | after epoch 1 |" in text
        assert "| image R@1, % | 10.0 | 20.0 |" in text
    names = [tmp_path / name / "open_clip_model.safetensors" for name in ("a", "b")]
    assert names[0].read_bytes() == names[1].read_bytes()


def test_other_weights_of_the_runs_model_have_no_measures_of_it(run, tmp_path, capsys):
    other = tmp_path / "e1" / "open_clip_model.safetensors"
    assert export(run, "--weights", other, "--out", tmp_path / "out") == 0
    assert "## Before and after" not in (tmp_path / "out" / "README.md").read_text()
    assert "note: the model card has no measures" in capsys.readouterr().out
    assert torch.equal(features(*plain(tmp_path / "out"))[1], features(*plain(tmp_path / "e1"))[1])


def wiseft_report(path: Path, **changes) -> Path:
    """Figures as `sclip wiseft --json` writes them: the start model measures 0.1, and the chosen one 0.3."""
    points = [
        {"alpha": alpha, "results": [{"dataset": "val", "metrics": {RECALLS[0]: value, "clip_val_loss": 2.5}}]}
        for alpha, value in ((0.0, 0.1), (0.4, 0.3), (1.0, 0.2))
    ]
    path.write_text(json.dumps({"chosen": 0.4, "points": points, **changes}))
    return path


def test_other_weights_come_with_the_measures_of_wiseft(run, tmp_path, capsys):
    other = tmp_path / "e1" / "open_clip_model.safetensors"
    words = ["--weights", other, "--measures", wiseft_report(tmp_path / "w.json")]
    assert export(run, *words, "--out", tmp_path / "out") == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| | start model | this model |" in text
    assert "| val/image R@1, % | 10.0 | 30.0 |" in text
    assert "| val/clip val loss | 2.5 | 2.5 |" in text
    assert "at 0.4, and was chosen on these sets." in text
    assert "has no measures" not in capsys.readouterr().out


@pytest.mark.parametrize("changes", [{"chosen": 0.5}, {"points": [3]}, {"points": None}])
def test_figures_of_something_else_are_refused_before_any_work(run, tmp_path, capsys, monkeypatch, changes):
    monkeypatch.setattr("sclip_plugin.commands.export.load_model", None)
    other, report = tmp_path / "e1" / "open_clip_model.safetensors", wiseft_report(tmp_path / "w.json", **changes)
    assert export(run, "--weights", other, "--measures", report, "--out", tmp_path / "out") == 1
    assert f"--measures {report}: not the figures that sclip wiseft --json writes" in capsys.readouterr().err
    assert export(run, "--weights", other, "--measures", tmp_path / "no", "--out", tmp_path / "out") == 1
    assert f"--measures {tmp_path / 'no'}: No such file" in capsys.readouterr().err


def test_a_checkpoint_without_a_run_needs_its_model(run, tmp_path, capsys):
    file = tmp_path / "e1" / "open_clip_model.safetensors"
    assert export(file, "--out", tmp_path / "out") == 2
    assert "lies in no run's folder" in capsys.readouterr().err
    model = f"local-dir:{tmp_path / 'start'}"
    assert export(file, "--model", model, "--out", tmp_path / "a") == 0
    assert export("--model", model, "--pretrained", file, "--out", tmp_path / "b") == 0
    for name in ("a", "b"):
        text = (tmp_path / name / "README.md").read_text()
        assert "A CLIP model, `local-dir:start`, with the weights `open_clip_model.safetensors`." in text
        assert "## Settings" not in text


def test_what_is_not_known_is_said(run, tmp_path, capsys):
    (run / "checkpoints" / "results.jsonl").write_text('{"epoch": 1}\nbroken\n')
    change(run, "train_data", f"{tmp_path}/gone")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "0.tar").write_bytes(b"")
    change(run, "unpaired_data", f"{tmp_path}/bare")
    assert export(run, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert f"note: the model card does not count the pairs: --train-data: no such shard: {tmp_path}/gone" in said
    assert f"note: the model card does not count the images without text: {tmp_path}/bare: no manifest.json" in said
    assert "results.jsonl: 1 lines are no results" in said
    assert "has no line of epoch 2" in said
    assert "note: the model card names no licence" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--license", "two words"], "--license must be an identifier such as mit"),
        (["--private"], "--private goes with --push"),
        (["--push", "user/name"], "--push must be hf://USER/NAME, got 'user/name'"),
        (["--push", "hf://user"], "--push must be hf://USER/NAME, got 'hf://user'"),
        (["--weights", "w.pt", "--pretrained", "epoch_1.pt"], "--weights and --pretrained exclude each other"),
        (["--measures", "w.json"], "--measures goes with --weights"),
    ],
)
def test_refusals(run, tmp_path, capsys, words, message):
    assert export(run, "--out", tmp_path / "out", *words) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_more_refusals(run, tmp_path, capsys):
    assert export("--out", tmp_path / "out") == 2
    assert "no model: pass RUN" in capsys.readouterr().err
    assert export("--out", tmp_path / "out", "--weights", "w.pt", "--model", "ViT-B-32") == 2
    assert "--weights goes with RUN" in capsys.readouterr().err
    assert export(run / "checkpoints" / "epoch_1.pt", "--pretrained", "epoch_2.pt", "--out", tmp_path / "out") == 2
    assert "is a checkpoint, so that --pretrained has no meaning" in capsys.readouterr().err
    (run / "checkpoints" / "epoch_2.pt").write_bytes(b"x")
    assert export(run, "--out", tmp_path / "out") == 1
    assert "damaged, or holds more than tensors" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_output_folder_is_no_place_of_something_else(run, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    assert export(run, "--out", out, "--overwrite") == 2
    assert "holds something that is no export" in capsys.readouterr().err
    (out / "thesis.tex").unlink()
    assert export(run, "--out", out) == 0
    assert export(run, "--out", out) == 2
    assert "a model is there; choose another folder, or pass --overwrite" in capsys.readouterr().err
    assert export(run, "--out", run / "params.txt") == 2
    assert "is a file" in capsys.readouterr().err


def test_overwriting_replaces_what_is_ours(run, tmp_path, capsys):
    out = tmp_path / "out"
    assert export(run, "--pretrained", "epoch_1.pt", "--out", out) == 0
    (out / "image_tower.onnx").write_text("of the first export")
    (out / "README.md").write_text("mine")
    (out / "picture.png").write_text("mine too")
    before = (out / "open_clip_model.safetensors").read_bytes()
    assert export(run, "--out", out, "--overwrite") == 0
    assert (out / "open_clip_model.safetensors").read_bytes() != before
    assert not (out / "image_tower.onnx").exists()
    assert [(out / name).read_text() for name in ("README.md", "picture.png")] == ["mine", "mine too"]
    assert f"note: {out / 'README.md'} is yours and is kept" in capsys.readouterr().out


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_full_disk_leaves_no_half_model(run, tmp_path, capsys, monkeypatch, at):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"os.{at}", full)
    assert export(run, "--out", tmp_path / "out") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not (tmp_path / "out" / "open_clip_config.json").exists()


def test_a_model_that_the_folder_cannot_describe_is_refused(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "sclip_plugin.commands.export.model_folder.model_config",
        lambda *_: {
            **json.loads((tmp_path / "start" / "open_clip_config.json").read_text())["model_cfg"],
            "quick_gelu": True,
        },
    )
    assert export(run, "--out", tmp_path / "out") == 1
    assert "tower cannot be exported" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_values_of_several_lines_and_odd_names_are_no_arguments(run):
    with open(run / "params.txt", "a") as file:
        file.write("Note: hidden\n")
    assert "Note" not in parameters(run)
    assert parameters(run)["wandb_notes"] == "a note"


# ONNX


@pytest.mark.parametrize("package", onnx_towers.PACKAGES)
def test_missing_packages_are_named(run, tmp_path, capsys, monkeypatch, package):
    for name in onnx_towers.PACKAGES:
        monkeypatch.setitem(sys.modules, name, None if name == package else SimpleNamespace())
    assert export(run, "--out", tmp_path / "out", "--onnx") == 2
    said = capsys.readouterr().err
    assert said == f"sclip export: --onnx needs {package}: pip install 'sclip-plugin[onnx]'\n"
    assert not (tmp_path / "out").exists()


def test_onnx_towers_compute_the_same(run, tmp_path, capsys):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "out"
    assert export(run, "--out", out, "--onnx") == 0
    assert capsys.readouterr().out.count("from torch's features on 3 random inputs") == 2
    model, _, tokenizer = plain(out)
    image = torch.rand(5, 3, 32, 32)
    text = tokenizer(["a tree", "a much longer text about rivers and trees and houses", "x", "y z"])
    with torch.inference_mode():
        expected = {
            "image": (image, model.eval().encode_image(image, normalize=True)),
            "text": (text, model.encode_text(text, normalize=True)),
        }
    for name, (batch, theirs) in expected.items():
        session = onnxruntime.InferenceSession(out / f"{name}_tower.onnx", providers=["CPUExecutionProvider"])
        (mine,) = session.run(["features"], {name: batch.numpy()})
        torch.testing.assert_close(torch.from_numpy(mine), theirs, rtol=0, atol=1e-4)
    assert "`image_tower.onnx` takes `image`" in (out / "README.md").read_text()
    assert export(run, "--out", tmp_path / "again", "--onnx") == 0
    for name in ONNX_FILES:
        assert (out / name).stat().st_size == (tmp_path / "again" / name).stat().st_size


def test_other_numbers_are_refused(run, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(onnx_towers, "TOLERANCE", -1.0)
    assert export(run, "--out", tmp_path / "out", "--onnx") == 1
    assert re.search(r"--onnx: the image tower is \d\.\de-\d\d from torch's numbers", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_a_tower_above_two_gigabytes_is_refused(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(onnx_towers, "check_onnx", lambda: None)
    monkeypatch.setattr("sclip_plugin.commands.export.check_onnx", lambda: None)
    monkeypatch.setattr(onnx_towers, "LARGEST", 1000)
    assert export(run, "--out", tmp_path / "out", "--onnx") == 1
    assert "the image tower has 0.0 GB of weights; a file of this format holds 2 GB" in capsys.readouterr().err


# The Hub


class Hub:
    """A stand-in for huggingface_hub.HfApi that remembers what it was asked."""

    asked: ClassVar[list[tuple]] = []

    def __init__(self, **_):
        pass

    def whoami(self):
        return {"name": "user"}

    def create_repo(self, repo_id, **options):
        self.asked.append(("create", repo_id, options))
        return f"hub/{repo_id}"

    def upload_folder(self, *, folder_path, allow_patterns, **options):
        there = sorted(path.name for path in Path(folder_path).iterdir())
        self.asked.append(("upload", options["repo_id"], allow_patterns, there))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "secret")
    monkeypatch.setattr(Hub, "asked", [])
    return Hub


def test_push_uploads_what_was_written(run, tmp_path, capsys, hub):
    assert export(run, "--out", tmp_path / "out", "--push", "hf://user/trees", "--private") == 0
    create, upload = hub.asked
    assert create == ("create", "user/trees", {"private": True, "repo_type": "model", "exist_ok": True})
    assert upload[1:3] == ("user/trees", ["README.md", "open_clip_config.json", "open_clip_model.safetensors"])
    assert upload[3] == upload[2]  # all of them were there
    text = (tmp_path / "out" / "README.md").read_text()
    assert 'open_clip.get_tokenizer("hf-hub:user/trees")' in text
    assert "# trees\n" in text
    said = capsys.readouterr().out
    assert "-> hub/user/trees" in said
    assert "secret" not in said


def test_push_without_login_or_package_is_refused_before_any_work(run, tmp_path, capsys, hub, monkeypatch):
    words = [run, "--out", tmp_path / "out", "--push", "hf://user/trees"]
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert export(*words) == 2
    assert "--push needs a login: run `hf auth login`, or set HF_TOKEN" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert export(*words) == 2
    assert "--push needs huggingface_hub: pip install 'sclip-plugin[hub]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_the_hub_refuses_is_one_line_and_the_folder_stays(run, tmp_path, capsys, hub, monkeypatch):
    def refuse(*_, **__):
        raise OSError("403 Forbidden\nno right to write there\n")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    assert export(run, "--out", tmp_path / "out", "--push", "hf://user/trees") == 1
    assert capsys.readouterr().err == "sclip export: --push: user/trees: 403 Forbidden no right to write there\n"
    assert (tmp_path / "out" / "open_clip_config.json").exists()
    monkeypatch.setattr(Hub, "whoami", refuse)
    assert export(run, "--out", tmp_path / "other", "--push", "hf://user/trees") == 1
    assert "--push: the Hub: 403 Forbidden" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_a_real_run_is_exported_with_its_data_and_measures(shards, tmp_path):
    start = model_with_weights(tmp_path / "start")
    (tmp_path / "keywords.txt").write_text("tree\nred\n")
    flags = {"keywords": str(tmp_path / "keywords.txt"), "val_data": str(shards / "shards" / "val"), "epochs": 2}
    done = run_training(train_arguments(shards / "shards", start, tmp_path / "logs", **flags))
    assert done.returncode == 0, done.stdout[-2000:]
    run = tmp_path / "logs" / "run"
    assert export(run, "--out", tmp_path / "out", "--license", "mit") == 0
    trained = load_model(start, str(run / "checkpoints" / "epoch_2.pt"), "cpu", "fp32")
    assert all(torch.equal(*pair) for pair in zip(features(*plain(tmp_path / "out")), features(*trained)))
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| after epoch 2 |" in text
    assert "| pairs | " in text
    assert str(tmp_path) not in text
