"""Loss and step on a GPU, without a host synchronisation: against stock and the published algorithm, also compiled.

    bash benchmarks/gpu.sh                                   # what to run on a machine with a CUDA device
    python benchmarks/gpu.py --device cpu --sizes 32 --model local-dir:DIR --repeats 2     # the same code, to try it

The loss is timed forward + backward on features of width D in bfloat16, with B = U pairs and images. The step is timed
with the model in autocast bfloat16 and AdamW, ours on B + U images, B captions and K keywords, stock's on the same
images and captions with ClipLoss on the first B. Our loss and step run once under
`torch.cuda.set_sync_debug_mode("error")` before anything is timed. "Compiled" is `torch.compile`, for the loss alone
with `fullgraph=True`. The loss is captured as a CUDA graph too. "Our towers" is the step without loss and optimizer.
"""

import argparse
import contextlib
import copy
import functools
import time
from collections.abc import Callable

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from published import published_loss
from step import count_flops, make_tokens
from timing import machine, write_json

from sclip_plugin import SClipLoss
from sclip_plugin.data.batch import MixedImages, MixedTexts
from sclip_plugin.training.model import adapt


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(function: Callable, device: torch.device, repeats: int, inner: int) -> float:
    """Median milliseconds of a call over `repeats` groups of `inner` calls; the device is awaited after each group."""
    times = []
    for _group in range(repeats + 1):  # the first warms up
        synchronise(device)
        start = time.perf_counter()
        for _ in range(inner):
            function()
        synchronise(device)
        times.append(1e3 * (time.perf_counter() - start) / inner)
    return sorted(times[1:])[repeats // 2]


@contextlib.contextmanager
def no_synchronisation(device: torch.device):
    """Within it, a wait of the host for a CUDA device raises."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def make_inputs(B: int, K: int, D: int, device: torch.device) -> dict:
    """Arguments of SClipLoss.forward with U = B and bfloat16 features; a caption holds about three keywords."""

    def unit(rows):
        return F.normalize(torch.randn(rows, D, device=device), dim=-1).bfloat16().requires_grad_()

    return {
        "image_features": unit(B),
        "text_features": unit(B),
        "logit_scale": torch.tensor(1 / 0.07, device=device, requires_grad=True),
        "unpaired_features": unit(B),
        "keyword_features": unit(K),
        "keyword_candidates": torch.rand(B, K, device=device) < 3 / K,
    }


def loss_step(loss: Callable, inputs: dict) -> Callable:
    """A function that runs the loss forward and backward once, from cleared gradients."""

    def run():
        for tensor in inputs.values():
            tensor.grad = None
        loss(**inputs).backward()

    return run


def capture(function: Callable, device: torch.device) -> Callable:
    """A function that replays `function` as a CUDA graph; an error where it cannot be captured."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            function()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def measure_loss(B: int, arguments: argparse.Namespace, device: torch.device) -> dict:
    """Milliseconds of each version of the loss."""
    inputs = make_inputs(B, arguments.keywords, arguments.width, device)
    paired = {name: inputs[name] for name in ("image_features", "text_features", "logit_scale")}
    ours = loss_step(SClipLoss(), inputs)
    for _ in range(2):
        ours()
    synchronise(device)
    with no_synchronisation(device):
        ours()
    functions = {"stock": loss_step(ClipLoss(), paired), "ours": ours}
    if not arguments.no_compile:
        functions["ours compiled"] = loss_step(torch.compile(SClipLoss(), fullgraph=True), inputs)
    if device.type == "cuda":
        functions["ours as a CUDA graph"] = capture(ours, device)
    found = {name: milliseconds(run, device, arguments.repeats, 10) for name, run in functions.items()}
    if arguments.published_up_to >= B:
        found["published"] = milliseconds(loss_step(published_loss, inputs), device, arguments.repeats, 1)
    return found


def train_step(model, loss_of: Callable, autocast: Callable) -> Callable:
    """A function that takes one training step; without the optimizer where it is called with `step=False`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def run(step=True):
        optimizer.zero_grad()
        with autocast():
            value = loss_of()
        value.backward()
        if step:
            optimizer.step()

    return run


def measure_step(B: int, arguments: argparse.Namespace, device: torch.device) -> dict:
    """Milliseconds of stock's and our step and of the towers alone, and the ratio of FLOPs."""
    autocast = functools.partial(torch.autocast, device.type, torch.bfloat16)
    model = open_clip.create_model(arguments.model, output_dict=True).train().to(device)
    stock, ours = model, copy.deepcopy(model)
    size = model.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    pixels = torch.randn(2 * B, 3, height, width, device=device)
    tokens = make_tokens(B, 20, model.context_length, model.vocab_size).to(device)
    length = min(arguments.keyword_length, model.context_length)
    keywords = make_tokens(arguments.keywords, length, length, model.vocab_size)
    adapt(ours, keywords)
    candidates = torch.rand(B, arguments.keywords, device=device) < 3 / arguments.keywords
    images, texts = MixedImages(pixels, B), MixedTexts(tokens, candidates)
    clip_loss, sclip_loss = ClipLoss(), SClipLoss()

    def stock_loss():
        output = stock(pixels, tokens)
        return clip_loss(output["image_features"][:B], output["text_features"], output["logit_scale"])

    def towers():
        output = ours(images, texts)
        return sum(value.float().sum() for name, value in output.items() if name.endswith("_features"))

    functions = {
        "stock": train_step(stock, stock_loss, autocast),
        "ours": train_step(ours, lambda: sum(sclip_loss(**ours(images, texts), output_dict=True).values()), autocast),
    }
    flops = {name: count_flops(run) for name, run in functions.items()}
    for _ in range(2):
        functions["ours"]()
    synchronise(device)
    with no_synchronisation(device):
        functions["ours"]()
    functions["our towers"] = functools.partial(train_step(ours, towers, autocast), step=False)
    if not arguments.no_compile:
        compiled = torch.compile(ours)
        compiled_loss = torch.compile(sclip_loss)
        functions["ours compiled"] = train_step(
            ours, lambda: sum(compiled_loss(**compiled(images, texts), output_dict=True).values()), autocast
        )
    found = {name: milliseconds(run, device, arguments.repeats, 2) for name, run in functions.items()}
    return found | {"flop_ratio": flops["ours"] / flops["stock"]}


def main() -> None:
    """Measure and print what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[256, 1024, 4096, 8192], metavar="B", help="B = U of the loss alone"
    )
    parser.add_argument("--step-sizes", type=int, nargs="+", default=[256, 512], metavar="B", help="B = U of the step")
    parser.add_argument("--keywords", type=int, default=200, help="K (default: 200)")
    parser.add_argument("--keyword-length", type=int, default=5, help="tokens, start and end included (default: 5)")
    parser.add_argument("--width", type=int, default=512, help="D of the loss alone (default: 512)")
    parser.add_argument("--model", default="ViT-B-32", help="open_clip model of the step (default: ViT-B-32)")
    parser.add_argument(
        "--published-up-to",
        type=int,
        default=1024,
        metavar="B",
        help="largest B of the published algorithm",
    )
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile")
    parser.add_argument("--repeats", type=int, default=7, help="timed groups of each; the median counts (default: 7)")
    parser.add_argument("--json", metavar="OUT", help="write the figures here as well")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu tries the code")
    torch.manual_seed(0)
    report = {"machine": machine(), "loss": {}, "step": {}}
    if device.type == "cuda":
        report["machine"]["device"] = torch.cuda.get_device_name(device)
    for B in arguments.sizes:
        found = report["loss"][B] = measure_loss(B, arguments, device)
        listed = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        published = f"; published/ours {found['published'] / found['ours']:.1f}" if "published" in found else ""
        print(f"loss B=U={B}: ms {listed}; ours/stock {found['ours'] / found['stock']:.2f}{published}", flush=True)
    for B in arguments.step_sizes:
        found = report["step"][B] = measure_step(B, arguments, device)
        listed = ", ".join(f"{name} {value:.1f}" for name, value in found.items() if name != "flop_ratio")
        ratio = found["ours"] / found["stock"]
        print(
            f"step {arguments.model} B=U={B}: ms {listed}; ours/stock {ratio:.3f}, FLOP ratio "
            f"{found['flop_ratio']:.3f}, quotient {ratio / found['flop_ratio']:.3f}",
            flush=True,
        )
    write_json(arguments.json, report)


if __name__ == "__main__":
    main()
