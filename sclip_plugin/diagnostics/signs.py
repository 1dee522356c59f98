"""The signs of a run going wrong, which users should recognise. Each is told once, with the flag to try.

The signs and the limits below are ours.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

PATIENCE = 5  # logged steps over which the mean of a figure must be beyond its limit
COLLAPSED = 0.25  # a collapse: captions in use are below this share of those that could be
FEWEST = 8  # samples that a step must have for a collapse to be told
UNIFORM = 0.95  # uniform labels: effective_captions is above this share of the batch
EMPTY = 0.5  # too few keywords: without_candidates is above
GENERIC = 0.5  # a keyword that says nothing: commonest_keyword is above
RISES = 2  # overfitting: so many validations in a row have a loss above the one before


class _Validated(NamedTuple):
    """The losses up to a validation; training's is the mean since the validation before."""

    epoch: int
    training: float
    validation: float


class Signs:
    """Watches a run's figures.

    Args:
        pseudo_label: the run's rule, on which the advice depends.
        keywords: the vocabulary, by which a keyword is named; empty without a keyword level.
        source: the keyword file, for messages.
    """

    def __init__(self, pseudo_label: str, keywords: Iterable[str] = (), source: str = "") -> None:
        self.pseudo_label, self.keywords, self.source = pseudo_label, list(keywords), source
        self._seen: dict[str, deque[float]] = {}
        self._told: set[str] = set()
        self._training: list[float] = []
        self._validated: list[_Validated] = []

    def after_step(self, values: dict[str, float], pairs: int, images: int) -> list[str]:
        """Warnings that a logged step gives reason for.

        Args:
            values: the figures of the step under the names that `measures` gives them, and `contrastive_loss`.
            pairs: captions of the whole plan.
            images: unpaired images of the whole plan.
        """
        if "contrastive_loss" in values:
            self._training.append(values["contrastive_loss"])
        return list(self._labels(values, pairs, images)) + list(self._candidates(values))

    def _lasts(self, sign: str, value: float | None) -> float | None:
        """The mean over the last logged steps once there are enough, for a sign that has not been told; else None."""
        if value is None or sign in self._told:
            return None
        seen = self._seen.setdefault(sign, deque(maxlen=PATIENCE))
        seen.append(value)
        return sum(seen) / PATIENCE if len(seen) == PATIENCE else None

    def _labels(self, values: dict[str, float], pairs: int, images: int) -> Iterator[str]:
        used = self._lasts("collapse", values.get("captions_used"))
        reachable = min(pairs, images)  # fewer images than captions cannot use them all
        if used is not None and reachable >= FEWEST and used * pairs < COLLAPSED * reachable:
            self._told.add("collapse")
            advice = (
                "--sclip-pseudo-label ot-image, which evens captions out"
                if not self.pseudo_label.startswith("ot-")
                else "more --sclip-sinkhorn-iterations, or a larger --sclip-epsilon"
            )
            yield (
                f"pseudo-labels collapse onto few captions: the {pairs} captions of a step are used as unevenly as if "
                f"{used * pairs:.1f} served all unpaired images; try {advice}"
            )
        drawn = self._lasts("uniform", values.get("effective_captions"))
        if drawn is not None and pairs > 1 and drawn > UNIFORM * pairs:
            self._told.add("uniform")
            advice = "a smaller --sclip-epsilon" if self.pseudo_label.startswith("ot-") else "ot-image or hard-image"
            yield (
                f"pseudo-labels are nearly uniform: an unpaired image draws from {drawn:.1f} of {pairs} captions and "
                f"learns little at the caption level; try {advice}"
            )

    def _candidates(self, values: dict[str, float]) -> Iterator[str]:
        bare = self._lasts("empty", values.get("without_candidates"))
        if bare is not None and bare > EMPTY:
            self._told.add("empty")
            yield (
                f"{100 * bare:.0f}% of the unpaired images have no candidate keyword and learn nothing at the keyword "
                f"level: the captions hold few of the words in {self.source}; try a longer --keywords file "
                "(`sclip keywords --top`)"
            )
        common = self._lasts("generic", values.get("commonest_keyword"))
        if common is not None and common > GENERIC:
            self._told.add("generic")
            word = self.keywords[int(values["commonest_index"])]
            yield (
                f"the keyword {word!r} is a candidate of {100 * common:.0f}% of the unpaired images and tells few "
                f"apart; take it out of the --keywords file {self.source}"
            )

    def after_validation(self, epoch: int, loss: float | None) -> list[str]:
        """Warnings that a validation gives reason for.

        Args:
            epoch: how many epochs are done.
            loss: the validation's; None: there is none.
        """
        if loss is None or not self._training:
            return []
        training, self._training = self._training, []
        self._validated.append(_Validated(epoch, sum(training) / len(training), loss))
        last = self._validated[-RISES - 1 :]
        first, now = last[0], last[-1]
        rising = len(last) > RISES and all(after.validation > before.validation for before, after in pairwise(last))
        if "overfit" in self._told or not (rising and now.training < first.training):
            return []
        self._told.add("overfit")
        best = min(self._validated, key=lambda one: one.validation)
        return [
            f"the validation loss rises ({first.validation:.3g} after epoch {first.epoch}, {loss:.3g} after {epoch}) "
            f"while the training loss falls ({first.training:.3g} to {now.training:.3g}): the model learns its pairs "
            f"by heart; it was best after epoch {best.epoch}; try fewer --epochs, a lower --lr or a higher --wd"
        ]
