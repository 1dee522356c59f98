"""Peak memory of the loss on each rank, and what its collectives move, gathered and local, against stock ClipLoss.

    python benchmarks/memory.py                       # W = 1, 2, 4 processes (gloo), the same B and U on each
    python benchmarks/memory.py --worlds 1 2 4 8 --pairs 128 --unpaired 128 --json memory.json
    python benchmarks/memory.py --estimate --worlds 8 64 512 --pairs 512 --unpaired 512

Memory is the most that PyTorch's allocator held during forward + backward beyond the inputs, on the rank that held
most. Collectives are seen where they are dispatched: the tensors that each all-gather fills and each all-reduce sums.
The columns "formula" hold what docs/scaling.md says. Going backward, an all-gather becomes an all-reduce (ours on
gloo), scatters (stock) or a reduce-scatter (other backends); "reduced" counts what goes into them.

Legend: W ranks, B pairs and U unpaired images per rank, K keywords in all, D width.
"""

import argparse
import os
import tempfile
import warnings

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own remarks

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from timing import machine, write_json
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from sclip_plugin import SClipLoss

MODES = {
    "stock gathered": (ClipLoss, False),
    "stock local": (ClipLoss, True),
    "sclip gathered": (SClipLoss, False),
    "sclip local": (SClipLoss, True),
}
ITERATIONS = 10


class Collectives(TorchDispatchMode):
    """Adds up the bytes of the tensors that collectives fill or sum.

    Attributes:
        gathered: bytes that all-gathers filled.
        reduced: bytes that all-reduces summed and scatters sent.
    """

    def __init__(self):
        super().__init__()
        self.gathered = self.reduced = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function)
        if name.startswith("c10d.allgather_"):
            self.gathered += sum(tensor.nbytes for tensors in args[0] for tensor in tensors)
        elif name.startswith(("c10d.allreduce_", "c10d.scatter_")):
            self.reduced += sum(tensor.nbytes for tensor in args[0])
        return function(*args, **(kwargs or {}))


def make_inputs(arguments: argparse.Namespace, rank: int, world_size: int, stock: bool) -> dict:
    """Arguments of the loss on one rank."""
    generator = torch.Generator().manual_seed(rank)
    shard = -(-arguments.keywords // world_size)
    rows = {"image_features": arguments.pairs, "text_features": arguments.pairs}
    if not stock:
        rows |= {"unpaired_features": arguments.unpaired, "keyword_features": shard}
    inputs = {
        name: F.normalize(torch.randn(count, arguments.width, generator=generator), dim=-1).requires_grad_()
        for name, count in rows.items()
    }
    inputs["logit_scale"] = torch.tensor(14.0, requires_grad=True)
    if not stock:
        inputs["keyword_candidates"] = torch.rand(arguments.pairs, arguments.keywords, generator=generator) < 0.02
    return inputs


def peak_bytes(run) -> int:
    """The most that `run` held at one time beyond what was there before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    events = record.profiler.kineto_results.events()
    held = highest = 0
    for _, change in sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"):
        held += change
        highest = max(highest, held)
    return highest


def measure(arguments: argparse.Namespace, rank: int, world_size: int) -> dict:
    """(peak bytes, bytes gathered, bytes reduced) of each mode on this rank."""
    found = {}
    for mode, (kind, local) in MODES.items():
        inputs = make_inputs(arguments, rank, world_size, kind is ClipLoss)
        options = {} if kind is ClipLoss else {"sinkhorn_iterations": ITERATIONS}
        loss = kind(local, arguments.gather_with_grad, True, rank, world_size, **options)

        def run(loss=loss, inputs=inputs):
            loss(**inputs).backward()

        with Collectives() as collectives:
            run()  # also the warm-up: the gradients of the inputs are there afterwards
        found[mode] = (peak_bytes(run), collectives.gathered, collectives.reduced)
    return found


def run_rank(rank: int, world_size: int, folder: str, arguments: argparse.Namespace) -> None:
    """What each process runs; the first one writes the largest figures over the ranks."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)  # stock gathers by a function that torch deprecates
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world_size)
    found = measure(arguments, rank, world_size)
    everybody = [None] * world_size
    dist.all_gather_object(everybody, found)
    if rank == 0:
        torch.save({mode: tuple(map(max, zip(*(one[mode] for one in everybody)))) for mode in MODES}, f"{folder}/out")
    dist.destroy_process_group()


def estimate(mode: str, W: int, B: int, U: int, K: int, D: int, with_grad: bool, e: int = 4) -> tuple[int, int, int]:
    """Bytes per rank and step by docs/scaling.md: gathered forward, of gradients backward, of the transport's sums."""
    if W == 1:
        return 0, 0, 0
    local = mode.endswith("local")
    features = W * 2 * B * D * e
    if mode.startswith("stock"):
        return features, features * with_grad, 0
    unpaired, keywords, candidates = W * U * D * e, W * -(-K // W) * D * e, W * B * K
    gradients = (features + unpaired) * with_grad + keywords * (with_grad or local)
    transport = (ITERATIONS + 1) * W * B * 4 * local
    return features + unpaired + keywords + candidates, gradients, transport


def estimate_peak(mode: str, W: int, B: int, U: int, D: int, e: int = 4) -> float:
    """Peak bytes per rank with gather-with-grad by docs/scaling.md; K's part is small and left out."""
    if mode == "stock gathered":
        return e * (5 * (W * B) ** 2 + 2 * W * B * D)
    if mode == "stock local":
        return e * W * (3 * B * B + 4 * B * D)
    if mode == "sclip gathered" or W == 1:
        return e * (3 * (W * B) ** 2 + 2.8 * W * B * W * U + 5.2 * W * B * D + 3.5 * W * U * D)
    return e * W * (4.1 * B * (B + U) + 2.6 * (B + U) * D)


def launch(world_size: int, arguments: argparse.Namespace) -> list[dict]:
    """The table's rows for one world size."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(run_rank, (world_size, folder, arguments), nprocs=world_size)
        found = torch.load(f"{folder}/out")
    rows = []
    for mode, (peak, gathered, reduced) in found.items():
        sizes = (arguments.pairs, arguments.unpaired, arguments.keywords, arguments.width)
        gathering, *summing = estimate(mode, world_size, *sizes, arguments.gather_with_grad)
        row = {"W": world_size, "mode": mode, "peak": peak, "gathered": gathered, "reduced": reduced}
        row["peak_formula"] = estimate_peak(mode, world_size, arguments.pairs, arguments.unpaired, arguments.width)
        rows.append(row | {"gathered_formula": gathering, "reduced_formula": sum(summing)})
    return rows


def print_estimates(arguments: argparse.Namespace) -> None:
    """Print what the formulas give: megabytes that a rank receives and sends by rings, and its peak."""
    print("| W | mode | moved MB | of these the transport | peak MB |")
    print("|---|---|---|---|---|")
    for W in arguments.worlds:
        for mode in MODES:
            sizes = (arguments.pairs, arguments.unpaired, arguments.keywords, arguments.width)
            gathering, gradients, transport = estimate(mode, W, *sizes, arguments.gather_with_grad)
            ring = (W - 1) / W  # of a gathered or scattered tensor; a sum goes round twice
            moved, sums = ring * (gathering + gradients + 2 * transport), ring * 2 * transport
            peak = estimate_peak(mode, W, arguments.pairs, arguments.unpaired, arguments.width)
            print(f"| {W} | {mode} | {moved / 1e6:,.1f} | {sums / 1e6:,.1f} | {peak / 1e6:,.0f} |")


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 4], metavar="W", help="default: 1 2 4")
    parser.add_argument("--pairs", type=int, default=256, help="B per rank (default: 256)")
    parser.add_argument("--unpaired", type=int, default=256, help="U per rank (default: 256)")
    parser.add_argument("--keywords", type=int, default=200, help="K (default: 200)")
    parser.add_argument("--width", type=int, default=512, help="D (default: 512)")
    parser.add_argument(
        "--no-gather-with-grad", dest="gather_with_grad", action="store_false", help="no gradient through the gathering"
    )
    parser.add_argument("--estimate", action="store_true", help="run nothing and print what the formulas give")
    parser.add_argument("--json", metavar="OUT", help="write the measured figures here as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"B={arguments.pairs} U={arguments.unpaired} per rank, K={arguments.keywords} D={arguments.width}, "
        f"float32, gather-with-grad: {'yes' if arguments.gather_with_grad else 'no'}"
    )
    if arguments.estimate:
        print_estimates(arguments)
        return
    print("| W | mode | peak MB | formula | over W = 1 | gathered KB | formula | reduced KB | formula |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows, single = [], {}
    for world_size in arguments.worlds:
        for row in launch(world_size, arguments):
            rows.append(row)
            single.setdefault(row["mode"], row["peak"])
            traffic = [
                f"{row[key] / 1e3:.1f}" for key in ("gathered", "gathered_formula", "reduced", "reduced_formula")
            ]
            growth = row["peak"] / single[row["mode"]]
            peaks = [f"{row[key] / 1e6:.1f}" for key in ("peak", "peak_formula")]
            cells = [str(world_size), row["mode"], *peaks, f"{growth:.1f}", *traffic]
            print(f"| {' | '.join(cells)} |", flush=True)
    write_json(arguments.json, {"machine": machine(), "memory": rows})


if __name__ == "__main__":
    main()
