"""`tools/openclipart.py`: names and captions from the metadata of clip art."""

import pytest

from tools import openclipart
from tools.openclipart import Drawing, Library

SVG = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><rdf:RDF><cc:Work>
<dc:title>Metal Cage</dc:title><dc:description>A standard cage. Second sentence.</dc:description>
<dc:subject><rdf:Bag><rdf:li>zoo</rdf:li><rdf:li></rdf:li><rdf:li>hash</rdf:li></rdf:Bag></dc:subject>
<dc:publisher><cc:Agent><dc:title>Open Clip Art Library</dc:title></cc:Agent></dc:publisher>
<dc:creator><cc:Agent><dc:title>Ann Onym [ann@example.org]</dc:title></cc:Agent></dc:creator>
<cc:license rdf:resource="http://web.resource.org/cc/PublicDomain"/></cc:Work></rdf:RDF></metadata></svg>"""


def drawing(path="animals/owl_01.svg", title="Owl", description="", keywords=(), creator="Ann Onym", licence=""):
    return Drawing(path, title, description, tuple(keywords), creator, licence)


def test_metadata_are_read_from_an_svg(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "cage.svg").write_text(SVG)
    found = openclipart.read(tmp_path / "tools" / "cage.svg", tmp_path)
    assert (found.path, found.folder, found.title) == ("tools/cage.svg", "tools", "Metal Cage")
    assert (found.creator, found.designer) == ("Ann Onym [ann@example.org]", "Ann Onym")
    assert openclipart.keywords(found) == ["zoo"]
    assert found.public
    assert Library.of([found]).captions(found) == ["metal cage", "metal cage: zoo", "a standard cage"]


@pytest.mark.parametrize(
    ("licence", "public"),
    [("", True), ("http://web.resource.org/cc/PublicDomain", True), ("Public Domain", True), ("x/GPL/2.0/", False)],
)
def test_another_licence_than_the_public_domain_is_seen(licence, public):
    assert drawing(licence=licence).public is public


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("Crawfish (B and W)", "crawfish black and white"),
        ("Flat_Cake_bw", "flat cake black and white"),
        ("arrow-down-blue", "arrow down blue"),
        ("StopSign", "stop sign"),
        ("Rana03", "rana"),
        ("BlueMan#101", "blue man"),
        ("mp3 player", "mp3 player"),
        ("8 ball", "8 ball"),
        ("signal flag 5", "signal flag 5"),
        ("Traffic Light: Red", "traffic light, red"),
        ("France - Nivernais", "france, nivernais"),
        ("Clipart by Chris Hilker - United States - Alaska", "united states, alaska"),
        ("HASH(0x8a0a390) 0x9c7e034", ""),
        ("mail ann@example.org or see http://example.org", "mail or see"),
    ],
)
def test_titles_become_words(typed, text):
    assert openclipart.tidy(typed) == text


@pytest.mark.parametrize(
    ("typed", "text"), [("L&Atilde;&copy;zard", "Lézard"), ("Bär", "Bär"), ("a &amp;lt; b", "a < b")]
)
def test_mangled_letters_are_restored(typed, text):
    assert openclipart.unmangled(typed) == text


@pytest.mark.parametrize(
    ("path", "creator", "name"),
    [
        ("tools/metal_cage_kurt_nordstro_.svg", "Kurt Nordstrom", "metal cage"),
        ("animals/dog_head_nicu_buculei_02.svg", "Nicu Buculei", "dog head"),
        ("computer/button1_fudriot_omic.ch_01.svg", "fudriot@omic.ch", "button"),
        ("shapes/arrow1-2.svg", "Jakob", "arrow"),
        ("icons/spellcheck_selected.svg", "Danny Allen", "spellcheck selected"),
        ("cards/white_h_a.svg", "Nicu Buculei", "ace of hearts"),
        ("cards/simple_c_10.svg", "Nicu Buculei", "10 of clubs"),
        ("people/ralf_01.svg", "ralf", ""),
    ],
)
def test_file_names_lose_creator_and_numbers(path, creator, name):
    assert openclipart.name_of_file(path, creator) == name


def test_a_collections_title_gives_way_to_the_files_name():
    icons = [drawing(f"icons/{name}.svg", "Flat Theme") for name in ("zebra", "yak", *"abcdefgh")]
    library = Library.of([*icons, drawing("owl_01.svg", "Owl at night")])
    assert library.name(icons[0]) == "zebra"
    assert library.name(icons[2]) == ""
    assert library.name(drawing("owl_01.svg", "Owl at night")) == "owl at night"


def test_a_collections_title_stays_where_the_files_name_says_nothing():
    men = [drawing(f"people/sm_{number:03}.svg", "stick man") for number in range(12)]
    assert Library.of(men).name(men[0]) == "stick man"


def test_a_title_with_its_date_is_the_collections():
    icons = [
        drawing(f"icons/{name}x.svg", f"Icons (Wed Aug 25 23:29:0{n} 2004)") for n, name in enumerate(10 * ["yak"])
    ]
    assert Library.of(icons).name(icons[0]) == "yakx"


def test_a_title_that_repeats_what_clipart_by_says_is_a_mistake():
    pair = [drawing("books/crayon.svg", "Clipart by A - book_01"), drawing("books/book.svg", "Clipart by A - book_01")]
    assert Library.of(pair).name(pair[0]) == "crayon"
    assert Library.of(pair[1:]).name(pair[1]) == "book"


def test_captions_are_name_common_keywords_description_and_rare_keywords():
    owl = drawing(
        description="An owl sits.\nMade by me", keywords=["Owl", "birds_of_prey", "animal", "animal", "night"]
    )
    others = [drawing(title=f"Nr. {n}x", keywords=["animal"] if n < 20 else ["night"]) for n in range(25)]
    assert Library.of([owl, *others]).captions(owl) == [
        "owl",
        "owl: animal, night, birds of prey",
        "an owl sits",
        "animal, night, birds of prey, owl",
    ]


@pytest.mark.parametrize(
    "description",
    ["Created with Inkscape", "ann@example.org", "HASH(0x8a0a390)", "Owl", "word " * 21, "<b>http://example.org</b>"],
)
def test_descriptions_without_words_of_their_own_make_no_caption(description):
    owl = drawing(description=description)
    assert Library.of([owl]).captions(owl) == ["owl"]


def test_a_description_of_many_drawings_makes_no_caption():
    many = [drawing(f"{n}.svg", f"Owl {n}", "Part of my owls") for n in range(10)]
    assert Library.of(many).captions(many[3]) == ["owl 3"]


def test_keywords_are_spelt_out_and_without_junk():
    typed = [
        "mapsym",
        "hash(0x8a0a390)",
        "11",
        "unsorted",
        "Ann Onym",
        "collanttuttonudocuciturepiattetassello",
        "a, cat",
    ]
    assert openclipart.keywords(drawing(keywords=typed)) == ["map symbol", "cat"]
