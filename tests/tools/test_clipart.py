"""`tools/benches/clipart.py`: classes, groups and splits of the clip-art bench, and one built from a small library."""

from collections import Counter

import pytest
from PIL import Image

from sclip_plugin.errors import UsageError
from tools.benches import clipart
from tools.openclipart import Drawing, Library


def picture(path, group="", folders=(), colour=(0, 0, 0), title="Owl", creator="Ann"):
    drawing = Drawing(path, title, "", (), creator, "")
    image = Image.new("RGB", (64, 64), (255, 255, 255))
    image.paste(colour, (8, 8, 40, 40))
    return clipart.Picture(drawing, image, set(folders), group)


@pytest.mark.parametrize(
    ("folders", "kind"),
    [
        (["animals/birds"], "bird"),
        (["animals/birds/penguin"], "bird"),
        (["animals/mammals/dogs"], "mammal"),
        (["animals"], ""),
        (["animals/fish"], ""),
        (["unsorted"], ""),
        (["transportation", "transportation/roadsigns"], "road sign"),
        (["food/fruit", "unsorted"], "fruit"),
        (["food/fruit", "animals"], "fruit"),
        (["animals/birds", "plants/flowers"], ""),
        (["food/fruit", "food/desserts", "food"], ""),
        (["recreation/holiday", "recreation/party"], "festive"),
        (["tools/weapons", "tools"], ""),
    ],
)
def test_the_class_is_that_of_the_longest_folder(folders, kind):
    assert clipart.class_of(folders) == kind


@pytest.mark.parametrize(
    ("name", "common"),
    [
        ("arrow down blue", "arrow"),
        ("led rectangular h black", "led rectangular"),
        ("star 94pt35step", "star ptstep"),
        ("sortie 4", "sortie"),
        ("8 ball", "ball"),
        ("red", "red"),
        ("ace of spades", "ace of spades"),
    ],
)
def test_series_have_a_name_in_common(name, common):
    assert clipart.series(name) == common


def test_splits_are_decided_by_the_group_alone_and_have_their_shares():
    counts = Counter(clipart.split_of(f"animals/owl_{number}") for number in range(4000))
    assert counts["test"] / 4000 == pytest.approx(0.2, abs=0.02)
    assert counts["val"] / 4000 == pytest.approx(0.1, abs=0.02)
    assert clipart.split_of("animals/owl_1") == clipart.split_of("animals/owl_1")


def test_pictures_of_a_series_and_pictures_alike_are_one_group():
    pictures = [
        picture("a/owl1.svg", colour=(200, 0, 0), title="Red owl"),
        picture("a/owl2.svg", colour=(0, 0, 200), title="Blue owl"),
        picture("b/eule.svg", colour=(0, 0, 201), title="Eule", creator="Bea"),
        picture("c/owl3.svg", colour=(0, 200, 0), title="Green owl", creator="Bea"),
    ]
    clipart.group_all(pictures, Library.of(one.drawing for one in pictures))
    assert [one.group for one in pictures] == ["a/owl1", "a/owl1", "a/owl1", "c/owl3"]


def test_a_large_group_is_thinned_out_by_chance_but_always_the_same():
    pictures = [picture(f"stars/{number:02}.svg", "stars/00") for number in range(30)]
    kept = clipart.thin_out([*pictures, picture("owl.svg", "owl")], 5)
    paths = [one.drawing.path for one in kept]
    assert len(paths) == 6
    assert paths == sorted(paths)
    assert paths[1:] != [f"stars/{number:02}.svg" for number in range(5)]
    assert [one.drawing.path for one in clipart.thin_out(reversed(pictures), 5)] == paths[1:]


def test_a_class_of_few_pictures_is_none():
    pictures = [picture(f"{number}.svg", folders=[folder]) for number, folder in enumerate(3 * ["tools"] + ["plants"])]
    assert clipart.labels(pictures, 2) == ["tool", "tool", "tool", ""]


def svg(title, shape, licence="PublicDomain"):
    return f"""<svg xmlns="http://www.w3.org/2000/svg" xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
 xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/" width="210mm" height="297mm">
<metadata><rdf:RDF><cc:Work><dc:title>{title}</dc:title><dc:creator><cc:Agent><dc:title>Ann</dc:title></cc:Agent>
</dc:creator><cc:license rdf:resource="{licence}"/></cc:Work></rdf:RDF></metadata>{shape}</svg>"""


def test_a_small_library_is_drawn_and_what_is_left_out_is_counted(tmp_path, monkeypatch):
    pytest.importorskip("resvg_py")
    monkeypatch.setattr(clipart, "LEAST", 1)
    tree, owl = '<rect x="99" y="99" width="400" height="900"/>', '<circle cx="350" cy="350" r="200" fill="red"/>'
    files = {
        "plants/tree_01.svg": svg("Tree", tree),
        "plants/trees/oak_01.svg": svg("Oak", tree),
        "animals/birds/owl_01.svg": svg("Owl", owl),
        "unsorted/empty.svg": svg("Empty", ""),
        "unsorted/01.svg": svg("", owl),
        "unsorted/pale.svg": svg("Pale", '<rect x="9" y="9" width="300" height="9" fill="#f0f0f0"/>'),
        "tools/axe.svg": svg("Axe", tree, "GPL"),
    }
    for path, text in files.items():
        (tmp_path / "in" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / path).write_text(text)
    (tmp_path / "in" / "tools" / "owl_02.svg").symlink_to("../animals/birds/owl_01.svg")
    rows, skipped = clipart.build(tmp_path / "in", tmp_path / "out")
    assert [row[:3] for row in rows] == [
        ("images/animals/birds/owl_01.png", "owl", ""),  # a bird and a tool
        ("images/plants/tree_01.png", "tree", "plant"),
    ]
    assert {reason: number for reason, number in skipped.items() if number} == {
        "another licence": 1,
        "no words": 1,
        "nothing is drawn": 1,
        "nearly blank": 1,
        "the same picture as another": 1,
    }
    with Image.open(tmp_path / "out" / rows[0][0]) as drawn:
        assert drawn.size == (64, 64)
        assert drawn.getpixel((32, 32)) == (255, 0, 0)
        assert drawn.getpixel((1, 1)) == (255, 255, 255)


def test_a_folder_that_exists_is_refused(tmp_path):
    with pytest.raises(UsageError, match="it exists already; remove it to build it again"):
        clipart.make(tmp_path, tmp_path)
