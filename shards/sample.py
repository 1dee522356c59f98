"""One image of a data set with what a source says about it, and the tally of what was read and left out."""

from collections import Counter
from dataclasses import dataclass, field

from sclip_plugin.shards.locator import Image


@dataclass(slots=True)
class Sample:
    """One image and what a source says about it.

    A source may give an image several times: their captions are joined (see `index.SampleIndex.add`).

    source: name within the data set, `/`-separated. captions: as the source has them; empty for an image without
    text. label: class name. group: samples of one group never straddle a split. split: the source's own ("train",
    "val", "test", …), None where it has none. where: the place in the source, for messages. bare: the source only
    lists the image, and says nothing against what it says elsewhere. The rest is filled by the conversion: key in the
    shards, suffix of the image member, why the image must be re-encoded ("" = copied), size in bytes and fingerprint
    (`images.Verdict`).
    A reader of shards gives key and suffix itself; then the image is not looked at.
    """

    source: str
    image: Image
    captions: list[str] = field(default_factory=list)
    label: str | None = None
    group: str | None = None
    split: str | None = None
    where: str = ""
    bare: bool = False
    key: str = ""
    suffix: str = ""
    recode: str = ""
    size: int = 0
    fingerprint: bytes = b""


@dataclass
class Tally:
    """Counts of images and captions: read = written + the sum of skipped."""

    images: int = 0
    captions: int = 0
    skipped_images: Counter = field(default_factory=Counter)
    skipped_captions: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)  # things the user should see that leave nothing out

    def skip_image(self, reason: str, captions: int = 0) -> None:
        """An image that was read but cannot be used, with its captions."""
        self.images += 1
        self.skipped_images[reason] += 1
        self.skip_captions(f"{reason} (its image)" if captions else "", captions)

    def skip_captions(self, reason: str, number: int = 1) -> None:
        """Captions that were read but belong to no image."""
        if number:
            self.captions += number
            self.skipped_captions[reason] += number
