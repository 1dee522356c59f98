"""How pseudo-captions are made, beside the paper's way: the options, their defaults, and where each comes from.

Nothing heavy is imported, so that a command line may show the choices before torch is loaded.
"""

from dataclasses import dataclass
from typing import Final

#: Whose features say which pairs an unpaired image is like: those of the model as it learns (paper), or of the model
#: that training starts from.
TEACHERS: Final = ("student", "start")

#: Which pairs an unpaired image is compared with: those of its batch (paper), or all.
SUPPORTS: Final = ("batch", "pairs")

#: How far a pseudo-caption is trusted: fully (paper); fully or not at all, by the similarity of the nearest pair; or by
#: the probability that the captions of so similar images agree, which is measured on the pairs.
TRUSTS: Final = ("all", "threshold", "calibrated")

#: The labels' file in the run's folder.
FILE: Final = "sclip-labels.npz"

NEIGHBOURS: Final = 5  # pairs that a pseudo-caption draws from (chosen on the benches' validation parts)


@dataclass(frozen=True)
class TeacherSettings:
    """The options of the pseudo-captions that the start model gives before training (ours).

    Attributes:
        trust: one of `TRUSTS`.
        threshold: with `threshold`: the cosine that the nearest pair must reach, from -1 to 1; None with the others.
        neighbours: pairs that an image draws from, at least 1.

    Raises:
        ValueError: a value out of range, or one that has no effect; names the option and the value received.
    """

    trust: str = "all"
    threshold: float | None = None
    neighbours: int = NEIGHBOURS

    def __post_init__(self) -> None:
        if self.trust not in TRUSTS:
            raise ValueError(f"trust must be one of {', '.join(TRUSTS)}, got {self.trust!r}")
        if (self.trust == "threshold") != (self.threshold is not None):
            raise ValueError(f"threshold goes with trust='threshold', got {self.threshold!r} with trust={self.trust!r}")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold must be a cosine from -1 to 1, got {self.threshold!r}")
        if self.neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {self.neighbours!r}")
