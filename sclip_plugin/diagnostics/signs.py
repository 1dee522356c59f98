"""The signs of a run going wrong that users should recognise. Each is told once, with the flag to try. Ours."""

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

PATIENCE = 5  # logged steps that a sign must be seen over, on average
COLLAPSED = 0.25  # captions in use below this share of those that could be
FEWEST = 8  # samples in a step that collapse can be told from
UNIFORM = 0.95  # effective_captions above this share of the batch
EMPTY = 0.5  # without_candidates above
GENERIC = 0.5  # commonest_keyword above
RISES = 2  # validations in a row above the one before


class Signs:
    """Watches a run's figures.

    Args:
        pseudo_label: the run's choice; advice depends on it.
        keywords: the words, for naming one; empty without a keyword level.
        source: the keyword file, for messages.
    """

    def __init__(self, pseudo_label: str, keywords=(), source: str = ""):
        self.pseudo_label, self.keywords, self.source = pseudo_label, list(keywords), source
        self._seen: dict[str, deque] = {}
        self._told: set[str] = set()
        self._training: list[float] = []
        self._epochs: list[tuple[int, float, float]] = []  # epoch, training loss, validation loss

    def after_step(self, values: dict[str, float], pairs: int, images: int) -> list[str]:
        """Warnings that a logged step gives reason for.

        Args:
            values: figures by the names of `measures`, and `contrastive_loss`.
            pairs, images: captions, and unpaired images, of the whole plan.
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
        reachable = min(pairs, images)  # so few images cannot use more captions
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
        """Warnings that a validation gives reason for; training's loss is the mean since the one before."""
        if loss is None or not self._training:
            return []
        training, self._training = self._training, []
        self._epochs.append((epoch, sum(training) / len(training), loss))
        last = self._epochs[-RISES - 1 :]
        rising = len(last) > RISES and all(after[2] > before[2] for before, after in pairwise(last))
        if "overfit" in self._told or not (rising and last[-1][1] < last[0][1]):
            return []
        self._told.add("overfit")
        best = min(self._epochs, key=lambda one: one[2])
        return [
            f"the validation loss rises ({last[0][2]:.3g} after epoch {last[0][0]}, {loss:.3g} after {epoch}) while "
            f"the training loss falls ({last[0][1]:.3g} to {last[-1][1]:.3g}): the model learns its pairs by heart; "
            f"it was best after epoch {best[0]}; try fewer --epochs, a lower --lr or a higher --wd"
        ]
