"""From the evidence to advice, in plain sentences.

The limits are ours. They rest on comparisons of S-CLIP with supervised fine-tuning on small data sets in batches of 32
(`sclip study`; the start models are those of the benches). Within reach is the share of the unpaired images for which
some caption of a batch fits, the method's premise; right, that for which the nearest pair's does.

| data | within reach | right (by chance) | keyword right (by chance) | zero-shot, points | retrieval, points |
|---|---|---|---|---|---|
| icons, variants apart | 28% | 11% (1.5%) | 15% (6.7%) | 2 to 4 lower | 4 to 5 lower |
| icons, variants on both sides | 50% | 17% (2.6%) | 22% (11%) | 2 higher | 4 lower |
| emoji, recurring concepts | 60% | 12% (3.1%) | 15% (4.4%) | 5 to 13 higher | 1 to 4 lower |

The share that is right does not order them, but the share within reach does. Larger batches have more within reach and
were not compared, so that the advice goes by batches of 32 whatever is asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sclip_plugin.commands.checkup.estimates import Estimate
from sclip_plugin.commands.checkup.evidence import REFERENCE, Evidence
from sclip_plugin.commands.checkup.vocabulary import Words

PUBLISHED, PAIRS, SUPERVISED, START_MODEL = "published", "keywords-on-pairs", "supervised", "start-model"

HEADLINES: Final = {
    PUBLISHED: "S-CLIP can help here: use it as published",
    PAIRS: "S-CLIP as published is a gamble here: learn the pairs' own keywords, and compare both",
    SUPERVISED: "S-CLIP has little to go by here: stay with supervised fine-tuning",
    START_MODEL: "this start model does not find the pairs that fit: get another one first",
}
FLAGS: Final = {
    PUBLISHED: "--loss sclip --keywords FILE",
    PAIRS: "--loss sclip --keywords FILE --sclip-pair-keyword-weight 1",
    SUPERVISED: "--loss clip",
    START_MODEL: "--model",
}

HELPS: Final = 0.55  # within reach, at least, for S-CLIP as published: between 50%, a mixed result, and 60%, a good one
MIXED: Final = 0.4  # within reach, at least, for keywords on pairs: between 28%, a loss, and 50%
# Right as a multiple of chance, below which the start model does not find what is within reach. The three above have 4
# to 7; the emoji have 2.6 with a start model that has seen icons only.
LIFT: Final = 3.0
# Right beyond chance, from which on S-CLIP is advised whatever is within reach. It is 8 to 15% on the three above; long
# captions share words by chance, so that their `LIFT` says little.
SURE: Final = 0.25
# Keywords that are right as a multiple of chance, below which the keyword level teaches noise. Icons have 2.2, and that
# level alone costs 7 points; emoji have 3.4, and it gains.
KEYWORD_LIFT: Final = 2.5
STRANGE: Final = 0.2  # share of the unpaired images further from the pairs than 95% of the pairs: another domain
MORE: Final = 2.0  # right among all pairs as a multiple of right in a batch, from which on this is worth a word
IDLE: Final = 1 / 3  # share of the keywords that pruning drops; it is 45% on icons and 3% on emoji


@dataclass(frozen=True)
class Advice:
    """What to do.

    Attributes:
        verdict: one of `HEADLINES`.
        headline: the verdict in one line.
        sentences: the reasons, and what else to look at.
    """

    verdict: str
    headline: str
    sentences: list[str]


def recommend(evidence: Evidence) -> Advice:
    """The advice that follows from the evidence."""
    verdict = _verdict(evidence)
    first = f"Advice: {HEADLINES[verdict]} ({FLAGS[verdict]})."
    return Advice(verdict, HEADLINES[verdict], [first, *_reasons(evidence, verdict), *_remarks(evidence)])


def _verdict(evidence: Evidence) -> str:
    captions = evidence.reference.captions
    right, reachable = captions.right_in_batch.unpaired, captions.reachable_in_batch.unpaired
    if right - captions.chance >= SURE:
        return PUBLISHED
    if reachable < MIXED:
        return SUPERVISED
    if right < LIFT * captions.chance:
        return START_MODEL
    return PUBLISHED if reachable >= HELPS else PAIRS


def _reasons(evidence: Evidence, verdict: str) -> Iterator[str]:
    """Why, in a few sentences."""
    captions = evidence.reference.captions
    right, reachable = captions.right_in_batch.unpaired, captions.reachable_in_batch
    yield (
        f"In a batch of {REFERENCE} pairs, which the advice goes by, some caption is expected to fit "
        f"{reachable.unpaired:.0%} of the unpaired images, and the nearest pair's {right:.0%} ({captions.chance:.1%} "
        "by chance)."
    )
    if verdict == PUBLISHED:
        yield "Expect the gain in classification; retrieval by caption gained on none of our benches, so look at both."
    if verdict == START_MODEL:
        yield (
            "What fits is there, but the nearest pair is seldom the one that has it: the start model tells these "
            "images apart badly. Take a larger or better suited one, or train this one on the pairs first, and run the "
            "checkup again."
        )
    if verdict == SUPERVISED:
        yield (
            f"For the other {1 - reachable.unpaired:.0%} no start model could find a caption that fits; pairs of more "
            "kinds would change that."
        )
    if right - captions.chance < SURE:
        yield from _close_calls(reachable)


def _close_calls(reachable: Estimate) -> Iterator[str]:
    for limit in (HELPS, MIXED):
        if reachable.low < limit < reachable.high:
            yield (
                f"Those {reachable.unpaired:.0%} may be {reachable.low:.0%} to {reachable.high:.0%}, and at "
                f"{limit:.0%} the advice changes: compare with supervised fine-tuning in a short study."
            )


def _remarks(evidence: Evidence) -> Iterator[str]:
    """What else to look at."""
    captions, gap = evidence.asked.captions, evidence.gap
    if gap.beyond >= STRANGE:
        yield (
            f"{gap.beyond:.0%} of the unpaired images are unlike the pairs: leave out what is of another kind, or "
            "write captions for some of them. What is estimated for them is too high rather than too low."
        )
    if captions.right.unpaired >= MORE * captions.right_in_batch.unpaired > 0:
        yield (
            f"Among all pairs the nearest one's caption fits {captions.right.unpaired:.0%}, and in a batch of "
            f"{evidence.batch} {captions.right_in_batch.unpaired:.0%}: larger batches, or labels from all "
            "pairs, find more."
        )
    if evidence.words is None:
        yield "Without --keywords nothing is said of the keyword level."
    else:
        yield from _of_vocabulary(evidence, evidence.words)


def _of_vocabulary(evidence: Evidence, words: Words) -> Iterator[str]:
    """What is to be said of the keyword level."""
    level = evidence.reference.keywords
    if words.pruned >= IDLE * words.total:
        yield (
            f"{words.pruned} of {words.total} keywords do not help, as sclip keywords --prune finds: take another "
            "vocabulary, or prune this one."
        )
    if level is None:
        yield "No keyword that tells pairs apart is in their captions: take another vocabulary."
    elif level.right_in_batch.unpaired < KEYWORD_LIFT * level.chance:
        yield (
            f"A keyword of the nearest pair is right for {level.right_in_batch.unpaired:.0%} of the unpaired images, "
            f"and one of a random pair for {level.chance:.0%}: the keyword level would teach noise. Take another "
            "vocabulary before you use --keywords."
        )
