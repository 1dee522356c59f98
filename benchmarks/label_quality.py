"""How often pseudo-labels are right, measured where the hidden captions are known.

    python benchmarks/label_quality.py --shards OUT/shards --captions OUT/icons/captions.csv \\
        --model local-dir:OUT/start --pretrained OUT/runs/RUN/checkpoints/epoch_38.pt --keywords OUT/keywords.txt

Random batches of B pairs and as many unpaired images are labelled. What is printed is, in percent of the unpaired
images, those for which any caption of the batch shares a word with their own hidden captions (the most that the caption
level can get right), those whose heaviest pseudo-caption does, the same for the theme, and how many of the candidate
keywords are in the hidden captions. Beside each stands what a random pair would give.
"""

import argparse
import csv
import json
import random
from collections import Counter, defaultdict

import torch

from sclip_plugin.data.samples import read_samples
from sclip_plugin.data.shard_list import expand
from sclip_plugin.evaluation.features import Encoder
from sclip_plugin.evaluation.models import load_model
from sclip_plugin.inspection.labels import encode_pictures
from sclip_plugin.inspection.pictures import Picture
from sclip_plugin.keywords import Vocabulary, words
from sclip_plugin.loss.pseudo_labels import pseudo_labels

STYLE = {"outline", "off", "variant", "box", "circle", "plus", "minus", "multiple", "alert", "a", "of", "and", "the"}


def read(folder, truth):
    """(picture, its captions, its theme) of each sample in the shards of a folder."""
    found = []
    for url in expand(folder, "--shards").urls:
        for _, members in read_samples(url, 0, None, Counter()):
            about = json.loads(members["json"])
            captions, theme = truth[about["source"]]
            found.append((Picture(members["png"]), captions, theme))
    return found


def content(captions):
    """The words of captions that say what an icon is, not how it is drawn."""
    return {word for caption in captions for word in words(caption) if not word.isdigit()} - STYLE


def measure(pairs, unpaired, features, vocabulary, scale, batch, rounds, choice):
    """Counts over random batches.

    What begins with `heaviest` is of the pair that the plan weighs most, what begins with `random` of a pair by chance.
    """
    rng, total = random.Random(0), Counter()
    for _ in range(rounds):
        i = rng.sample(range(len(pairs)), min(batch, len(pairs)))
        u = rng.sample(range(len(unpaired)), min(batch, len(unpaired)))
        plan = pseudo_labels(choice, features["unpaired"][u], features["pairs"][i], scale)
        for row, image in enumerate(u):
            _, own, theme = unpaired[image]
            top = i[int(plan[row].argmax())]
            other = rng.choice(i)
            mine = content(own)
            total["images"] += 1
            total["any caption shares a word"] += any(mine & content(pairs[j][1]) for j in i)
            for name, j in (("heaviest", top), ("random", other)):
                total[f"{name}: shares a word"] += bool(mine & content(pairs[j][1]))
                total[f"{name}: same theme"] += bool(theme) and pairs[j][2] == theme
                candidates = vocabulary.indices(rng.choice(pairs[j][1]))
                total[f"{name}: has candidates"] += bool(candidates)
                total[f"{name}: candidates"] += len(candidates)
                right = {k for caption in own for k in vocabulary.indices(caption)}
                total[f"{name}: right candidates"] += len(right & set(candidates))
    return total


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", required=True, help="folder with paired/ and unpaired/")
    parser.add_argument("--captions", required=True, help="table with the columns filepath, caption, label")
    parser.add_argument("--model", required=True, help="as `sclip eval` takes it")
    parser.add_argument("--pretrained", help="as `sclip eval` takes it")
    parser.add_argument("--keywords", required=True, help="keyword file of the run")
    parser.add_argument("--batches", default="32,128,512", help="values of B (default: 32,128,512)")
    parser.add_argument("--choices", default="ot-image", help="pseudo-label rules (default: ot-image)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    truth = defaultdict(lambda: ([], None))
    with open(args.captions, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            captions, _ = truth[row["filepath"]]
            truth[row["filepath"]] = ([*captions, row["caption"]], row["label"])
    model, preprocess, tokenizer = load_model(args.model, args.pretrained, "cpu", "fp32")
    encoder = Encoder(model, tokenizer)
    folders = {"pairs": "paired", "unpaired": "unpaired"}
    parts = {name: read(f"{args.shards}/{folder}", truth) for name, folder in folders.items()}
    pictures = {name: [one[0] for one in part] for name, part in parts.items()}
    features = {name: encode_pictures(encoder, preprocess, part, 256) for name, part in pictures.items()}
    vocabulary = Vocabulary.load(args.keywords)
    scale = encoder.scale()
    for choice in args.choices.split(","):
        for batch in (int(text) for text in args.batches.split(",")):
            found = measure(*parts.values(), features, vocabulary, scale, batch, max(2, 2000 // batch), choice)
            print(f"\n{choice}, {min(batch, len(parts['pairs']))} pairs")
            show(found)


def show(found: Counter) -> None:
    """Print the counts as shares of the images."""
    print(f"  any caption of the batch shares a word: {found['any caption shares a word'] / found['images']:.1%}")
    for name in ("heaviest", "random"):
        asked = ("shares a word", "same theme", "has candidates")
        shown = ", ".join(f"{what} {found[f'{name}: {what}'] / found['images']:.1%}" for what in asked)
        right = found[f"{name}: right candidates"] / max(1, found[f"{name}: candidates"])
        print(f"  {name:9}{shown}, candidates that are right {right:.1%}")


if __name__ == "__main__":
    main()
