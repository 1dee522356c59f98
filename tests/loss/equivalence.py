"""W processes against one: a real open_clip model under DDP through the host's own `train_one_epoch`, every parameter.

    python -m tests.loss.equivalence                 # the table of docs/scaling.md

Ends with 1 where a difference exceeds LIMITS. Differences are relative to the largest entry of what is expected.
Every rank and every micro-batch holds other data. The expected loss is one process's on the concatenated batch; the
expected gradients are that process's with gather-with-grad, else a transcription of stock's convention (reference.py
over features whose rows carry gradient where stock's gathering leaves it).

Legend: W ranks, A micro-batches per step, B pairs and U unpaired images per rank and micro-batch, K keywords.
"""

import argparse
import itertools
import sys
import tempfile
from dataclasses import dataclass, replace
from types import SimpleNamespace

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from tests.loss.cases import relative
from tests.loss.reference import Columns, reference_loss

B, U, K = 3, 4, 5  # K: no multiple of a world size above 1, and with 4 ranks the last shard is padding only
CONTEXT, WORDS = 8, 32
LIMITS = {"float64": 1e-9, "float32": 1e-5}


@dataclass(frozen=True)
class Case:
    """One training step of the job."""

    world_size: int
    local_loss: bool
    gather_with_grad: bool
    accum: int
    dtype: str

    def __str__(self):
        mode = "local" if self.local_loss else "gathered"
        gradient = "with-grad" if self.gather_with_grad else "stock-grad"
        return f"W{self.world_size}-{mode}-{gradient}-A{self.accum}-{self.dtype}"


def cases(world_size, dtypes=tuple(LIMITS)):
    """The grid at one world size."""
    grid = itertools.product((False, True), (False, True), (1, 2), dtypes)
    return [Case(world_size, *settings) for settings in grid]


def make_model(dtype):
    """A tiny open_clip CLIP, the same on every rank."""
    from open_clip.model import CLIP

    torch.manual_seed(5)
    vision = {"image_size": 8, "patch_size": 4, "width": 16, "head_width": 8, "layers": 1}
    text = {"context_length": CONTEXT, "vocab_size": WORDS, "width": 16, "heads": 2, "layers": 1}
    return CLIP(embed_dim=12, vision_cfg=vision, text_cfg=text, output_dict=True).to(getattr(torch, dtype)).train()


def make_tokens(rows, generator):
    """(rows, CONTEXT) texts of different lengths; the end token is the highest, as open_clip's pooling expects."""
    tokens = torch.randint(1, WORDS - 1, (rows, CONTEXT), generator=generator)
    for row, length in enumerate(torch.randint(2, CONTEXT, (rows,), generator=generator).tolist()):
        tokens[row, length - 1], tokens[row, length:] = WORDS - 1, 0
    return tokens


def make_blocks(case):
    """A·W micro-batches (pixels of pairs, of unpaired images, tokens, candidates), rank by rank, and keyword tokens."""
    generator = torch.Generator().manual_seed(100 * case.world_size + case.accum)
    dtype = getattr(torch, case.dtype)

    def pixels(rows):
        return torch.randn(rows, 3, 8, 8, generator=generator, dtype=torch.float64).to(dtype)

    blocks = [
        (pixels(B), pixels(U), make_tokens(B, generator), torch.rand(B, K, generator=generator) < 0.6)
        for _ in range(case.world_size * case.accum)
    ]
    return blocks, make_tokens(K, generator)


class Batches(list):
    """A loader as the host's loop knows it."""

    @property
    def num_batches(self):
        return len(self)

    num_samples = B


class KeptGradients(torch.optim.Optimizer):
    """An optimizer whose step keeps the gradients and changes nothing."""

    def __init__(self, model):
        super().__init__(model.parameters(), {"lr": 0.0})
        self.model, self.kept = model, {}

    def step(self, closure=None):
        self.kept = {
            name.removeprefix("module."): parameter.grad.clone()
            for name, parameter in self.model.named_parameters()
            if parameter.grad is not None
        }


def step(case, blocks, keyword_tokens, rank=0, world_size=1, accum=1):
    """One step of the host's loop on this rank: the mean of the loss over its calls, and the gradients."""
    from open_clip_train.train import train_one_epoch

    from sclip_plugin import SClipLoss
    from sclip_plugin.data.batch import MixedImages, MixedTexts
    from sclip_plugin.training.model import adapt

    model = adapt(make_model(case.dtype), keyword_tokens, rank, world_size, accum)
    if world_size > 1:
        model = DistributedDataParallel(model)
    loss = SClipLoss(case.local_loss, case.gather_with_grad, True, rank, world_size)
    values = []
    loss.register_forward_hook(lambda _module, _inputs, terms: values.append(sum(terms.values()).detach()))
    batches = Batches((MixedImages(torch.cat([p, u]), len(p)), MixedTexts(t, c)) for p, u, t, c in blocks)
    data = {"train": SimpleNamespace(dataloader=batches, set_epoch=lambda epoch: None)}
    args = SimpleNamespace(
        device="cpu",
        precision="fp32",
        distill=False,
        accum_freq=accum,
        skip_scheduler=True,
        grad_clip_norm=None,
        horovod=False,
        log_every_n_steps=10,
        rank=1,  # the host logs on rank 0
        local_rank=1,
        log_local=False,
        world_size=world_size,
    )
    optimizer = KeptGradients(model)
    train_one_epoch(model, data, loss, 0, optimizer, None, None, None, args)
    assert len(values) == accum
    return torch.stack(values).mean(), optimizer.kept


def run_cases(rank, world_size):
    """{case: (loss, gradients)} of every case of a world size, the same on each rank."""
    results = {}
    for case in cases(world_size):
        blocks, keyword_tokens = make_blocks(case)
        own = blocks[rank * case.accum : (rank + 1) * case.accum]
        value, grads = step(case, own, keyword_tokens, rank, world_size, case.accum)
        if world_size > 1:
            dist.all_reduce(value)
        results[str(case)] = (value / world_size, grads)
    return results


def run_rank(rank, world_size, folder):
    """Entry point of one process; the first writes the results to `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    results = run_cases(rank, world_size)
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()


def launch(world_size):
    """`run_cases` from that many processes."""
    if world_size == 1:
        return run_cases(0, 1)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(run_rank, (world_size, folder), nprocs=world_size)
        return torch.load(f"{folder}/results.pt")


def concatenated(blocks):
    return [tuple(torch.cat(parts) for parts in zip(*blocks))]


def transcribed_gradients(case):
    """Gradients after DDP's averaging by stock's convention without gather-with-grad."""
    blocks, keyword_tokens = make_blocks(case)
    pixels, unpaired, tokens, candidates = concatenated(blocks)[0]
    model = make_model(case.dtype)
    paired = model(pixels, tokens)
    features = {
        "images": paired["image_features"],
        "texts": paired["text_features"],
        "unpaired": model(unpaired)["image_features"],
        "keywords": model(None, keyword_tokens)["text_features"],
    }
    rest = {"s": paired["logit_scale"], "candidates": candidates}
    if case.world_size == 1:
        total = sum(reference_loss(**features, **rest).values())
    elif case.local_loss:  # a rank's rows carry gradient, the columns none
        columns = Columns(*(features[name].detach() for name in ("images", "texts", "unpaired")))
        total = sum(reference_loss(**features, **rest, columns=columns).values())
    else:  # each rank has the global loss, in which its own rows carry gradient
        total = sum(
            sum(reference_loss(**own_rows(features, rank, case.world_size), **rest).values()) / case.world_size
            for rank in range(case.world_size)
        )
    total.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def own_rows(features, rank, world_size):
    """The features with gradient in one rank's rows only."""
    found = {}
    for name, tensor in features.items():
        size = -(-len(tensor) // world_size)
        own = torch.arange(len(tensor)).div(size, rounding_mode="floor") == rank
        found[name] = torch.where(own[:, None], tensor, tensor.detach())
    return found


def differences(case, result):
    """(loss, worst gradient, its parameter's name): differences relative to the largest entry of what is expected."""
    blocks, keyword_tokens = make_blocks(case)
    loss, grads = step(Case(1, False, False, 1, case.dtype), concatenated(blocks), keyword_tokens)
    if not case.gather_with_grad:
        grads = transcribed_gradients(case)
    assert set(result[1]) == set(grads)
    worst = max((relative(result[1][name], grad), name) for name, grad in grads.items())
    return relative(result[0], loss), *worst


def row(case, results):
    """A table row of a case's settings: differences by dtype, and whether all are within their limits."""
    cells, sound = [], True
    for dtype in LIMITS:
        one = replace(case, dtype=dtype)
        loss, gradient, _ = differences(one, results[str(one)])
        cells += [f"{loss:.0e}", f"{gradient:.0e}"]
        sound = sound and max(loss, gradient) <= LIMITS[dtype]
    mode, grad = "local" if case.local_loss else "gathered", "yes" if case.gather_with_grad else "no"
    return f"| {case.world_size} | {mode} | {grad} | {case.accum} | " + " | ".join(cells) + " |", sound


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 4], metavar="W")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| W | mode | gather-with-grad | accum | float64: loss | gradient | float32: loss | gradient |")
    print("|---|---|---|---|---|---|---|---|")
    all_sound = True
    for world_size in arguments.worlds:
        results = launch(world_size)
        for case in cases(world_size, ["float64"]):
            line, sound = row(case, results)
            all_sound = all_sound and sound
            print(line + ("" if sound else "  <- over the limit"), flush=True)
    return 0 if all_sound else 1


if __name__ == "__main__":
    sys.exit(main())
