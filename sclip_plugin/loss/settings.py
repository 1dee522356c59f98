"""The options of the S-CLIP loss: their values, their defaults, and where each default comes from.

This is their only owner: training flags, `SClipLoss`, inspection and studies read them here. Nothing heavy is imported,
so that a command line may show the choices before torch is loaded.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Final

#: Pseudo-caption rules: optimal transport, softmax or nearest neighbour over similarities to the paired images or to
#: their captions. `ot-image` is the paper's method (section 4.1), `hard-*` and `soft-*` are its baselines (Hard-PL,
#: Soft-PL).
PSEUDO_LABELS: Final = ("ot-image", "ot-text", "soft-image", "soft-text", "hard-image", "hard-text")

#: Rules for the weights of an unpaired image's candidate keywords (section 4.2). `similarity` is the authors' code's.
KEYWORD_TARGETS: Final = ("similarity", "softmax", "uniform")

#: Where an unpaired image's candidate keywords come from: the caption nearest to it (paper), or all captions that its
#: pseudo-caption draws from, each by its weight and in equal parts (ours).
CANDIDATES: Final = ("nearest", "plan")


def _from(source: str) -> dict[str, str]:
    """A field's metadata: who chose its default."""
    return {"source": source}


@dataclass(frozen=True)
class LossSettings:
    """The options of the loss.

    Attributes:
        pseudo_label: pseudo-caption rule, one of `PSEUDO_LABELS`.
        sinkhorn_iterations: pairs of column and row updates of the transport plan, at least 0. Only `ot-*` uses it.
        epsilon: entropic regularisation of the transport, above 0, in units of the cost; None stands for the learned
            temperature. Only `ot-*` uses it.
        caption_weight: weight of the caption-level term, at least 0.
        keyword_weight: weight of the keyword-level term, at least 0.
        keyword_targets: weights over an unpaired image's candidate keywords, one of `KEYWORD_TARGETS`.
        candidates: where an image's candidate keywords come from, one of `CANDIDATES`. With `plan` their weights follow
            from it, and `keyword_targets` is not used.
        pair_keyword_weight: weight of the pairs' own keyword term, at least 0: each paired image learns the keywords of
            its caption. It needs no unpaired images, and is the control for what these bring.
        unpaired_negatives: whether the unpaired images are negatives of each caption.
        detach_targets: whether the transport plan is a constant (docs/method.md). False lets gradient run through it,
            as in the authors' code, for study.

    Raises:
        ValueError: a value out of range, or one that has no effect; names the option and the value received.
    """

    pseudo_label: str = field(default="ot-image", metadata=_from("paper, section 4.1"))
    sinkhorn_iterations: int = field(default=10, metadata=_from("authors' code"))
    epsilon: float | None = field(default=None, metadata=_from("paper, section 4.1"))
    caption_weight: float = field(default=0.5, metadata=_from("authors' code"))
    keyword_weight: float = field(default=0.5, metadata=_from("authors' code"))
    keyword_targets: str = field(default="similarity", metadata=_from("authors' code, clamped at 0 by us"))
    candidates: str = field(default="nearest", metadata=_from("paper, section 4.2"))
    pair_keyword_weight: float = field(default=0.0, metadata=_from("ours; the paper has no such term"))
    unpaired_negatives: bool = field(default=True, metadata=_from("authors' code"))
    detach_targets: bool = field(default=True, metadata=_from("ours"))

    def __post_init__(self) -> None:
        _check_choice("pseudo_label", self.pseudo_label, PSEUDO_LABELS)
        _check_choice("keyword_targets", self.keyword_targets, KEYWORD_TARGETS)
        _check_choice("candidates", self.candidates, CANDIDATES)
        if self.candidates == "plan" and self.keyword_targets != LossSettings.keyword_targets:
            raise ValueError(f"keyword_targets={self.keyword_targets!r} has no effect with candidates='plan'")
        check_iterations("sinkhorn_iterations", self.sinkhorn_iterations)
        if self.epsilon is not None:
            check_epsilon(self.epsilon)
            if not self.uses_transport:
                raise ValueError(
                    f"epsilon={self.epsilon!r} has no effect with pseudo_label={self.pseudo_label!r}: only ot-* use it"
                )
        for name in ("caption_weight", "keyword_weight", "pair_keyword_weight"):
            weight = getattr(self, name)
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"{name} must be a finite number ≥ 0, got {weight!r}")

    @property
    def uses_transport(self) -> bool:
        """True where the pseudo-captions come from a transport plan."""
        return self.pseudo_label.startswith("ot-")

    @property
    def supports_images(self) -> bool:
        """True where unpaired images are compared with the paired images, False where with their captions."""
        return self.pseudo_label.endswith("-image")

    @classmethod
    def sources(cls) -> dict[str, str]:
        """Where the default of each option comes from."""
        return {one.name: one.metadata["source"] for one in fields(cls)}


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def check_iterations(name: str, value: int) -> None:
    """Raise ValueError unless `value` is a whole number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name} must be a whole number ≥ 0, got {value!r}")


def check_epsilon(value: float) -> None:
    """Raise ValueError unless `value` is a finite number above 0."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"epsilon must be a finite number > 0, got {value!r}")
