"""Images of a tar in a store are read together, and give what each gives by itself."""

import fsspec
import pytest

from sclip_plugin.shards import neighbours
from sclip_plugin.shards.locator import Locator, open_image
from sclip_plugin.storage import objects

DATA = bytes(range(256)) * 8


@pytest.fixture
def asked(monkeypatch):
    """The (start, stop) of each request for an object of `memory://`."""
    system, made, read = fsspec.filesystem("memory"), [], objects.read

    def noted(url, start=0, stop=None):
        made.append((start, stop))
        return read(url, start, stop)

    monkeypatch.setattr(objects, "read", noted)
    system.pipe_file("/near/a", DATA)
    system.pipe_file("/near/b", DATA)
    yield made
    system.store.clear()


def slices(name: str, *places: tuple[int, int]) -> list[Locator]:
    return [Locator("slice", f"memory://near/{name}", at, length) for at, length in places]


def read(places: list[Locator]) -> list[tuple[int, bytes, int, bytes]]:
    found = []
    for number, image in neighbours.open_images(enumerate(places)):
        with image.open() as file:
            found.append((number, image.read(), image.size, file.read()))
        assert image.locator == places[number]
    return found


@pytest.mark.parametrize(
    ("places", "requests"),
    [
        (slices("a", (10, 5), (40, 60), (200, 100)), [(10, 300)]),
        (slices("a", (10, 5), (900, 60), (1500, 5)), [(10, 960), (1500, 1505), (1500, 1505)]),  # 1000 bytes at most
        (slices("a", (10, 5)) + slices("b", (20, 5), (30, 5)), [(10, 15), (10, 15), (20, 35)]),
        (slices("a", (40, 5), (10, 5), (20, 5)), [(40, 45), (40, 45), (10, 25)]),  # never backwards
    ],
)
def test_one_request_for_many(asked, monkeypatch, places, requests):
    monkeypatch.setattr(neighbours, "RUN", 1000)
    expected = [DATA[place.offset : place.offset + place.length] for place in places]
    assert read(places) == [(number, data, len(data), data) for number, data in enumerate(expected)]
    assert asked == requests  # an image by itself is opened once and read once here


def test_files_of_the_disk_are_read_where_they_are(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    places = [Locator("slice", str(tmp_path / "a"), at, 10) for at in (0, 20)] + [Locator("file", str(tmp_path / "a"))]
    assert [image for _, image in neighbours.open_images(enumerate(places))] == [open_image(one) for one in places]


def test_each_image_is_told_by_its_own_fault(asked):
    images = dict(neighbours.open_images(enumerate(slices("missing", (0, 10), (20, 10)))))
    for number in (0, 1):
        with pytest.raises(OSError, match="missing"):
            images[number].read()
