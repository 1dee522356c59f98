"""From the evidence to advice, in plain sentences.

The rules are ours. They rest on comparisons of S-CLIP with supervised fine-tuning in batches of 32 (docs/studies.md has
them with their intervals). Within reach is the share of the unpaired images for which some caption of a batch fits;
right, that for which the nearest pair's does; dropped, the share of the keywords that `sclip keywords --prune` drops.

| data, start model | within reach | right (by chance) | keywords dropped | accuracy | captions alone | retrieval |
|---|---|---|---|---|---|---|
| icons, theirs | 28% | 11% (1.5%) | 45% | -3.6 | -0.6 | -3.7 |
| clip art, the emoji's | 38% | 9% (1.9%) | 19% | +16.3 | +0.2 | -0.7 |
| emoji, theirs | 60% | 12% (3.1%) | 3% | +12.6 | +0.3 | -1.1 |
| emoji, the icons' | 60% | 7% (3.1%) | 3% | +6.2 | | -3.4 |

What captions alone do, by transport, depends little on any of this: they gained nowhere. What keywords do depends on
the vocabulary, not on how often the nearest caption is right. The rules were made after these results, and no further
data set has tested them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sclip_plugin.commands.checkup.evidence import REFERENCE, Evidence
from sclip_plugin.commands.checkup.vocabulary import Words
from sclip_plugin.shards.keywords.pruning import IDLE

PUBLISHED, PAIRS, SUPERVISED, START_MODEL = "published", "keywords-on-pairs", "supervised", "start-model"

HEADLINES: Final = {
    PUBLISHED: "S-CLIP can help classification here: compare it with the pairs' own keywords",
    PAIRS: "captions alone bring little: give S-CLIP keywords, and learn the pairs' own",
    SUPERVISED: "S-CLIP has little to go by here: stay with supervised fine-tuning",
    START_MODEL: "this start model does not find the pairs that fit: get another one first",
}
FLAGS: Final = {
    PUBLISHED: "--loss sclip --keywords FILE",
    PAIRS: "--keywords FILE --sclip-pair-keyword-weight 1",
    SUPERVISED: "--loss clip",
    START_MODEL: "--model",
}

# Within reach; below it captions have little to teach. The benches have 28 to 60%, and captions alone gained on none.
LITTLE: Final = 0.4
# Right as a multiple of chance, below which the start model does not find what is within reach. The benches have 4 to 7
# with their own; the emoji have 2.4 with a start model that has seen icons only.
LIFT: Final = 3.0
# Right beyond chance, from which on S-CLIP is advised whatever else. It is 4 to 15% on the benches; long captions share
# words by chance, so that their `LIFT` says little.
SURE: Final = 0.25
STRANGE: Final = 0.2  # share of the unpaired images further from the pairs than 95% of the pairs: another domain
MORE: Final = 2.0  # right among all pairs as a multiple of right in a batch, from which on this is worth a word


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
    captions, words = evidence.reference.captions, evidence.words
    right, reachable = captions.right_in_batch.unpaired, captions.reachable_in_batch.unpaired
    if right - captions.chance >= SURE:
        return PUBLISHED
    if words is not None:
        return SUPERVISED if words.pruned >= IDLE * words.total else PUBLISHED
    if reachable < LITTLE:
        return SUPERVISED
    return START_MODEL if right < LIFT * captions.chance else PAIRS


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
        yield (
            "On our benches the gain was in classification and came from the keywords; retrieval by caption lost up "
            "to 4.4 points, and with --sclip-recipe trusted, which gained more, up to 1.4. The pairs' own keywords "
            "alone (--sclip-pair-keyword-weight 1, no unpaired images) gained about as much in classification: train "
            "all three."
        )
    if verdict == START_MODEL:
        yield (
            "What fits is there, but the nearest pair is seldom the one that has it: the start model tells these "
            "images apart badly. Take a larger or better suited one, or train this one on the pairs first, and run the "
            "checkup again."
        )
    if verdict == SUPERVISED and evidence.words is None:
        yield (
            f"For the other {1 - reachable.unpaired:.0%} no start model could find a caption that fits; pairs of more "
            "kinds would change that."
        )
    if right - captions.chance < SURE and evidence.words is None and reachable.low < LITTLE < reachable.high:
        yield (
            f"Those {reachable.unpaired:.0%} may be {reachable.low:.0%} to {reachable.high:.0%}, and at {LITTLE:.0%} "
            "the advice changes: compare with supervised fine-tuning in a short study."
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
        yield "Without --keywords nothing is said of the keyword level, which is what gained on our benches."
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
