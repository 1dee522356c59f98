"""The image panel of a training run: the same few unpaired images after every epoch, with what they are taken for."""

import logging

import numpy as np

from sclip_plugin.errors import DataError

SHOWN = 6  # images
MOST = 256  # pairs, and unpaired images, that the panel's plan is solved for


class EpochPanel:
    """Draws the panel of a run on its first rank.

    Args:
        args: the run's arguments. vocabulary: its keywords or None. config: its `MixedConfig`.
        preprocess: open_clip's validation transform. tokenizer: texts → tokens.
    """

    def __init__(self, args, vocabulary, config, preprocess, tokenizer):
        self.args, self.vocabulary, self.config = args, vocabulary, config
        self.preprocess, self.tokenizer = preprocess, tokenizer
        self._samples = None
        self._broken = False

    def draw(self, model, epoch: int) -> np.ndarray | None:
        """uint8 (height, width, 3) after `epoch` epochs; None where no sample can be read, which is logged once."""
        from sclip_plugin.evaluation.features import Encoder
        from sclip_plugin.inspection import panel
        from sclip_plugin.inspection.labels import Rule, label_images

        samples = self._read()
        if samples is None:
            return None
        args = self.args
        rule = Rule.of(args)
        model = getattr(model, "_orig_mod", model)
        encoder = Encoder(model, self.tokenizer, args.device, args.precision)
        options = {"shown": SHOWN, "batch_size": max(1, min(args.batch_size, MOST))}
        cards, figures = label_images(encoder, self.preprocess, *samples, self.vocabulary, rule, **options)
        sizes = f"{len(samples[0])} pairs, {len(samples[1])} unpaired images"
        return panel.pixels(panel.draw(cards, f"after epoch {epoch}: {args.sclip_pseudo_label}, {sizes}", figures))

    def _read(self):
        """The samples of all epochs: as many as a global batch has, at most `MOST` of each kind."""
        from sclip_plugin.inspection.pictures import read_pictures

        if self._samples is None and not self._broken:
            config = self.config
            ranks = config.world_size * config.accum
            try:
                self._samples = (
                    read_pictures(config.paired.shards, min(MOST, config.batch_size * ranks), paired=True),
                    read_pictures(config.unpaired.shards, min(MOST, config.unpaired_batch_size * ranks), paired=False),
                )
            except DataError as error:
                self._broken = True
                logging.warning(f"sclip_plugin: no image panel: {error}")
        return self._samples
