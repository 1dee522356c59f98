"""Several processes (gloo) against one on the concatenated batch: the loss and the gradients of shared parameters.

All cases of one world size run in one launch; the ranks hold different data and meet at a file, not at a port.
"""

import pytest
import torch
import torch.multiprocessing as mp

from sclip_plugin import SClipLoss
from tests.loss.cases import relative
from tests.loss.ranks import all_cases, encode, make_raw, make_towers, run_rank
from tests.loss.reference import Columns, Labels, reference_loss

CASES = {str(case): case for case in all_cases()}
WORLDS = [2, 3]


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """Results of every case by world size; each world is launched once, when first asked for."""
    results = {}

    def get(world_size):
        if world_size not in results:
            folder = tmp_path_factory.mktemp(f"world{world_size}")
            mp.spawn(run_rank, (world_size, str(folder)), nprocs=world_size)
            results[world_size] = torch.load(folder / "results.pt")
        return results[world_size]

    return get


def tower_gradients(total, towers):
    return dict(zip(towers, torch.autograd.grad(total, list(towers.values()))))


def one_process(case, world_size):
    """Terms and gradients of SClipLoss in one process on the whole batch."""
    towers = make_towers(case.dtype)
    raw = make_raw(case, world_size)
    inputs, loss = encode(towers, raw), SClipLoss(**vars(case.settings))
    if case.labels:
        loss.remember(raw["captions"], raw.get("all_candidates"))
    terms = loss(**inputs, output_dict=True)
    return terms, tower_gradients(sum(terms.values()), towers)


def transcribe(case, raw, inputs, columns=None):
    """Terms by the slow reference."""
    labels = None
    if case.labels:
        names = ("pair_rows", "unpaired_nearest", "unpaired_weights")
        labels = Labels(*(inputs[name] for name in names), raw["captions"], raw.get("all_candidates"))
    return reference_loss(
        inputs["image_features"],
        inputs["text_features"],
        inputs["logit_scale"],
        inputs.get("unpaired_features"),
        inputs.get("keyword_features"),
        inputs.get("keyword_candidates"),
        case.settings,
        columns=columns,
        labels=labels,
    )


def own_rows(tensor, rank, world_size):
    """`tensor` with gradient for one rank's rows only, as an all-gather without gradient leaves it."""
    size = -(-len(tensor) // world_size)
    rows = torch.arange(len(tensor)).div(size, rounding_mode="floor") == rank
    return torch.where(rows[:, None], tensor, tensor.detach())


def stock_gradients(case, world_size):
    """Gradients after averaging over ranks by stock's convention without gather-with-grad, one process at a time."""
    towers = make_towers(case.dtype)
    total = 0.0
    raw = make_raw(case, world_size)
    inputs = encode(towers, raw)
    if case.local_loss:  # the mean of the ranks' losses has every row once; the columns carry no gradient
        names = ("image_features", "text_features", "unpaired_features")
        columns = Columns(*(inputs[name].detach() if name in inputs else None for name in names))
        total = sum(transcribe(case, raw, inputs, columns).values())
    else:
        for rank in range(world_size):
            seen = {
                name: own_rows(tensor, rank, world_size) if name.endswith("features") else tensor
                for name, tensor in inputs.items()
            }
            total = total + sum(transcribe(case, raw, seen).values()) / world_size
    return tower_gradients(total, towers)


def assert_same_terms(case, result, terms, tolerance):
    assert result["names"] == list(terms)
    values = torch.stack(list(terms.values())).detach()
    assert relative(result["values"].mean(dim=0), values) <= tolerance
    if not case.local_loss:  # every rank holds the global loss
        assert relative(result["values"], values.expand_as(result["values"])) <= tolerance


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.gather_with_grad])
def test_equals_one_process_with_gathered_gradients(launched, name, world_size):
    case, result = CASES[name], launched(world_size)[name]
    tolerance = 1e-9 if case.dtype == torch.float64 else 1e-5
    terms, grads = one_process(case, world_size)
    assert_same_terms(case, result, terms, tolerance)
    for parameter, expected in grads.items():
        assert relative(result["grads"][parameter], expected) <= tolerance, parameter


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.gather_with_grad])
def test_same_loss_and_stock_gradients_without_gathered_gradients(launched, name, world_size):
    case, result = CASES[name], launched(world_size)[name]
    terms, _ = one_process(case, world_size)
    assert_same_terms(case, result, terms, 1e-9)
    for parameter, expected in stock_gradients(case, world_size).items():
        assert relative(result["grads"][parameter], expected) <= 1e-9, parameter


@pytest.mark.parametrize("world_size", WORLDS)
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if not (case.gather_with_grad or case.local_loss)]
)
def test_gathered_without_gradient_divides_tower_gradients_by_the_ranks(launched, name, world_size):
    """Stock's convention in one line: 1/W of every tower gradient, logit_scale's whole."""
    case, result = CASES[name], launched(world_size)[name]
    _, grads = one_process(case, world_size)
    for parameter in ("image", "text"):
        assert relative(result["grads"][parameter] * world_size, grads[parameter]) <= 1e-9, parameter
    assert relative(result["grads"]["log_scale"], grads["log_scale"]) <= 1e-9


@pytest.mark.parametrize("world_size", WORLDS)
def test_one_process_equals_the_transcription_on_these_inputs(world_size):
    for case in CASES.values():
        if case.dtype == torch.float64:
            terms, _ = one_process(case, world_size)
            raw = make_raw(case, world_size)
            wanted = transcribe(case, raw, encode(make_towers(case.dtype), raw))
            for name, value in wanted.items():
                assert relative(terms[name], value) <= 1e-9, (str(case), name)
