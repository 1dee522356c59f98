"""Drawings of the Open Clip Art Library: what their metadata say, and captions made from it.

The metadata are what many people typed, and what machines made of it: titles that name a whole collection, file names
in the place of titles, keywords run together, and printed addresses of Perl's hashes (`HASH(0x8a0a390)`).
"""

import html
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

DC = "{http://purl.org/dc/elements/1.1/}"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
COLLECTION = 9  # a title that more drawings than this have names a collection
LONGEST = 20  # words of a caption
COMMON = 9  # a description that more drawings than this have says nothing of one of them

# what stands in place of words: addresses of hashes, of mail and of pages, tags
JUNK = re.compile(r"\bhash\b(\(0x\w+\))?|\b0x[0-9a-f]+\b|\S+@\S+|\bhttps?:\S+|\bwww\.\S+|<[^>]*>", re.IGNORECASE)
CLIPART_BY = re.compile(r"^clipart by .*? - ", re.IGNORECASE)  # of these titles, all but one copy is a mistake
NO_NAME = re.compile(r"^clipart by|theme|icon|clip ?art|symbol")  # titles of collections that name nothing
NUMBERING = re.compile(r"\s*(#\s*\d+|\bv?\d+\.\d+(\.\d+)*\b|\b0\d+\b|(?<=[^\W\d]{3})\d+)(?=[\s,-]|$)")
NO_KEYWORD = {"unsorted", "openclipart", "theme", "lemon theme icon", "special", "magick", "inkscape", "clipart"}
RESPELT = {  # keywords that the library's own librarians ran together or cut short, and plurals of common ones
    "action": "action icon",
    "animals": "animal",
    "appicon": "application icon",
    "application": "application icon",
    "arrowshape": "arrow",
    "bodypart": "body part",
    "bullethole": "bullet hole",
    "desserts": "dessert",
    "device": "device icon",
    "filesystem": "filesystem icon",
    "flags": "flag",
    "hardware": "computer hardware",
    "icecream": "ice cream",
    "icons": "icon",
    "latinamerica": "latin america",
    "mapsym": "map symbol",
    "mathsymbol": "mathematical symbol",
    "mime-types": "file type icon",
    "mimeicon": "file type icon",
    "mimetypes": "file type icon",
    "musicstuff": "music",
    "musicsym": "music",
    "networksym": "network symbol",
    "northamerica": "north america",
    "peacesymbol": "peace symbol",
    "religholiday": "religious holiday",
    "roadsign": "road sign",
    "roadtravel": "road travel",
    "airtravel": "air travel",
    "signalflag": "signal flag",
    "stars": "star",
    "stickmen": "stick man",
    "symbols": "symbol",
    "tools": "tool",
    "toys": "toy",
    "transport": "transportation",
    "unitedstates": "united states",
    "usholiday": "holiday",
    "vegitable": "vegetable",
    "weathersym": "weather",
}
SUITS = {"c": "clubs", "d": "diamonds", "h": "hearts", "s": "spades"}
RANKS = {"a": "ace", "k": "king", "q": "queen", "j": "jack"}


@dataclass(frozen=True)
class Drawing:
    """One drawing as its metadata describe it.

    Attributes:
        path: its file below the library's folder, `animals/birds/owl_01.svg` say.
        title: the title as it was typed; "" without one.
        description: the same of the description.
        keywords: the same of the keywords.
        creator: who drew it; some gave an address of mail.
        licence: the address of its licence; "" where it says none.
    """

    path: str
    title: str
    description: str
    keywords: tuple[str, ...]
    creator: str
    licence: str

    @property
    def folder(self) -> str:
        """Its folder below the library's, `animals/birds` say."""
        return self.path.rpartition("/")[0]

    @property
    def designer(self) -> str:
        """Its creator's name without addresses."""
        return re.sub(r"[\[(]?\S+@\S+|http\S+", "", self.creator).strip(" -")

    @property
    def public(self) -> bool:
        """False where it states a licence that is no dedication to the public domain; the library as a whole is."""
        return not self.licence or "publicdomain" in self.licence.lower().replace(" ", "")


def read(file: Path, root: Path) -> Drawing:
    """Read the metadata of an SVG file.

    Args:
        file: the drawing.
        root: the library's folder.

    Raises:
        xml.etree.ElementTree.ParseError: it is no XML.
    """
    works = [element for element in ET.parse(file).iter() if element.tag.endswith("}Work")]

    def texts(path: str) -> list[str]:
        return [unmangled(found.text or "").strip() for work in works for found in work.findall(path)]

    licences = [
        element.get(f"{RDF}resource") or "" for work in works for element in work if element.tag.endswith("}license")
    ]
    return Drawing(
        path=file.relative_to(root).as_posix(),
        title=next(iter(texts(f"{DC}title")), ""),
        description=next(iter(texts(f"{DC}description")), ""),
        keywords=tuple(texts(f"{DC}subject//{RDF}li")),
        creator=next(iter(texts(f"{DC}creator//{DC}title")), ""),
        licence=next((licence for licence in licences if licence), ""),
    )


def unmangled(text: str) -> str:
    """Text without HTML's entities, and without the traces of UTF-8 that was read as Latin-1."""
    text = html.unescape(html.unescape(text))
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def tidy(text: str) -> str:
    """Words as a caption has them: in small letters, with spaces between them, without junk and numbering."""
    text = JUNK.sub(" ", text)
    text = CLIPART_BY.sub("", text).replace("_", " ")
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z][a-z])", " ", text).lower()
    text = re.sub(r"\W*\bb (?:and|&) w\b\W*|\bbw\b", " black and white ", text)
    text = re.sub(r"(?<=\w\w)-+(?=\w)", " ", NUMBERING.sub(" ", text))
    text = re.sub(r"\s+[-|]+\s+|\s*:+\s|\s+,", ", ", re.sub(r"[()\[\]{}\"]", " ", text))
    text = re.sub(r"(?<!\w)-+|-+(?!\w)", " ", text)
    return re.sub(r"\s+", " ", text).strip(" .,;:-_!?#*'/")


def undated(title: str) -> str:
    """A title without the date that a program has put at its end in brackets, in small letters."""
    return re.sub(r"\s*\(\w{3} \w{3} \d+ [\d: ]+\)$", "", title.lower())


def worded(text: str, letters: int = 3) -> bool:
    """Whether there is a word of so many letters or more in it."""
    return re.search(rf"[^\W\d_]{{{letters}}}", text) is not None


def card(stem: str) -> str | None:
    """The name of a playing card, whose file name says suit and rank: `white_h_a` is the ace of hearts."""
    match = re.fullmatch(r"(?:bordered|ornamental|simple|white)_([cdhs])_([akqj]|\d+)", stem)
    return f"{RANKS.get(match[2], match[2])} of {SUITS[match[1]]}" if match else None


def name_of_file(path: str, creator: str) -> str:
    """What a file's name says of its drawing: without the creator's name, which mostly stands at its end, cut short.

    Args:
        path: the file, with folders or without.
        creator: who drew it.
    """
    stem = path.rpartition("/")[2].removesuffix(".svg")
    known = card(stem)
    if known:
        return known
    parts = [part for part in re.split(r"[\s_]+", stem) if part]
    while len(parts) > 1 and re.fullmatch(r"\d+[a-z]?|[a-z]", parts[-1]):
        parts.pop()
    whole = re.sub(r"[\W\d_]", "", creator.lower())
    for place in range(len(parts)):
        tail = re.sub(r"[\W\d_]", "", "".join(parts[place:]).lower())
        if len(tail) > 1 and whole.startswith(tail):
            parts = parts[:place]
            break
    return re.sub(r"(\s+-?\d+)+$", "", tidy(" ".join(parts)))


@dataclass(frozen=True)
class Library:
    """How often titles, descriptions and keywords occur; the captions of a drawing depend on it.

    Attributes:
        titles: {title as it was typed, without a date: drawings}.
        descriptions: {description as it was typed: drawings}.
        keywords: {tidy keyword: drawings}.
    """

    titles: Mapping[str, int]
    descriptions: Mapping[str, int]
    keywords: Mapping[str, int]

    @classmethod
    def of(cls, drawings: Iterable[Drawing]) -> "Library":
        """Count the words of all drawings."""
        drawings = list(drawings)
        return cls(
            Counter(undated(one.title) for one in drawings),
            Counter(one.description for one in drawings),
            Counter(word for one in drawings for word in keywords(one)),
        )

    def name(self, drawing: Drawing) -> str:
        """The drawing's title; its file's name where the title is missing or a collection's. May be empty."""
        title, named = tidy(drawing.title), name_of_file(drawing.path, drawing.creator)
        short = title if len(title.split()) <= 2 and not NO_NAME.search(drawing.title.lower()) else ""
        most = 1 if CLIPART_BY.match(drawing.title) else COLLECTION
        own = title if self.titles[undated(drawing.title)] <= most and len(title.split()) <= LONGEST else ""
        found = (text for letters in (3, 2) for text in (own, named, short) if worded(text, letters))
        return next(found, "")

    def captions(self, drawing: Drawing) -> list[str]:
        """Up to four different captions: name, name with common keywords, description, rare keywords.

        Args:
            drawing: one of the drawings that were counted.

        Returns:
            captions of at most `LONGEST` words; none where the metadata hold no word of use.
        """
        name = self.name(drawing)
        if not name:
            return []
        words = sorted(keywords(drawing), key=lambda word: (-self.keywords[word], word))
        fresh = [word for word in words if f" {word} " not in f" {name} "]
        found = [name]
        if fresh:
            found.append(f"{name}: {', '.join(fresh[:3])}")
        found.append(self.sentence(drawing))
        if len(words) > 2 and any(self.keywords[word] <= COMMON for word in words):
            found.append(", ".join(words[-5:]))
        short = [text for text in found if text and len(text.split()) <= LONGEST]
        return list(dict.fromkeys(short))

    def sentence(self, drawing: Drawing) -> str:
        """The first sentence of the description, where it is one of this drawing; "" where not."""
        if self.descriptions[drawing.description] > COMMON or re.search(
            r"creat\w+ (with|using)|made with|creative ?commons|contact:|public domain|submission|enjoy",
            drawing.description,
            re.IGNORECASE,
        ):
            return ""
        if "@" in drawing.description or JUNK.fullmatch(drawing.description):
            return ""
        first = re.split(r"(?<=[\w)])[.!?]+(?=\s|$)|\n", drawing.description)[0]
        return tidy(first) if worded(first) else ""


def keywords(drawing: Drawing) -> list[str]:
    """The keywords of a drawing, each once, without junk and its creator's name, in small letters."""
    found: dict[str, None] = {}
    for typed in drawing.keywords:
        for part in typed.split(","):
            word = RESPELT.get(part.strip().lower()) or tidy(part)
            if worded(word) and len(word) <= 24 and word not in NO_KEYWORD and word != drawing.creator.lower():
                found[word] = None
    return list(found)
