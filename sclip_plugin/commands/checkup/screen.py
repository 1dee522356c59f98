"""What a checkup prints, and the same as JSON."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sclip_plugin.commands.checkup.estimates import Estimate, Gap
from sclip_plugin.commands.checkup.evidence import REFERENCE, Evidence
from sclip_plugin.commands.checkup.recommendation import Advice
from sclip_plugin.commands.checkup.samples import Part
from sclip_plugin.commands.checkup.vocabulary import GENERIC, Words

WIDTH: Final = 110  # letters of a line
NAMED: Final = 8  # words that are listed, of each kind


@dataclass(frozen=True)
class Result:
    """All that a checkup has to say.

    Attributes:
        model: what the start model is called.
        pairs: the pairs that were encoded.
        unpaired: the unpaired images that were encoded.
        evidence: what they tell.
        advice: what follows from it.
    """

    model: str
    pairs: Part
    unpaired: Part
    evidence: Evidence
    advice: Advice


def lines(result: Result) -> list[str]:
    """One screen of text."""
    pairs, unpaired, evidence = result.pairs, result.unpaired, result.evidence
    found = [f"{_number('pairs', pairs)}, {_number('unpaired images', unpaired)}; start model {result.model}"]
    for name, part in (("pairs", pairs), ("unpaired images", unpaired)):
        if part.skipped:
            listed = ", ".join(f"{number} × {reason}" for reason, number in sorted(part.skipped.items()))
            found.append(f"skipped {name}: {listed}")
    if evidence.grouped is not None:
        found.append(f"pairs of one group are not compared with each other; there are {evidence.grouped:,} groups")
    found += ["", *_table(evidence), "", *_wrapped(_gap(evidence.gap))]
    if evidence.words is not None:
        found += _wrapped(_vocabulary(evidence.words))
    found += _wrapped(_fitting(evidence))
    return [*found, "", *(line for text in result.advice.sentences for line in textwrap.wrap(text, WIDTH))]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ")


def _number(name: str, part: Part) -> str:
    """How many were encoded, and of how many."""
    if part.total is not None and part.total > len(part) + part.skipped.total():
        return f"{len(part):,} of {part.total:,} {name} (the same share of every shard, see --limit)"
    return f"{len(part):,} {name}" + (" (of a set of unknown size, see --limit)" if part.total is None else "")


def _table(evidence: Evidence) -> Iterator[str]:
    yield _cells("share of images with", "pairs, left out", "unpaired, estimated (95%)", "random pair")
    for level, what in ((evidence.asked.captions, "caption"), (evidence.asked.keywords, "keyword")):
        if level is not None:
            yield _row(f"a fitting {what} at the nearest of {evidence.batch} pairs", level.right_in_batch, level.chance)
            yield _row(f"a fitting {what} at the nearest of all pairs", level.right, level.chance)
            yield _row(f"a fitting {what} at any of {evidence.batch} pairs", level.reachable_in_batch)
            yield _row(f"a fitting {what} at any of all pairs", level.reachable)


def _row(name: str, share: Estimate, chance: float | None = None) -> str:
    estimated = f"{share.unpaired:.1%} ({share.low:.1%} … {share.high:.1%})"
    return _cells(name, f"{share.pairs:.1%}", estimated, "" if chance is None else f"{chance:.1%}")


def _cells(name: str, pairs: str, unpaired: str, chance: str) -> str:
    return f"{name:<46}{pairs:>15}{unpaired:>28}{chance:>14}".rstrip()


def _gap(gap: Gap) -> str:
    return (
        f"domain: the cosine with the nearest pair is {gap.unpaired:.2f} for unpaired images and {gap.pairs:.2f} for "
        f"left-out pairs (medians; AUC {gap.rank:.2f}). {gap.beyond:.0%} of the unpaired images are further from the "
        "pairs than 95% of the pairs are; it would be 5% if both were alike."
    )


def _vocabulary(words: Words) -> str:
    said = [
        f"{len(words.generic)} are in more than {GENERIC:.0%} of the pairs{_in_brackets(_listed(words.generic))}",
        f"{len(words.absent)} are in none{_in_brackets(_named(words.absent))}",
        f"{len(words.style)} are words of style{_in_brackets(_named(words.style))}",
        f"of {words.judged} in enough pairs, the images of {len(words.unseen)} lie no closer together than chance"
        + _in_brackets(_named(words.unseen)),
        f"{words.without:.0%} of the pairs hold no keyword",
    ]
    return f"vocabulary, {words.total} keywords: {'; '.join(said)}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _fitting(evidence: Evidence) -> str:
    common = f" These are more common (see --common): {_listed(evidence.common)}." if evidence.common else ""
    return f"A caption fits where it shares a content word that few pairs have.{common}"


def _named(words: Sequence[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _listed(words: Sequence[tuple[str, float]]) -> str:
    return _named([f"{word} {share:.0%}" for word, share in words])


def report(result: Result) -> str:
    """All figures and the advice as JSON; the words of single images are left out."""
    evidence = result.evidence
    words = None
    if evidence.words is not None:
        words = {name: value for name, value in asdict(evidence.words).items() if name != "bags"}
    trust = evidence.nearness.trust
    found = {
        "model": result.model,
        "pairs": _part(result.pairs),
        "unpaired": _part(result.unpaired),
        "batch": evidence.batch,
        "groups": evidence.grouped,
        **asdict(evidence.asked),
        "reference": {"batch": REFERENCE, **asdict(evidence.reference)},
        "gap": asdict(evidence.gap),
        "vocabulary": words,
        "too_common": evidence.common,
        "calibration": {
            "similarities": trust.similarities.tolist(),
            "probabilities": trust.probabilities.tolist(),
        },
        "advice": asdict(result.advice),
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _part(part: Part) -> dict[str, object]:
    return {"encoded": len(part), "total": part.total, "skipped": dict(part.skipped)}
