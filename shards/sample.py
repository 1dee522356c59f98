"""One image of a data set with what a source says about it, and the tally of what was read and left out."""

from collections import Counter
from dataclasses import dataclass, field

from sclip_plugin.shards.locator import StoredImage


@dataclass(slots=True)
class Sample:
    """One image and what a source says about it.

    A source may give an image several times; the captions are joined (`SampleIndex.add`). A reader fills the fields
    from `source` to `bare`, a conversion the others. A reader of shards gives `key` and `suffix` itself; then the image
    is not looked at.

    Attributes:
        source: name within the data set, separated by `/`.
        image: where its bytes are.
        captions: as the source has them; empty for an image without text.
        label: class name.
        group: samples of one group are never on two sides of a split.
        split: the source's own ("train", "val", "test", …); None where it has none.
        where: the place in the source, for messages.
        bare: whether the source only lists the image, and says nothing against what it says of it elsewhere.
        key: in the shards.
        suffix: of the image's member in a shard.
        recode: why the image must be re-encoded; "" where its bytes are copied.
        size: bytes.
        fingerprint: as of `images.Verdict`.
    """

    source: str
    image: StoredImage
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
    """What was read and what was left out: what was read is the sum of what is written and what is skipped.

    Attributes:
        images: images read.
        captions: captions read.
        skipped_images: images left out, by reason.
        skipped_captions: captions left out, by reason.
        notes: what the user should see although nothing was left out for it.
    """

    images: int = 0
    captions: int = 0
    skipped_images: Counter[str] = field(default_factory=Counter)
    skipped_captions: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Tally") -> None:
        """Count what another tally counts, too."""
        self.images += other.images
        self.captions += other.captions
        self.skipped_images += other.skipped_images
        self.skipped_captions += other.skipped_captions
        self.notes += other.notes

    def skip_image(self, reason: str, captions: int = 0) -> None:
        """Count an image that was read but cannot be used, and so many captions of it."""
        self.images += 1
        self.skipped_images[reason] += 1
        self.skip_captions(f"{reason} (its image)" if captions else "", captions)

    def skip_captions(self, reason: str, number: int = 1) -> None:
        """Count captions that were read but belong to no image."""
        if number:
            self.captions += number
            self.skipped_captions[reason] += number
