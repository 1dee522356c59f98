"""Training on a patched copy of open_clip: one plugin object by three routes; the extension point for any plugin."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers.hosts import INSTALLED, patched_copy
from tests.helpers.sets import write_classification_set, write_retrieval_set
from tests.helpers.training import run_training, train_arguments
from tests.training.test_training import losses


@pytest.fixture(scope="module")
def patched(tmp_path_factory) -> Path:
    """A folder for PYTHONPATH with a patched open_clip; not to be changed."""
    return patched_copy(tmp_path_factory.mktemp("patched"), importable=True)


def on(*folders, **env) -> dict[str, str]:
    return {"PYTHONPATH": ":".join(map(str, folders)), **env}


def checkpoint(logs: Path, epoch: int = 1) -> dict:
    return torch.load(logs / "run" / "checkpoints" / f"epoch_{epoch}.pt", weights_only=True)["state_dict"]


def assert_equal(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


WANDB = """
def init(**of): pass
finish = init
def save(path): pass
def log(values, step=None): print("WANDB", *sorted(values))
"""


def test_three_routes_give_the_same_losses_weights_and_metrics(patched, shards, tiny_model, tmp_path):
    """Hooks on a stock open_clip, the explicit main, and a patched one with hooks disabled; two processes each."""
    (tmp_path / "wandb.py").write_text(WANDB)
    flags = {
        "report_to": "wandb",
        "val_data": write_retrieval_set(tmp_path / "val", 9),
        "zeroshot_data": f"things={write_classification_set(tmp_path / 'things', 8)}",
    }
    found = {}
    for route, module, env in (
        ("import hook", "open_clip_train.main", on(tmp_path)),
        ("explicit main", "sclip_plugin.main", on(tmp_path, TORCH_DEVICE_BACKEND_AUTOLOAD="0")),
        ("patched open_clip", "open_clip_train.main", on(tmp_path, patched, SCLIP_PLUGIN_DISABLE="1")),
    ):
        logs = tmp_path / route.split()[0]
        run = run_training(train_arguments(shards, tiny_model, logs, **flags), processes=2, module=module, env=env)
        assert run.returncode == 0, run.stdout[-3000:]
        assert f"active by {route}: B=8 U=8 K=5" in run.stdout
        assert re.search("WANDB .*val/image_retrieval_recall@1 ", run.stdout)
        results = (logs / "run" / "checkpoints" / "results.jsonl").read_text()
        found[route] = (losses(run.stdout), results, checkpoint(logs))
    first, *others = found.values()
    assert len(first[0]) == 3
    assert '"things/acc1"' in first[1]
    assert '"image_retrieval_recall@1"' in first[1]
    for other in others:
        assert other[:2] == first[:2]
        assert_equal(other[2], first[2])


PARSE = """
import json, os, sys
import torch
from open_clip_train.params import parse_args
for words in json.loads(os.environ["TRIED"]):
    try:
        print("PARSED", parse_args(words).loss, flush=True)
    except SystemExit as stopped:
        print(stopped.code, flush=True)
"""


def parsing(tried: list[list[str]], *folders) -> list[str]:
    """What the patched parser says to each command line, its errors and exit statuses."""
    environment = {**os.environ, **on(*folders), "SCLIP_PLUGIN_DISABLE": "1", "TRIED": json.dumps(tried)}
    command = [sys.executable, "-c", PARSE]
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return [line for line in run.stdout.splitlines() if re.match(r"\d$|PARSED|.*error: ", line)]


def test_flags_are_refused_as_with_the_hooks(patched, shards, tiny_model, tmp_path):
    tried = [
        train_arguments(shards, tiny_model, tmp_path, **flags)
        for flags in ({"siglip": True}, {"loss": None}, {"loss": "slip"}, {})
    ]
    siglip, siglip_code, lonely, lonely_code, unknown, unknown_code, parsed = parsing(tried, patched)
    assert siglip == "-c: error: --siglip does not work with --loss sclip"
    assert lonely == "-c: error: --unpaired-data, --keywords: only with --loss sclip"
    assert unknown.startswith("-c: error: argument --loss: invalid choice: 'slip'")
    assert siglip_code == lonely_code == unknown_code == "2"
    assert parsed == "PARSED sclip"


PINNED = """
import importlib.metadata as metadata, random, runpy, types
import webdataset.filters
class Pinned(random.Random):  # webdataset seeds its sample shuffle from pid and time
    def __init__(self, *seed): super().__init__(7)
webdataset.filters.random = types.SimpleNamespace(Random=Pinned)
installed = metadata.entry_points
metadata.entry_points = lambda **of: () if of == {"group": "open_clip_train.plugins"} else installed(**of)
runpy.run_module("open_clip_train.main", run_name="__main__")
"""


def test_without_plugins_a_patched_host_trains_as_stock(patched, shards, tiny_model, tmp_path):
    (tmp_path / "pinned.py").write_text(PINNED)
    stock = {"loss": None, "unpaired_data": None, "keywords": None, "workers": 0}
    stock["train_data"] = str(shards / "paired" / "{000000..000003}.tar")
    stock["val_data"] = str(shards / "paired" / "000000.tar")
    found = {}
    for name, folders in (("stock", [tmp_path]), ("patched", [tmp_path, patched])):
        arguments = train_arguments(shards, tiny_model, tmp_path / name, **stock)
        run = run_training(arguments, module="pinned", env=on(*folders, SCLIP_PLUGIN_DISABLE="1"))
        assert run.returncode == 0, run.stdout[-3000:]
        logs = tmp_path / name / "run"
        results = (logs / "checkpoints" / "results.jsonl").read_text()
        parameters = (logs / "params.txt").read_text().replace(str(tmp_path / name), "LOGS")
        found[name] = (losses(run.stdout), results, set(parameters.splitlines()), checkpoint(tmp_path / name))
    assert len(found["stock"][0]) == 5
    assert found["patched"][:2] == found["stock"][:2]
    assert found["patched"][2] - found["stock"][2] == {"loss: clip"}
    assert found["stock"][2] <= found["patched"][2]
    assert_equal(found["patched"][3], found["stock"][3])


TOY = """
import torch
from open_clip_train.plugins import TrainPlugin

class Counted:  # a loader that sees each batch pass
    def __init__(self, info): self.info, self.seen = info, 0
    def __getattr__(self, name): return getattr(self.info, name)
    @property
    def dataloader(self): return self
    @property
    def num_batches(self): return self.info.dataloader.num_batches
    @property
    def num_samples(self): return self.info.dataloader.num_samples
    def __iter__(self):
        for batch in self.info.dataloader:
            self.seen += 1
            yield batch

class Toy(TrainPlugin):
    def add_arguments(self, parser):
        parser.add_argument_group("toy").add_argument("--toy-weight", type=float)
    def check_arguments(self, parser, args):
        if args.toy_weight is not None and args.loss != "toy":
            parser.error("--toy-weight only with --loss toy")
    def adapt_model(self, model, args):
        print("ADAPTED", type(model).__name__, args.rank, args.world_size, float(torch.rand(())))
        return model
    def get_data(self, stock, args, preprocess_fns, epoch=0, tokenizer=None):
        data = super().get_data(stock, args, preprocess_fns, epoch, tokenizer)
        return {"train": Counted(data["train"]), "mine": "a set of its own"}
    def create_loss(self, stock, args):
        loss = super().create_loss(stock, args)
        return lambda **kw: {"toy_loss": args.toy_weight * loss(**kw)["contrastive_loss"]}
    def train_one_epoch(self, stock, model, data, loss, epoch, *args, **kwargs):
        result = super().train_one_epoch(stock, model, data, loss, epoch, *args, **kwargs)
        print("EPOCH", epoch, data["train"].seen, type(kwargs["tb_writer"]).__name__)
        return result
    def evaluate(self, stock, model, data, epoch, args, tb_writer=None, tokenizer=None):
        metrics = super().evaluate(stock, model, data, epoch, args, tb_writer=tb_writer, tokenizer=tokenizer)
        print("EVALUATED", epoch, args.rank, data["mine"], metrics)
        return metrics

plugin = Toy()
"""


@pytest.fixture
def toy(tmp_path) -> Path:
    """An installed package with a plugin `toy` and one, `broken`, that cannot be imported."""
    folder = tmp_path / "toy-site"
    (folder / "toy-1.dist-info").mkdir(parents=True)
    (folder / "toy.py").write_text(TOY)
    (folder / "toy-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    points = "[open_clip_train.plugins]\ntoy = toy:plugin\nbroken = no_such_module:plugin\n"
    (folder / "toy-1.dist-info" / "entry_points.txt").write_text(points)
    return folder


def synthetic(model: str, logs: Path, *more) -> list[str]:
    """A run on blank images: no S-CLIP, no shards."""
    words = f"--dataset-type synthetic --train-num-samples 16 --batch-size 4 --workers 0 --epochs 1 --model {model}"
    words += f" --precision fp32 --device cpu --warmup 1 --log-every-n-steps 1 --logs {logs} --name run"
    return [*words.split(), *more]


def test_the_extension_point_serves_any_plugin(patched, toy, tiny_model, tmp_path):
    """Arguments, model, data, loss, every batch and the TensorBoard writer, and evaluation without `--val-data`."""
    arguments = synthetic(tiny_model, tmp_path, "--loss", "toy", "--toy-weight", "0.25", "--report-to", "tensorboard")
    run = run_training(arguments, processes=2, env=on(patched, toy))
    assert run.returncode == 0, run.stdout[-3000:]
    adapted = sorted(re.findall(r"ADAPTED CLIP (\d) 2 ([\d.]+)", run.stdout))
    assert [rank for rank, _ in adapted] == ["0", "1"]
    assert adapted[0][1] == adapted[1][1]  # one random state on all ranks
    assert sorted(re.findall(r"EPOCH 0 (\d) (\w+)", run.stdout)) == [("2", "NoneType"), ("2", "SummaryWriter")]
    assert sorted(re.findall(r"EVALUATED 1 (\d) a set of its own {}", run.stdout)) == ["0", "1"]
    for row in losses(run.stdout):
        assert row["Toy_loss"] == row["Loss"] == pytest.approx(0.25 * torch.tensor(8.0).log().item(), rel=1e-3)
    assert "open_clip_train plugin 'broken' could not be loaded: ModuleNotFoundError" in run.stdout


def test_every_plugin_checks_its_arguments_whatever_the_loss(patched, toy):
    tried = [["--toy-weight", "1"], ["--loss", "broken"], ["--loss", "toy", "--toy-weight", "1"], []]
    lonely, _, broken, _, *parsed = parsing(tried, patched, toy)
    assert lonely == "-c: error: --toy-weight only with --loss toy"
    assert re.search(r"invalid choice: 'broken' \(choose from '?clip'?, '?sclip'?, '?toy'?\)", broken)
    assert parsed == ["PARSED toy", "PARSED clip"]


def load(root: Path, name: str):
    """A module of a host tree under a name of its own."""
    spec = importlib.util.spec_from_file_location(f"zero_shot_{name}", root / "open_clip_train" / "zero_shot.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_two_crashes_of_zero_shot_evaluation_are_fixed(patched):
    torch.manual_seed(0)
    fixed, stock = load(patched, "patched").accuracy, load(INSTALLED, "stock").accuracy
    for classes in (2, 3, 4, 5, 9):
        logits, target = torch.randn(40, classes), torch.randint(classes, (40,))
        ranks = (logits > logits.gather(1, target[:, None])).sum(1)
        assert fixed(logits, target, topk=(1, 5)) == [(ranks < 1).sum().item(), (ranks < 5).sum().item()]
        if classes < 5:
            with pytest.raises(RuntimeError, match="out of range"):
                stock(logits, target, topk=(1, 5))
    import numpy

    if tuple(map(int, numpy.__version__.split(".")[:2])) >= (2, 4):
        with pytest.raises(TypeError):
            stock(torch.randn(40, 9), torch.randint(9, (40,)))
