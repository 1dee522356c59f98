"""The signs of a run going wrong: what gives them, what does not, and that each names the flag to try."""

import re

import pytest

from sclip_plugin.diagnostics.signs import PATIENCE, Signs


def after(signs, values, times=PATIENCE, pairs=10, images=10):
    return [warning for _ in range(times) for warning in signs.after_step(values, pairs, images)]


@pytest.mark.parametrize(
    ("choice", "values", "message"),
    [
        ("soft-image", {"captions_used": 0.12}, "as if 1.2 served all unpaired images; try --sclip-pseudo-label ot-im"),
        ("ot-image", {"captions_used": 0.12}, "collapse onto few captions.*try more --sclip-sinkhorn-iterations"),
        ("ot-image", {"effective_captions": 9.8}, "nearly uniform.*9.8 of 10 captions.*try a smaller --sclip-epsilon"),
        ("ot-image", {"without_candidates": 0.7}, "70% of the unpaired images have no candidate keyword.*--keywords"),
        ("ot-image", {"commonest_keyword": 0.6, "commonest_index": 1.0}, "'outline' is a candidate of 60%.*--keywords"),
    ],
)
def test_signs_name_what_is_seen_and_the_flag(choice, values, message):
    signs = Signs(choice, ["red", "outline"], "words.txt")
    assert after(signs, values, PATIENCE - 1) == []
    warnings = after(signs, values, 20)
    assert len(warnings) == 1  # once
    assert re.search(message, warnings[0])


def test_healthy_figures_give_no_sign():
    values = {"captions_used": 0.9, "effective_captions": 3.0, "without_candidates": 0.1, "commonest_keyword": 0.2}
    assert after(Signs("ot-image", ["a"], "f"), {**values, "commonest_index": 0.0}, 50) == []


def test_few_images_do_not_count_as_collapse():
    values = {"captions_used": 0.2}
    assert after(Signs("hard-image"), values, 20, pairs=40, images=10) == []  # 8 of 10 reachable captions
    assert after(Signs("hard-image"), values, 20, pairs=4, images=4) == []
    assert len(after(Signs("hard-image"), values, 20, pairs=40, images=40)) == 1


def run_epochs(losses):
    signs, said = Signs("ot-image"), []
    for epoch, (training, validation) in enumerate(losses, 1):
        signs.after_step({"contrastive_loss": training}, 10, 10)
        said += signs.after_validation(epoch, validation)
    return said


def test_rising_validation_loss_while_training_loss_falls():
    said = run_epochs([(3, 2.0), (2, 1.5), (1.5, 1.7), (1, 1.9), (0.5, 2.5)])
    assert len(said) == 1
    assert "rises (1.5 after epoch 2, 1.9 after 4) while the training loss falls (2 to 1)" in said[0]
    assert "best after epoch 2" in said[0]
    assert "--epochs" in said[0]
    assert run_epochs([(3, 2.0), (2, 1.5), (1.5, 1.7), (1, 1.4), (0.5, 1.6)]) == []  # up and down
    assert run_epochs([(1, 2.0), (2, 2.5), (3, 3.0)]) == []  # training gets worse too: not this sign
    assert run_epochs([(3, None), (2, None)]) == []
    between = run_epochs([(3, 1.5), (4, None), (1, 1.6), (0.5, 1.7)])
    assert "training loss falls (3 to 0.5)" in between[0]
