"""What each process of test_ranks.py runs: the loss on its part of the batch, observed."""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from sclip_plugin import SClipLoss
from sclip_plugin.diagnostics.recorder import Recorder
from sclip_plugin.diagnostics.signs import Signs


def whole_batch():
    """Arguments of SClipLoss for the whole job: 8 pairs, 6 unpaired images, 4 keywords; every sample differs."""
    generator = torch.Generator().manual_seed(5)
    images, texts, unpaired, keywords = (
        F.normalize(torch.randn(n, 7, generator=generator), dim=1) for n in (8, 8, 6, 4)
    )
    candidates = torch.rand(8, 4, generator=generator) > 0.6
    return images, texts, torch.tensor(9.0), None, unpaired, keywords, candidates


def observed(inputs, rank, world_size, local_loss):
    """The figures that this rank writes."""
    written = []
    loss = SClipLoss(local_loss, False, True, rank, world_size, pseudo_label="soft-image")
    loss.observer = Recorder(
        Signs("soft-image", "abcd"), steps=1, every=1, rank=rank, world_size=world_size if local_loss else 1
    )
    loss.observer.start_epoch(0, [lambda values, step: written.append(values)])
    loss(*inputs)
    return written


def run_rank(rank, world_size, folder):
    """Entry point of one process; each writes what it recorded."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    own = [x if x is None or x.ndim == 0 else x.chunk(world_size)[rank] for x in whole_batch()]
    found = {mode: observed(own, rank, world_size, mode == "local") for mode in ("local", "gathered")}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
