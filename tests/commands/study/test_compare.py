"""Means, intervals and paired differences, against plain computations; tables and the report made of them."""

import html.parser
import json
import math
import statistics

import numpy as np
import pytest

from sclip_plugin.commands.study import collect, compare, report, spec, tables
from sclip_plugin.evaluation.bootstrap import intervals, replicates

TEXT = """
title = "A < B & C"
about = "why"
seeds = [0, 1, 2]
baseline = "plain"
[train]
model = "local-dir:nowhere"
train-data = "$out/shards"
epochs = 2
[arms.plain]
[arms.better]
title = "better <one>"
loss = "sclip"
[arms.failed]
[evaluate]
points = 2
bootstrap = 200
zeroshot = { s = "$out/s" }
retrieval = { r = "$out/r" }
"""
IMAGES, CLASSES = 60, 4


def write_run(out, name, skill, seed):
    """Results of a run whose ranks are 0 with the given probability."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(IMAGES), 2)

    def ranks(size):
        return np.where(rng.random(size) < skill, 0, rng.integers(1, 30, size))

    found = {"s/class": ranks(IMAGES), "s/label": np.arange(IMAGES) % CLASSES, "s/classes": np.array(CLASSES)}
    found |= {"r/image": ranks(2 * IMAGES), "r/text": ranks(IMAGES), "r/owner": owner}
    asked = [(way, k) for way in ("image", "text") for k in (1, 5, 10)]
    recalls = {f"{way}_retrieval_recall@{k}": float((found[f"r/{way}"] < k).mean()) for way, k in asked}
    acc = {"acc1": float((found["s/class"] == 0).mean()), "acc5": 1.0}
    last = f"{out}/runs/{name}/checkpoints/epoch_2.pt"
    records = [
        {"pretrained": file, "dataset": dataset, "metrics": metrics, "counts": {"images": IMAGES}}
        for file in (last.replace("_2", "_1"), last)
        for dataset, metrics in (("s", acc), ("r", recalls))
    ]
    (out / "results").mkdir(exist_ok=True)
    np.savez(out / "results" / f"{name}.npz", **{f"{last}/{key}": value for key, value in found.items()})
    report_ = {"pretrained": [last.replace("_2", "_1"), last], "results": records}
    (out / "results" / f"{name}.json").write_text(json.dumps(report_))
    log = out / "runs" / name / "out.log"
    log.parent.mkdir(parents=True)
    line = (
        "2026 | INFO | Train Epoch: {} [8/8 (100%)] Logit Scale: 2.0 Contrastive_loss: {:.5f} (1.0) Loss: 9.0 (9.0)\n"
    )
    warning = "2026 | WARNING | sclip_plugin: pseudo-labels <collapse>\n"
    log.write_text("".join(line.format(n, 3 - n / 10) for n in range(20)) + warning * (skill > 0.6))
    return found


# epoch and samples, loss; training was ended in epoch 1 and went on from its beginning
LOGGED = [("0 [ 8/16 (50%)]", 3.0), ("0 [16/16 (100%)]", 2.0), ("1 [ 8/16 (50%)]", 1.5)]
LOGGED += [("1 [ 8/16 (50%)]", 1.4), ("1 [16/16 (100%)]", 1.0)]


@pytest.fixture
def out(tmp_path):
    (tmp_path / "s.toml").write_text(TEXT)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "000000.tar").touch()
    return tmp_path


@pytest.fixture
def study(out):
    return spec.load(out / "s.toml", out)


def test_intervals_are_students(tmp_path):
    found = compare.spread([1.0, 2.0, 4.0])
    assert (found.mean, found.std) == (pytest.approx(7 / 3), pytest.approx(statistics.stdev([1, 2, 4])))
    assert found.high - found.mean == pytest.approx(4.303 * found.std / math.sqrt(3))
    assert compare.t_point(1) == 12.706
    assert compare.t_point(500) == 1.960
    assert math.isnan(compare.spread([1.0]).low)


def test_replicates_equal_a_slow_resampling():
    rng = np.random.default_rng(3)
    owner = np.sort(rng.integers(9, size=20))
    ranks = {"image": rng.integers(12, size=20), "text": rng.integers(12, size=9), "owner": owner}
    found = replicates(ranks, 5, seed=4)
    drawn = np.random.default_rng(4).integers(9, size=(5, 9))
    for s, images in enumerate(drawn):
        texts = [t for i in images for t in range(20) if owner[t] == i]
        assert found["image_retrieval_recall@5"][s] == pytest.approx(np.mean([ranks["image"][t] < 5 for t in texts]))
        assert found["text_retrieval_recall@1"][s] == pytest.approx(np.mean([ranks["text"][i] < 1 for i in images]))
    ranks = {"class": rng.integers(7, size=30), "label": rng.integers(5, size=30), "classes": np.array(6)}
    found = replicates(ranks, 4, seed=1)
    for s, images in enumerate(np.random.default_rng(1).integers(30, size=(4, 30))):
        right, labels = ranks["class"][images] == 0, ranks["label"][images]
        assert found["acc1"][s] == pytest.approx(right.mean())
        assert found["acc5"][s] == pytest.approx((ranks["class"][images] < 5).mean())
        per_class = [right[labels == c].mean() for c in set(labels.tolist())]
        assert found["mean_per_class_recall"][s] == pytest.approx(np.mean(per_class))


def test_interval_covers_as_often_as_it_says():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(200):
        sample = {"class": (rng.random(150) > 0.3).astype(int), "label": np.zeros(150, int), "classes": np.array(2)}
        low, high = intervals(sample, 300)["acc1"]
        inside += low <= 0.3 <= high
    assert 180 <= inside <= 198  # 95% of 200, and what chance allows


def test_replicates_in_parts_are_the_same(monkeypatch):
    from sclip_plugin.evaluation import bootstrap

    ranks = {"class": np.arange(20) % 3, "label": np.arange(20) % 4, "classes": np.array(4)}
    whole = replicates(ranks, 10)["acc1"]
    monkeypatch.setattr(bootstrap, "CHUNK", 65)
    assert np.array_equal(replicates(ranks, 10)["acc1"], whole)
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        replicates(ranks, 0)
    with pytest.raises(ValueError, match=r"ranks of no kind of set: \['x'\]"):
        replicates({"x": np.zeros(3)}, 5)


def test_differences_are_paired_by_seed_and_by_image(study, out):
    for seed in study.seeds:
        write_run(out, f"plain-{seed}", 0.3, seed)
        write_run(out, f"better-{seed}", 0.8, 10 + seed)
    found = report.outcome(study, out, {})
    assert [one.measure.title for one in found.differences] == ["s: accuracy", "r: mean R@1,5,10"]
    one = found.differences[0]
    accuracy, _ = collect.measures(study)
    gaps = [found.arms["better"][s].value(accuracy) - found.arms["plain"][s].value(accuracy) for s in study.seeds]
    assert one.over_seeds.mean == pytest.approx(statistics.fmean(gaps))
    assert one.ahead == 3
    draws = [[found.arms[arm][s].replicates(accuracy, 200) for s in study.seeds] for arm in ("better", "plain")]
    expected = np.quantile(np.mean(draws[0], axis=0) - np.mean(draws[1], axis=0), [0.025, 0.975])
    assert one.over_images == pytest.approx(tuple(expected))
    same = compare.difference(found.arms["plain"], found.arms["plain"], ("a", "b"), accuracy, 50)
    assert same.over_images == (0, 0)  # the same images are drawn for both


class Checker(html.parser.HTMLParser):
    """Collects text and refuses tags that are closed in the wrong order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.outside = [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "html", "p", "li", "img", "br"):
            self.open.append(tag)
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith(("data:", "#"))]

    def handle_endtag(self, tag):
        if tag not in ("html", "p", "li", "body"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_tables_and_report(study, out):
    for seed in study.seeds:
        write_run(out, f"plain-{seed}", 0.3, seed)
        write_run(out, f"better-{seed}", 0.8, 10 + seed)
    found = report.outcome(study, out, {"failed-0": "`python` ended with status 1: bad <luck>"})
    text = report.write(found, out)
    assert text == (out / "table.md").read_text()
    lines = text.splitlines()
    plain = next(line for line in lines if line.startswith("| plain "))
    values = [found.arms["plain"][seed].value(collect.Measure("s", "acc1")) for seed in study.seeds]
    assert f"| {statistics.fmean(values):.1f} ± {statistics.stdev(values):.1f} " in plain
    assert any(line.startswith("| failed ") and "–" in line for line in lines)
    assert "- Compared with plain, better <one> is better in accuracy on s (+" in text
    assert "- These differences would most likely come out again with other seeds and on other images." in text
    assert "failed-0 failed: `python` ended with status 1" in text
    page = (out / "report.html").read_text()
    checker = Checker()
    checker.feed(page)
    assert checker.outside == []
    said = " ".join(checker.text)
    assert "A < B & C" in said
    assert "pseudo-labels <collapse>" in said
    assert "retrieval against classification" in said
    assert "training, contrastive loss" in said
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")


def test_many_sets_stand_in_rows(study, out):
    import dataclasses

    from sclip_plugin.commands.study import plots

    evaluation = dataclasses.replace(study.evaluation, zeroshot=dict.fromkeys("stuv", ""))
    write_run(out, "plain-0", 0.1, 0)
    found = report.outcome(study, out, {})
    result = found.arms["plain"][0]
    result.metrics |= dict.fromkeys("tuv", result.metrics["s"])
    found.study = dataclasses.replace(study, evaluation=evaluation)
    figure = plots.overview(found)  # four accuracies, one retrieval, retrieval against classification
    assert len(figure.axes) == 6
    assert figure.get_figwidth() < 15
    assert figure.axes[-1].get_xlabel() == "mean accuracy of 4 sets, %"


def test_curves_are_of_what_was_measured_after_each_epoch(study, out):
    from sclip_plugin.commands.study import plots

    write_run(out, "plain-0", 0.1, 0)
    write_run(out, "better-0", 0.9, 1)
    found = report.outcome(study, out, {})
    plain, better = found.arms["plain"][0], found.arms["better"][0]
    measured = {"s": plain.metrics["s"]}
    plain.history = better.history = [(1, measured)]
    assert len(plots.curves(found).axes) == 1  # one epoch: the losses alone
    plain.history, better.history = [(1, measured), (2, measured)], []
    losses, accuracy = plots.curves(found).axes
    assert accuracy.get_title() == "s: accuracy, %"  # nobody followed the other set
    assert [line.get_label() for line in accuracy.lines] == ["plain"]
    assert len(losses.lines) == 2


def test_the_report_shows_the_commands_that_it_is_given(study, out):
    write_run(out, "plain-0", 0.1, 0)
    found = report.outcome(study, out, {})
    found.commands = ["sclip something <else>"]
    report.write(found, out)
    page = (out / "report.html").read_text()
    assert "sclip something &lt;else&gt;" in page
    assert "1 commands" in page
    assert "Evaluated on " in page
    assert "runs of" not in page


def test_one_seed_has_no_interval_and_claims_nothing(study, out):
    write_run(out, "plain-0", 0.1, 0)
    write_run(out, "better-0", 0.9, 1)
    found = report.outcome(study, out, {})
    assert tables.difference_rows(found)[0] == ["difference, points", "", "mean", "95% over images"]
    assert {len(row) for row in tables.difference_rows(found)} == {4}
    assert {tuple(row[1:]) for row in tables.main_rows(found)[:1]} == {("s: accuracy", "r: mean R@1,5,10")}
    assert {len(row) for row in tables.main_rows(found)} == {3}
    assert tables.verdict(found) == [
        "With one seed nothing can be said about other seeds, so no difference is sure: run at least two."
    ]


def test_the_verdict_names_arms_between_which_nothing_is_sure(study, out):
    for seed in study.seeds:
        for arm in ("plain", "better"):
            write_run(out, f"{arm}-{seed}", 0.5, 7 * seed + len(arm))
    found = report.outcome(study, out, {})
    assert tables.verdict(found) == [
        "Nothing is sure between better <one> and plain: with other seeds or images it might vanish."
    ]


def test_the_verdict_says_what_is_better_and_what_is_worse(study, out):
    for seed in study.seeds:
        write_run(out, f"plain-{seed}", 0.5, seed)
        write_run(out, f"better-{seed}", 0.9, 10 + seed)
    found = report.outcome(study, out, {})
    accuracy, recall = found.differences
    spread = compare.spread([-3.0, -3.2, -2.8])
    recall = compare.Difference("better", "plain", recall.measure, spread, (-4.0, -2.0))
    found.differences = [accuracy, recall]
    mean = f"{accuracy.over_seeds.mean:+.1f} points"
    assert tables.verdict(found)[0] == (
        f"Compared with plain, better <one> is better in accuracy on s ({mean}), and worse in mean R@1,5,10 on r "
        "(-3.0 points)."
    )


def test_names_in_the_scatter_plot_do_not_lie_on_each_other(study, out):
    import dataclasses

    from sclip_plugin.commands.study import plots

    arm = study.arms["plain"]
    titles = [
        "hard nearest neighbour",
        "soft nearest neighbours",
        "transport (caption level only)",
        "double batch",
        "x",
    ]
    arms = {f"a{n}": dataclasses.replace(arm, name=f"a{n}", title=title) for n, title in enumerate(titles)}
    for name in arms:
        write_run(out, f"{name}-0", 0.5, 3)  # all in one place
    found = report.outcome(dataclasses.replace(study, arms=arms, baseline=None), out, {})
    figure = plots.overview(found)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[2].texts]
    assert len(boxes) == len(titles)
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:number])


def test_logs_give_losses_and_warnings(out):
    write_run(out, "plain-0", 0.9, 0)
    losses, warnings = collect.read_log(out / "runs" / "plain-0" / "out.log")
    assert losses[:2] == [3.0, 2.9]
    assert warnings == ["pseudo-labels <collapse>"]


def test_the_steps_of_a_broken_epoch_count_once(tmp_path):
    lines = [f"Train Epoch: {n} Contrastive_loss: {loss} (1.0)\n" for n, loss in LOGGED]
    (tmp_path / "out.log").write_text("".join(lines))
    assert collect.read_log(tmp_path / "out.log")[0] == [3.0, 2.0, 1.4, 1.0]


def test_transfer_stands_in_the_tables_with_its_intervals(tmp_path):
    text = TEXT.replace(
        'retrieval = { r = "$out/r" }', 'knn = { s = "$out/s" }\nshots = [4]\nregions = { p = "$out/p" }'
    )
    (tmp_path / "s.toml").write_text(text)
    study = spec.load(tmp_path / "s.toml", tmp_path)
    (tmp_path / "results").mkdir()
    for arm, right in (("plain", 20), ("better", 50)):
        placed = np.arange(IMAGES) >= right
        ranks = {"label": np.arange(IMAGES) % CLASSES, "classes": np.array(CLASSES)}
        places = {"s": placed, "s/knn": placed, "s/knn-4": np.stack([placed, ~placed])}
        arrays = {
            f"{place}/{name}": part for place, one in places.items() for name, part in (ranks | {"class": one}).items()
        }
        region = {"region": placed * 1, "caption": placed * 1, "chance": np.full(IMAGES, 0.5)}
        arrays |= {f"p/regions/{k}": part for k, part in (region | {"picture": np.arange(IMAGES) // 2}).items()}
        share = right / IMAGES
        records = [
            ("s", {"acc1": share}, {}),
            ("s", {"knn_acc1": share}, {"settings": {"fewshot_k": -1}}),
            ("s", {"knn_acc1": 0.5}, {"settings": {"fewshot_k": 4}}),
            ("p", {"region_retrieval_recall@1": share, "caption_retrieval_recall@1": share, "region_chance": 0.5}, {}),
        ]
        results = [{"dataset": d, "metrics": m, "counts": {"images": IMAGES}, **rest} for d, m, rest in records]
        for seed in study.seeds:
            np.savez(tmp_path / "results" / f"{arm}-{seed}.npz", **arrays)
            report_ = {"pretrained": "x", "results": results}
            (tmp_path / "results" / f"{arm}-{seed}.json").write_text(json.dumps(report_))
    found = report.outcome(study, tmp_path, {})
    titles = [measure.title for measure in found.measures]
    assert titles == ["s: accuracy", "s: nearest neighbours", "s: nearest neighbours, 4 a class", "p: regions R@1"]
    means = [one.over_seeds.mean for one in found.differences]
    assert means == pytest.approx([50, 50, 0, 50])
    assert found.differences[2].over_images == pytest.approx((0, 0))
    assert found.differences[3].over_images[0] > 20
    assert "s: nearest neighbours, 4 a class" in report.write(found, tmp_path)
