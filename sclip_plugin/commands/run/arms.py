"""The arms that `sclip run` may train, and what they are called."""

from typing import Final

ARMS: Final = {  # the name of each arm, and what tables call it
    "supervised": "supervised",
    "trusted": "trusted recipe",
    "trusted-captions": "trusted recipe, without keywords",
    "pair-keywords": "keywords on pairs, no unpaired images",
    "published": "S-CLIP, as published",
}
DEFAULT_ARMS: Final = ("supervised", "trusted")  # the baseline, and the recipe that our studies favour
WITHOUT_KEYWORDS: Final = "trusted-captions"  # trained too where the check-up doubts the keywords
KEYWORDS_OF: Final = ("trusted", "pair-keywords", "published")  # the arms that need a keyword file
