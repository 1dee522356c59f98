"""The image panel of a training run: the same few unpaired images after every epoch, with what they are taken for."""

import logging
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from sclip_plugin.data.shard_list import ShardList
from sclip_plugin.errors import DataError
from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.evaluation.models import Preprocess, Tokenizer
from sclip_plugin.inspection.labels import label_images
from sclip_plugin.inspection.pictures import Picture, read_pictures
from sclip_plugin.keywords import Vocabulary
from sclip_plugin.loss.settings import LossSettings

SHOWN = 6  # images
MOST = 256  # pairs, and unpaired images, that the panel's plan is solved for


@dataclass
class EpochPanel:
    """Draws the panel of a run on its first rank.

    Attributes:
        paired: the shards that the pairs are read from.
        unpaired: the shards that the unpaired images are read from.
        pairs: pairs in a global batch; the panel uses as many, and at most `MOST`.
        images: unpaired images in a global batch; the panel uses as many, and at most `MOST`.
        settings: the run's.
        vocabulary: the run's keywords, or None.
        keyword_template: the prompt around each keyword, with `{}` for the keyword.
        preprocess: open_clip's validation transform.
        tokenizer: texts → tokens.
        device: where the model is.
        precision: as open_clip's `--precision`.
        batch_size: pictures in a forward pass, at most.
    """

    paired: ShardList
    unpaired: ShardList
    pairs: int
    images: int
    settings: LossSettings
    vocabulary: Vocabulary | None
    keyword_template: str
    preprocess: Preprocess
    tokenizer: Tokenizer
    device: str | torch.device
    precision: str
    batch_size: int
    _samples: tuple[list[Picture], list[Picture]] | None = field(default=None, init=False)
    _broken: bool = field(default=False, init=False)

    def draw(self, model: nn.Module, epoch: int) -> np.ndarray | None:
        """uint8 (height, width, 3) after `epoch` epochs; None where no sample can be read, which is logged once."""
        from sclip_plugin.inspection import panel  # matplotlib, which a run without TensorBoard does not need

        samples = self._read()
        if samples is None:
            return None
        pairs, unpaired = samples
        model = getattr(model, "_orig_mod", model)
        labelled, figures = label_images(
            Encoder(model, self.tokenizer, self.device, self.precision),
            self.preprocess,
            pairs,
            unpaired,
            settings=self.settings,
            vocabulary=self.vocabulary,
            keyword_template=self.keyword_template,
            shown=SHOWN,
            batch_size=max(1, min(self.batch_size, MOST)),
        )
        sizes = f"{len(pairs)} pairs, {len(unpaired)} unpaired images"
        title = f"after epoch {epoch}: {self.settings.pseudo_label}, {sizes}"
        return panel.pixels(panel.draw(labelled, title, figures))

    def _read(self) -> tuple[list[Picture], list[Picture]] | None:
        """The pairs and unpaired images of all epochs, read once."""
        if self._samples is None and not self._broken:
            try:
                self._samples = (
                    read_pictures(self.paired, min(MOST, self.pairs), paired=True),
                    read_pictures(self.unpaired, min(MOST, self.images), paired=False),
                )
            except DataError as error:
                self._broken = True
                logging.warning(f"sclip_plugin: no image panel: {error}")
        return self._samples
