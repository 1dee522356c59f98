"""What each process of test_distributed.py runs: towers over its samples, the loss, gradients averaged over ranks.

Legend: W ranks, B pairs and U unpaired images per rank, K keywords in all, N raw width, D feature width.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F

from tests.loss.reference import KEYWORD_TARGETS, PSEUDO_LABELS, Settings

B, U, N, D = 3, 4, 6, 8


@dataclass(frozen=True)
class Case:
    """One run of the loss on all ranks."""

    settings: Settings
    K: int | None = 5
    local_loss: bool = False
    gather_with_grad: bool = True
    dtype: torch.dtype = torch.float64
    accumulation: int = 1
    unpaired: bool = True
    labels: bool = False  # of the unpaired images are known beforehand

    def __str__(self):
        mode = "local" if self.local_loss else "gathered"
        kind = f"{self.settings.pseudo_label}/{self.settings.keyword_targets}/{self.settings.sinkhorn_iterations}"
        gradient = "with-grad" if self.gather_with_grad else "stock-grad"
        own = f"-own{self.settings.pair_keyword_weight}{'' if self.unpaired else '-alone'}"
        own += f"-{self.settings.candidates}{'-labels' if self.labels else ''}"
        own += "" if self.settings.unpaired_negatives else "-no-negatives"
        return f"{mode}-{gradient}-{kind}-K{self.K}-A{self.accumulation}-{str(self.dtype)[6:]}{own}"


def all_cases():
    """Every pseudo-label in every mode, every keyword target, and K that W does not divide or exceeds."""
    cases = []
    for local_loss, gather_with_grad in itertools.product((False, True), repeat=2):
        mode = {"local_loss": local_loss, "gather_with_grad": gather_with_grad}
        cases += [Case(Settings(label), **mode) for label in PSEUDO_LABELS]
        cases += [Case(Settings(keyword_targets=kind), **mode) for kind in KEYWORD_TARGETS[1:]]
        cases += [Case(Settings(), K=K, **mode) for K in (1, 2, 6, 7, None)]
        cases += [Case(Settings(), accumulation=2, **mode), Case(Settings("ot-text"), K=1, accumulation=2, **mode)]
        cases += [Case(Settings(sinkhorn_iterations=0), **mode), Case(Settings("ot-text", 3, 0.2, 1.5, 0.3), **mode)]
        own = Settings(pair_keyword_weight=0.7)
        cases += [Case(own, K=K, accumulation=A, **mode) for K, A in ((5, 1), (2, 1), (5, 2))]
        cases += [Case(own, unpaired=False, K=K, accumulation=A, **mode) for K, A in ((5, 1), (7, 2))]
        cases += [Case(Settings(unpaired_negatives=False), **mode)]
        cases += [Case(own, labels=True, K=K, accumulation=A, **mode) for K, A in ((5, 1), (None, 2))]
        plan = Settings(candidates="plan", pair_keyword_weight=0.1)
        cases += [Case(plan, labels=labels, **mode) for labels in (False, True)]
        if gather_with_grad:
            cases += [Case(Settings(label), dtype=torch.float32, **mode) for label in PSEUDO_LABELS]
    return cases


def make_towers(dtype):
    """The parameters that all ranks share."""
    generator = torch.Generator().manual_seed(11)
    towers = {name: torch.randn(N, D, generator=generator, dtype=torch.float64) for name in ("image", "text")}
    towers["log_scale"] = torch.tensor(2.0, dtype=torch.float64)
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in towers.items()}


def make_raw(case, world_size):
    """Raw inputs of the whole job; every rank's samples differ."""
    generator = torch.Generator().manual_seed(sum(map(ord, str(case))) + world_size)
    rows = world_size * case.accumulation
    raw = {
        "images": torch.randn(rows * B, N, generator=generator, dtype=torch.float64),
        "texts": torch.randn(rows * B, N, generator=generator, dtype=torch.float64),
    }
    if case.unpaired:
        raw["unpaired"] = torch.randn(rows * U, N, generator=generator, dtype=torch.float64)
    if case.K:
        raw["keywords"] = torch.randn(case.K, N, generator=generator, dtype=torch.float64)
        raw["candidates"] = torch.rand(rows * B, case.K, generator=generator) < 0.6
    if case.labels:
        pairs = rows * B + 5  # of the whole set; not all of them are in the batch
        raw["pair_rows"] = torch.randperm(pairs, generator=generator)[: rows * B]
        raw["unpaired_nearest"] = torch.randint(pairs, (rows * U, 3), generator=generator)
        raw["unpaired_weights"] = torch.rand(rows * U, 3, generator=generator, dtype=torch.float64) / 3
        if case.K:
            raw["all_candidates"] = torch.rand(pairs, case.K, generator=generator) < 0.6
        raw["captions"] = F.normalize(torch.randn(pairs, D, generator=generator, dtype=torch.float64), dim=-1)
    return {name: tensor.to(case.dtype) if tensor.is_floating_point() else tensor for name, tensor in raw.items()}


def encode(towers, raw):
    """Features of raw inputs under SClipLoss.forward's names."""
    inputs = {
        "image_features": F.normalize(raw["images"] @ towers["image"], dim=-1),
        "text_features": F.normalize(raw["texts"] @ towers["text"], dim=-1),
        "logit_scale": towers["log_scale"].exp(),
    }
    if "unpaired" in raw:
        inputs["unpaired_features"] = F.normalize(raw["unpaired"] @ towers["image"], dim=-1)
    if "keywords" in raw:
        inputs["keyword_features"] = F.normalize(raw["keywords"] @ towers["text"], dim=-1)
        inputs["keyword_candidates"] = raw["candidates"]
    inputs |= {name: raw[name] for name in ("pair_rows", "unpaired_nearest", "unpaired_weights") if name in raw}
    return inputs


def shard(raw, case, rank, world_size):
    """This rank's part of the raw inputs; the last keyword shards are padded with rows that must not count."""
    whole = ("keywords", "captions", "all_candidates")
    own = {name: one.chunk(world_size)[rank] for name, one in raw.items() if name not in whole}
    if case.K:
        size = -(-case.K // world_size)
        padding = torch.full((size * world_size - case.K, N), 3.0, dtype=case.dtype)
        padded = torch.cat([raw["keywords"], padding])
        own["keywords"] = padded[rank * size : (rank + 1) * size]
    return own


def run_case(case, rank, world_size):
    """This rank's loss terms and the gradients averaged over ranks."""
    from sclip_plugin import SClipLoss

    towers = make_towers(case.dtype)
    raw = make_raw(case, world_size)
    inputs = encode(towers, shard(raw, case, rank, world_size))
    if case.K:
        inputs["keyword_features"] = torch.cat([inputs["keyword_features"]] * case.accumulation)
    loss = SClipLoss(case.local_loss, case.gather_with_grad, True, rank, world_size, **vars(case.settings))
    if case.labels:
        loss.remember(raw["captions"], raw.get("all_candidates"))
        loss(**inputs)  # the captions of these pairs are replaced once, however often they are seen
    terms = loss(**inputs, output_dict=True)
    grads = dict(zip(towers, torch.autograd.grad(sum(terms.values()), list(towers.values()))))
    for grad in grads.values():
        dist.all_reduce(grad)
        grad /= world_size
    values = torch.stack([value.detach() for value in terms.values()])
    everybody = [torch.empty_like(values) for _ in range(world_size)]
    dist.all_gather(everybody, values)
    return {"names": list(terms), "values": torch.stack(everybody), "grads": grads}


def run_rank(rank, world_size, folder):
    """Entry point of one process: every case; rank 0 writes the results to `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    results = {str(case): run_case(case, rank, world_size) for case in all_cases()}
    if rank == 0:
        torch.save(results, f"{folder}/results.pt")
    dist.destroy_process_group()
