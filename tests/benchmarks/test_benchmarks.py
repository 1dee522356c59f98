"""The benchmarks run, at tiny sizes, and measure what they say: figures in the JSON, equal values, exact formulas."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.models import write_model

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# Several benchmarks in one process, because importing torch takes longer than they do. As with `python script.py`, the
# scripts import each other from the folder that Python starts in.
DRIVER = """
import json, runpy, sys
for name, arguments in json.loads(sys.argv[1]):
    sys.argv = [name, *arguments]
    runpy.run_path(f"{name}.py", run_name="__main__")
"""


def run(*arguments):
    """What a Python process started in the benchmarks' folder prints; it must succeed."""
    command, environment = [sys.executable, *map(str, arguments)], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The JSON of each benchmark that runs in one process."""
    folder = tmp_path_factory.mktemp("benchmarks")
    model = write_model(folder / "model")
    common = {
        "loss": "--size 6 5 4 --width 16 --repeats 3",
        "step": f"--model {model} --pairs 4 --unpaired 3 --support 20 --keywords 9 --repeats 1",
        "loader": "--samples 24 --size 400 300 --crop 32 --batch 8 --repeats 1 --draft --fast-resize",
        "keywords": f"--vocabulary 40 --model {model} --keywords 5 --repeats 1",
        "gpu": f"--device cpu --sizes 8 --step-sizes 4 --model {model} --keywords 5 --repeats 1 --no-compile",
    }
    calls = [(name, [*flags.split(), "--json", f"{folder}/{name}.json"]) for name, flags in common.items()]
    run("-c", DRIVER, json.dumps(calls))
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in common}


def test_every_report_names_the_machine(reports):
    for report in reports.values():
        assert {"processor", "cores", "threads", "torch", "open_clip"} <= set(report["machine"])


def test_ratios_are_the_times(reports):
    (loss,) = reports["loss"]["loss"]
    assert loss["published_over_ours"] == loss["published_ms"] / loss["ours_ms"]
    assert loss["published_over_stock"] == loss["published_ms"] / loss["stock_ms"]
    assert loss["ours_over_stock"] == loss["ours_ms"] / loss["stock_ms"]
    (step,) = reports["step"]["step"]
    assert step["ratio"] == step["sclip_seconds"] / step["stock_seconds"]
    assert step["flop_ratio"] > 1  # the keywords
    assert step["recipe_ratio"] == step["recipe_seconds"] / step["sclip_seconds"]
    (loader,) = reports["loader"]["loader"]
    assert loader["ours_ratio"] == loader["ours_images_per_second"] / loader["stock_images_per_second"]
    assert loader["drafts_ratio"] > 0
    assert loader["fast_resize_ratio"] > 0
    assert loader["both_ratio"] > 0
    assert reports["keywords"]["matching"][0]["K"] == 40
    assert set(reports["gpu"]["loss"]["8"]) == {"stock", "ours", "published"}
    assert set(reports["gpu"]["step"]["4"]) == {"stock", "ours", "our towers", "flop_ratio"}


def test_the_published_algorithm_is_the_loss_with_gradient_through_the_plan():
    import torch
    from torch.testing import assert_close

    from sclip_plugin import SClipLoss

    found = importlib.util.spec_from_file_location("published", BENCHMARKS / "published.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    published_loss = module.published_loss
    generator = torch.Generator().manual_seed(0)
    sizes = {"image_features": 9, "text_features": 9, "unpaired_features": 7, "keyword_features": 6}
    inputs = {
        name: torch.nn.functional.normalize(torch.rand(rows, 8, generator=generator), dim=-1).requires_grad_()
        for name, rows in sizes.items()
    }
    inputs |= {"logit_scale": torch.tensor(9.0), "keyword_candidates": torch.rand(9, 6, generator=generator) < 0.3}
    assert not inputs["keyword_candidates"].any(dim=1).all()  # a caption without keywords is among them
    leaves = [inputs[name] for name in sizes]  # in the positive orthant: the authors do not clamp cosines
    published, ours = published_loss(**inputs), SClipLoss(detach_targets=False)(**inputs)
    assert_close(published, ours)
    for found, expected in zip(torch.autograd.grad(published, leaves), torch.autograd.grad(ours, leaves)):
        assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_collectives_move_what_the_formulas_say(tmp_path):
    sizes = ["--pairs", "12", "--unpaired", "20", "--keywords", "7", "--width", "16"]
    run(BENCHMARKS / "memory.py", "--worlds", "2", *sizes, "--json", tmp_path / "memory.json")
    rows = json.loads((tmp_path / "memory.json").read_text())["memory"]
    assert len(rows) == 4
    for row in rows:
        assert row["gathered"] == row["gathered_formula"] > 0
        assert row["reduced"] == row["reduced_formula"] > 0
    gathered, local = (row for row in rows if row["mode"].startswith("sclip"))
    assert local["reduced"] > gathered["reduced"]  # the transport's sums


def test_estimates_for_many_ranks_need_no_run():
    table = run(BENCHMARKS / "memory.py", "--estimate", "--worlds", "8", "512", "--pairs", "64", "--unpaired", "64")
    assert sum(line.startswith("| 512 |") for line in table.splitlines()) == 4


def test_start_up_times_the_entry_point_in_a_fresh_process():
    printed = run("-c", "from startup import import_milliseconds; print(import_milliseconds(1))")
    assert 0 < float(printed) < 5000
