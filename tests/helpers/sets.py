"""Hand-made evaluation sets in CLIP_benchmark's layout."""

from pathlib import Path

from tests.helpers.shards import WORDS, picture, write_tar


def write_retrieval_set(folder: Path, count: int, first: int = 0) -> Path:
    """CLIP_benchmark's layout, two captions an image."""
    members = []
    for i in range(first, first + count):
        captions = f"a {WORDS[i % len(WORDS)]} number {i}\nanother {WORDS[i % len(WORDS)]}"
        members += [(f"v{i}.png", picture(i)), (f"v{i}.txt", captions.encode())]
    return _write_set(folder, "retrieval", members)


def write_classification_set(folder: Path, count: int, classes=("tree", "river")) -> Path:
    """CLIP_benchmark's layout; fewer than five classes."""
    members = []
    for i in range(count):
        members += [(f"c{i}.png", picture(i)), (f"c{i}.cls", str(i % len(classes)).encode())]
    (folder / "test").mkdir(parents=True)
    (folder / "classnames.txt").write_text("\n".join(classes))
    (folder / "zeroshot_classification_templates.txt").write_text("a photo of {c}.")
    return _write_set(folder, "zeroshot_classification", members)


def _write_set(folder: Path, kind: str, members) -> Path:
    write_tar(folder / "test" / "0.tar", members)
    (folder / "test" / "nshards.txt").write_text("1")
    (folder / "dataset_type.txt").write_text(kind)
    return folder
