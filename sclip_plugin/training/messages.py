"""What a run says in its log: that the plugin is at work, what is likely to go wrong, and what an epoch read."""

import logging
from collections import Counter
from collections.abc import Iterator

from sclip_plugin._version import __version__
from sclip_plugin.data.config import MixedConfig
from sclip_plugin.data.stream import STORE
from sclip_plugin.training.arguments import Place, TrainingArguments


def announce(route: str, arguments: TrainingArguments, config: MixedConfig, keywords: int, place: Place) -> None:
    """Say, on the first rank, that the plugin is at work, and warn of what is likely to go wrong.

    Args:
        route: how the plugin was activated.
        arguments: the run's.
        config: its data.
        keywords: their number, 0 without a keyword level.
        place: where this process stands.
    """
    if place.rank != 0:
        return
    if arguments.supervised:
        what = f"B={config.batch_size} supervised: open_clip's own loss on the pairs alone"
    else:
        labels = f"pseudo-label={arguments.loss.pseudo_label}" if config.unpaired else "no unpaired images"
        if arguments.teacher is not None:
            labels = f"teacher=start support=pairs trust={arguments.teacher.trust}"
        own = arguments.loss.pair_keyword_weight
        what = f"B={config.batch_size} U={config.unpaired_batch_size} K={keywords} {labels}"
        what += f" pair-keyword-weight={own:g}" if own else ""
    logging.info(f"sclip_plugin {__version__} active by {route}: {what}")
    unpaired = config.unpaired
    beside = "" if unpaired is None else f" and {unpaired.total or 'an unknown number of'} unpaired images"
    logging.info(f"sclip_plugin: {config.steps} batches per epoch over {config.paired.total} pairs{beside}")
    for warning in _warnings(arguments, config, place):
        logging.warning(f"sclip_plugin: {warning}")


def _warnings(arguments: TrainingArguments, config: MixedConfig, place: Place) -> Iterator[str]:
    steps = config.steps // config.accum * arguments.epochs
    if arguments.warmup >= steps and arguments.scheduled:
        yield (
            f"--warmup {arguments.warmup} is not over after the run's {steps} steps, so the learning rate never "
            f"reaches --lr {arguments.lr}; the paper warms up for 10 steps"
        )
    if place.device.startswith("cpu") and arguments.precision == "amp":
        yield "--precision amp is many times slower than fp32 on a CPU: use --precision fp32"
    for data in (config.paired, config.unpaired):
        if data is not None and data.sizes is None:
            yield (
                f"{data.shards.flag}: the sizes of the shards are not known ({data.unknown}), so that an epoch may "
                "read some samples twice"
            )


def report_counts(counts: Counter, keyword_file: str | None) -> None:
    """Log what an epoch read and what it skipped; warn where most captions hold no keyword.

    Args:
        counts: outcomes of the samples, over all ranks, as `MixedLoader.counts` has them.
        keyword_file: for messages; None without a keyword level.
    """
    pairs, bare = counts["paired: read"], counts["paired: without keyword"]
    skipped = {
        outcome: number
        for outcome, number in sorted(counts.items())
        if not outcome.endswith((": read", ": without keyword")) and not outcome.startswith(STORE)
    }
    images = f", {counts['unpaired: read']} unpaired images" if counts["unpaired: read"] else ""
    logging.info(f"sclip_plugin: read {pairs} pairs{images}")
    if skipped:
        listed = ", ".join(f"{outcome} × {number}" for outcome, number in skipped.items())
        logging.warning(f"sclip_plugin: skipped samples: {listed}")
    if waited := {name.removeprefix(STORE): n for name, n in sorted(counts.items()) if name.startswith(STORE) and n}:
        listed = ", ".join(f"{trouble} × {number}" for trouble, number in waited.items())
        logging.warning(f"sclip_plugin: the store of the shards: {listed}")
    if keyword_file is not None and pairs and bare * 2 > pairs:
        logging.warning(
            f"sclip_plugin: {100 * bare / pairs:.0f}% of the captions read hold none of the keywords in "
            f"{keyword_file}; unpaired images that resemble them learn nothing at the keyword level"
        )
