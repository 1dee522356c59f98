"""`tools/alike.py`: which pictures look alike, and groups."""

import numpy as np
from PIL import Image, ImageDraw

from tools import alike


def circle(colour, radius=20):
    picture = Image.new("RGB", (64, 64), (255, 255, 255))
    ImageDraw.Draw(picture).ellipse((32 - radius, 32 - radius, 32 + radius, 32 + radius), fill=colour)
    return picture


def prints(*pictures):
    return np.stack([alike.fingerprint(picture) for picture in pictures])


def test_a_changed_detail_is_alike_and_another_shape_or_colour_is_not():
    dotted = circle("blue")
    dotted.putpixel((32, 32), (0, 0, 0))
    found = prints(circle("blue"), circle("blue", 10), dotted, circle("red"))
    assert list(alike.pairs(found)) == [(0, 2)]


def test_pale_pictures_are_told_apart_as_dark_ones_are():
    found = prints(circle((250, 250, 250)), circle((250, 250, 250), 10), circle((250, 250, 249)))
    assert list(alike.pairs(found)) == [(0, 2)]


def test_pairs_are_those_of_a_plain_loop_over_more_pictures_than_a_block():
    drawn = np.random.default_rng(0).random((1100, 3), dtype=np.float32)
    norms = np.linalg.norm(drawn, axis=1)
    differ = np.linalg.norm(drawn[:, None] - drawn[None], axis=2)
    wanted = np.argwhere(np.triu(differ < 0.05 * np.maximum(norms[:, None], norms[None]), 1))
    assert len(wanted) > 100
    assert sorted(alike.pairs(drawn, 0.05)) == [tuple(pair) for pair in wanted.tolist()]


def test_groups_join_by_key_and_by_likeness_and_by_a_way_round():
    assert alike.groups(6, ["a", "b", "a", "c", "d", "e"], [(3, 2), (5, 4)]) == [0, 1, 0, 0, 4, 4]
    assert alike.groups(2, [("x", 1), ("x", 2)], []) == [0, 1]
