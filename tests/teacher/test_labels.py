"""The start model's labels: against a slow transcription, from real shards, and alike for one rank and for several."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import distributed as dist

from sclip_plugin.data.shard_list import ShardSet, expand
from sclip_plugin.diagnostics.calibration import Calibration
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.teacher.features import ALONE, Rank
from sclip_plugin.teacher.labels import Pairs, StartLabels, label_sets, nearest_pairs
from sclip_plugin.teacher.settings import TeacherSettings
from sclip_plugin.teacher.storage import load_labels, save_labels
from tests.helpers.shards import picture, write_shards, write_tar

SCALE = torch.tensor(12.0)
LINE = Calibration(np.array([-1.0, 0.2, 0.9]), np.array([0.0, 0.1, 0.8]))


def unit(rows: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed)), dim=-1)


def slowly(image, pairs: Pairs, settings: TeacherSettings) -> dict[int, float]:
    """{row of a pair: weight} of one image."""
    cosines = [(round(float(image @ pair), 5), -row) for pair, row in zip(pairs.features, pairs.rows)]
    near = sorted(cosines, reverse=True)[: settings.neighbours]
    total = sum(math.exp(12 * cosine) for cosine, _ in near)
    found = {}
    for cosine, row in near:
        weight = math.exp(12 * cosine) / total
        if settings.trust == "calibrated":
            weight *= float(LINE.at(np.array([cosine]))[0])
        if settings.threshold is not None and near[0][0] < settings.threshold:
            weight = 0.0
        found[-row] = weight
    return found


@pytest.mark.parametrize(
    "settings",
    [
        TeacherSettings(),
        TeacherSettings(neighbours=1),
        TeacherSettings("calibrated", neighbours=3),
        TeacherSettings("threshold", 0.6),
    ],
    ids=["all", "one", "calibrated", "threshold"],
)
def test_nearest_pairs_equal_the_transcription(settings):
    pairs = Pairs(unit(9, 0), np.array([0, 1, 3, 4, 5, 7, 8, 9, 12]), [("x",)] * 13)
    images = unit(30, 1)
    line = LINE if settings.trust == "calibrated" else None
    nearest, weights = nearest_pairs(images, pairs, SCALE, settings, line)
    for image, rows, shares in zip(images, nearest, weights):
        wanted = slowly(image, pairs, settings)
        assert rows.tolist() == list(wanted)
        assert shares.tolist() == pytest.approx(list(wanted.values()), rel=1e-4, abs=1e-6)
    if settings.trust == "threshold":
        assert 0 < (weights.sum(axis=1) > 0).sum() < 30


def test_of_equal_pairs_the_first_is_nearest():
    twin = unit(1, 0)
    pairs = Pairs(torch.cat([unit(3, 1), twin, twin, twin]), np.arange(6), [("x",)] * 6)
    nearest, _ = nearest_pairs(twin, pairs, SCALE, TeacherSettings(neighbours=2))
    assert nearest.tolist() == [[3, 4]]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Images 0 … 7 as pairs, each twice with the same word, and unpaired images like them; one of each is broken."""
    root = tmp_path_factory.mktemp("teacher")
    members = []
    for i in range(16):
        members += [(f"p{i:02d}.png", picture(i % 8)), (f"p{i:02d}.txt", f"a thing called word{i % 8}".encode())]
    members += [("p16.png", b"no image"), ("p16.txt", b"a thing")]
    write_tar(root / "paired" / "000000.tar", members[:20])
    write_tar(root / "paired" / "000001.tar", members[20:])
    images = [(f"u{i:02d}.png", picture(i % 8) if i != 5 else b"no image") for i in range(11)]
    write_tar(root / "unpaired" / "000000.tar", images[:4])
    write_tar(root / "unpaired" / "000001.tar", images[4:])
    return root


def sets(root):
    return (
        ShardSet.of(expand(str(root / "paired"), "--train-data")),
        ShardSet.of(expand(str(root / "unpaired"), "--unpaired-data")),
    )


CALIBRATED = TeacherSettings("calibrated")


def label(root, model, settings=CALIBRATED, rank=ALONE, skipped=None) -> StartLabels:
    torch.manual_seed(0)  # the model has no weights of its own
    network, preprocess, tokenizer = load_model(model, None, "cpu", "fp32")
    skipped = Counter() if skipped is None else skipped
    return label_sets(*sets(root), Encoder(network, tokenizer), preprocess, settings, skipped, workers=2, rank=rank)


def test_images_draw_from_the_pairs_that_look_like_them(material, tiny_model):
    skipped: Counter[str] = Counter()
    labels = label(material, tiny_model, skipped=skipped)
    assert skipped == {"--train-data: undecodable image": 1, "--unpaired-data: undecodable image": 1}
    assert labels.nearest.shape == labels.weights.shape == (11, 5)
    for row in range(11):
        if row == 5:
            assert labels.weights[row].tolist() == [0] * 5  # it cannot be decoded
        else:
            assert labels.nearest[row, :2].tolist() == [row % 8, row % 8 + 8]  # the same picture, twice
    assert 16 not in labels.nearest
    assert labels.captions[3] == ("a thing called word3",)
    assert labels.captions[16] == ()
    assert labels.calibration is not None
    assert labels.calibration.at(np.array([1.0])) == pytest.approx([1.0])  # twins have the same caption
    trusts = labels.trusts()
    assert ((trusts >= 0) & (trusts <= 1 + 1e-6)).all()
    everything = label(material, tiny_model, TeacherSettings())
    assert everything.trusts() == pytest.approx([1.0] * 5 + [0.0] + [1.0] * 5)
    assert (everything.nearest == labels.nearest).all()
    assert everything.calibration is None


def rank_of_two(number: int, root, model, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=2)
    skipped: Counter[str] = Counter()
    labels = label(root, model, rank=Rank(number, 2), skipped=skipped)
    assert skipped == {"--train-data: undecodable image": 1, "--unpaired-data: undecodable image": 1}
    save_labels(labels, {}, root.__class__(folder) / f"{number}.npz")
    dist.destroy_process_group()


def test_two_ranks_make_the_labels_of_one(material, tiny_model, tmp_path):
    mp.spawn(rank_of_two, (material, tiny_model, str(tmp_path)), nprocs=2)
    alone = label(material, tiny_model)
    for number in (0, 1):
        labels = load_labels(tmp_path / f"{number}.npz", {})
        assert (labels.nearest == alone.nearest).all()
        assert labels.weights == pytest.approx(alone.weights, abs=1e-5)
        assert labels.captions == alone.captions


def test_too_few_usable_pairs(tiny_model, tmp_path):
    write_tar(tmp_path / "paired" / "0.tar", [("a.png", picture(1)), ("a.txt", b"one"), ("b.png", picture(2))])
    write_shards(tmp_path / "unpaired", 3, 1, captions=False)
    with pytest.raises(DataError, match=r"--train-data: fewer than two usable pairs; found 1 × no caption"):
        label(tmp_path, tiny_model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trust": "some"}, "trust must be one of all, threshold, calibrated, got 'some'"),
        ({"trust": "threshold"}, "threshold goes with trust='threshold', got None"),
        ({"threshold": 0.5}, "threshold goes with trust='threshold', got 0.5 with trust='all'"),
        ({"trust": "threshold", "threshold": 2}, "threshold must be a cosine from -1 to 1, got 2"),
        ({"neighbours": 0}, "neighbours must be at least 1, got 0"),
    ],
)
def test_settings_name_what_is_wrong(options, message):
    with pytest.raises(ValueError, match=message):
        TeacherSettings(**options)


def test_what_is_written_is_read(material, tiny_model, tmp_path):
    for settings in (TeacherSettings(), TeacherSettings("calibrated")):
        labels = label(material, tiny_model, settings)
        save_labels(labels, {"pairs": 17}, tmp_path / "labels.npz")
        found = load_labels(tmp_path / "labels.npz", {"pairs": 17})
        assert (found.nearest == labels.nearest).all()
        assert (found.weights == labels.weights).all()
        assert found.captions == labels.captions
        assert (found.calibration is None) == (labels.calibration is None)


def test_files_that_cannot_be_used(material, tiny_model, tmp_path):
    path = tmp_path / "labels.npz"
    with pytest.raises(DataError, match=r"labels.npz: not there; without the start model's labels"):
        load_labels(path, {})
    save_labels(label(material, tiny_model), {"pairs": 17}, path)
    with pytest.raises(DataError, match=r"labels.npz: labels of another run: pairs is 17, now 18"):
        load_labels(path, {"pairs": 18})
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"labels.npz: damaged \("):
        load_labels(path, {"pairs": 17})
