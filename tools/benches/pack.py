"""Pack the emoji bench and its start model into the archives that the demo carries.

    python -m tools.benches.emoji --out build/emoji
    python -m tools.start_model.colour --bench build/emoji --out build/emoji-start
    python -m tools.benches.pack --bench build/emoji --start build/emoji-start

Writes `emoji.zip` (pictures as lossless WebP, which is half the size of PNG, captions.csv, classes.txt, NOTICE.txt) and
`emoji-start.zip` (configuration, fp16 weights, NOTICE.txt). The same input gives the same bytes.
"""

import argparse
import csv
import io
import zipfile
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from sclip_plugin.commands.demo import embedded

WHEN = (2020, 1, 1, 0, 0, 0)  # one date for all members


def webp(path: Path) -> bytes:
    """The picture as lossless WebP."""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.convert("RGB").save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def table(path: Path) -> bytes:
    """A bench's captions.csv whose pictures end in `.webp`."""
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([Path(row[0]).with_suffix(".webp").as_posix(), *row[1:]] for row in rows)
    return buffer.getvalue().encode()


def pack_bench(bench: Path, archive: Path) -> None:
    """Write the archive of a bench.

    Args:
        bench: what `tools.benches.emoji` wrote.
        archive: the file to write.
    """
    with zipfile.ZipFile(archive, "w") as target:
        texts = {"captions.csv": table(bench / "captions.csv")}
        texts |= {name: (bench / name).read_bytes() for name in ("classes.txt", "NOTICE.txt")}
        for name, data in texts.items():
            target.writestr(zipfile.ZipInfo(name, WHEN), data, zipfile.ZIP_LZMA)
        for path in tqdm(sorted((bench / "images").glob("*/*.png")), desc="pack", unit="picture", disable=None):
            name = path.relative_to(bench).with_suffix(".webp").as_posix()
            target.writestr(zipfile.ZipInfo(name, WHEN), webp(path), zipfile.ZIP_STORED)


def pack_model(folder: Path, archive: Path) -> None:
    """Write the archive of a start model's folder."""
    with zipfile.ZipFile(archive, "w") as target:
        for name in ("NOTICE.txt", "open_clip_config.json", "open_clip_model.safetensors"):
            target.writestr(zipfile.ZipInfo(name, WHEN), (folder / name).read_bytes(), zipfile.ZIP_LZMA)


def main() -> None:
    """Pack what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, metavar="DIR", help="what tools.benches.emoji wrote")
    parser.add_argument("--start", type=Path, required=True, metavar="DIR", help="what tools.start_model.colour wrote")
    parser.add_argument("--out", type=Path, default=embedded.FOLDER, metavar="DIR", help="default: the demo's folder")
    args = parser.parse_args()
    pack_bench(args.bench, args.out / embedded.EMOJI)
    pack_model(args.start, args.out / embedded.EMOJI_START)
    for name in (embedded.EMOJI, embedded.EMOJI_START):
        print(f"{args.out / name}: {(args.out / name).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
