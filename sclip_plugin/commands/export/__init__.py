"""Write a trained model as a folder that can be handed on: configuration, weights, model card, ONNX, the Hub.

    sclip export logs/RUN --out model/ --license mit
    sclip export logs/RUN --pretrained epoch_3.pt --out model/ --onnx
    sclip export --model ViT-B-32-quickgelu --pretrained wise.pt --out model/ --push hf://user/name

open_clip takes the folder as `--model local-dir:model/`, and so does CLIP_benchmark; from the Hub it is loaded as
`hf-hub:user/name`. RUN is the folder of a run, of which the last checkpoint is taken, or a checkpoint file. The model
card tells the flags of the run, what it was trained on and what it measured. Weights that were made of a run's
checkpoints afterwards, by `sclip wiseft` say, are exported with the run by `--weights`, and `--measures wiseft.json`
puts their figures into the card. `--onnx` writes both towers (`pip install 'sclip-plugin[onnx]'`) and compares them
with torch. `--push` uploads the folder.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sclip_plugin.commands.export.hub import Destination, check_login, destination, push
from sclip_plugin.commands.export.onnx_towers import check_onnx, write_towers
from sclip_plugin.commands.export.staging import ONNX_FILES, check_output, publish, staging
from sclip_plugin.commands.flags.paths import named_path
from sclip_plugin.commands.flags.run import ChosenModel, add_run_argument, chosen_model, refuse_other_activation
from sclip_plugin.errors import UsageError
from sclip_plugin.evaluation.models import check_model, load_model
from sclip_plugin.host.openclip3_records import run_of

if TYPE_CHECKING:
    from sclip_plugin.commands.export.facts import Measures

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Request:
    """What the command line asks for.

    Attributes:
        model: the model, with the run that it comes from, if any.
        weights: the weights file or tag; None for the model's own weights.
        other: whether these are no checkpoint of the run, so that its measures are not theirs.
        measures: the figures of `sclip wiseft` for the model card, if any.
        out: the folder to write.
        overwrite: whether an export that is there is replaced.
        license: what the model card's header says, None for nothing.
        onnx: whether both towers are written as ONNX too.
        push: where the folder is uploaded to, None for nowhere.
        private: whether a repository that is made for it is private.
    """

    model: ChosenModel
    weights: str | None
    other: bool
    measures: "Measures | None"
    out: Path
    overwrite: bool
    license: str | None
    onnx: bool
    push: Destination | None
    private: bool

    @property
    def name(self) -> str:
        """What the model is called: its repository, or else its folder."""
        return self.push.name if self.push else self.out.resolve().name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sclip export`."""
    add_run_argument(parser)
    parser.add_argument("--pretrained", metavar="CHECKPOINT", help="a checkpoint of RUN; without RUN, a file or a tag")
    parser.add_argument(
        "--weights", type=named_path, metavar="FILE", help="other weights of RUN's model (sclip wiseft)"
    )
    parser.add_argument(
        "--measures", type=named_path, metavar="FILE", help="with --weights: the card's figures (sclip wiseft --json)"
    )
    parser.add_argument("--out", required=True, type=named_path, metavar="DIR", help="the folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an export in DIR")
    parser.add_argument("--license", metavar="ID", help="the licence that the model card names: mit, cc-by-4.0, …")
    parser.add_argument("--onnx", action="store_true", help="write both towers as ONNX too, and compare the numbers")
    parser.add_argument("--push", metavar="hf://USER/NAME", help="upload the folder to the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", help="with --push: make the repository a private one")


def run(args: argparse.Namespace) -> int:
    """Export, and print what was written and how it is used. Returns 0.

    Raises:
        UsageError: flags do not go together, or a package or a login is missing.
        DataError: the model cannot be loaded, or a tower's numbers are not those of torch.
    """
    request = _request(args)
    from sclip_plugin.commands.export.card import ModelFacts, model_card
    from sclip_plugin.commands.export.facts import data_table, settings
    from sclip_plugin.commands.export.model_folder import write_model

    record = request.model.run
    notes: list[str] = []
    with staging(request.out) as folder:
        model, preprocess, tokenizer = load_model(
            request.model.name, request.weights, "cpu", "fp32", _flag(request), request.model.options
        )
        write_model(folder, request.model, (model, preprocess, tokenizer))
        lines = write_towers(folder, model, tokenizer) if request.onnx else []
        facts = ModelFacts(
            name=request.name,
            place=f"hf-hub:{request.push.repository}" if request.push else f"local-dir:{request.name}",
            model=request.model,
            weights=request.weights,
            license=request.license,
            onnx=ONNX_FILES if request.onnx else (),
            settings=settings(record.folder) if record else {},
            data=data_table(record.folder, notes) if record else [],
            measures=_measures(request, notes),
        )
        written = publish(folder, request.out, model_card(facts), notes)
    print(*lines, *(f"-> {request.out / name}" for name in written), sep="\n")
    _report(request, notes)
    if request.push:
        print(f"-> {push(request.push, request.out, written, request.private)}")
    return 0


def _measures(request: Request, notes: list[str]) -> "Measures | None":
    """What the model card tells of measures; None where nothing was measured."""
    from sclip_plugin.commands.export.facts import measures

    if request.measures is not None:
        return request.measures
    record = request.model.run
    return measures(record.folder, None if request.other else request.weights, notes) if record else None


def _flag(request: Request) -> str:
    return "--weights" if request.other else "--pretrained"


def _request(args: argparse.Namespace) -> Request:
    run, pretrained = args.run_folder, args.pretrained
    if run is not None and run.is_file():
        run, pretrained = _of_checkpoint(run, args.model, pretrained)
    if args.weights and run is None:
        raise UsageError("--weights goes with RUN; without it, --model and --pretrained name model and weights")
    if args.weights and pretrained:
        raise UsageError("--weights and --pretrained exclude each other")
    if args.measures and not args.weights:
        raise UsageError("--measures goes with --weights: a checkpoint's own measures are in its run's folder")
    check_license(args.license)
    if args.private and not args.push:
        raise UsageError("--private goes with --push")
    check_output(args.out, args.overwrite)
    if args.onnx:
        check_onnx()
    where = destination(args.push) if args.push is not None else None
    if where:
        check_login()
    model = chosen_model(run, args.model)
    weights: str | None = pretrained
    if model.run is not None:
        weights = str(args.weights or model.run.checkpoint(pretrained))
    else:
        refuse_other_activation(model.name, pretrained)
    check_model(model.name, weights)
    files = (weights, args.weights is not None, _chosen_measures(args.measures))
    return Request(model, *files, args.out, args.overwrite, args.license, args.onnx, where, args.private)


def check_license(text: str | None) -> None:
    """Refuse what is no identifier of a licence; None passes.

    Raises:
        UsageError: names the flag.
    """
    if text is not None and not _LICENSE.fullmatch(text):
        raise UsageError(f"--license must be an identifier such as mit or cc-by-4.0, got {text!r}")


def _chosen_measures(path: Path | None) -> "Measures | None":
    from sclip_plugin.commands.export.facts import chosen_measures

    return None if path is None else chosen_measures(path)


def _of_checkpoint(path: Path, model: str | None, pretrained: str | None) -> tuple[Path | None, str]:
    """(run, checkpoint) of a checkpoint file in the place of RUN; the run is None where it lies in none."""
    if pretrained is not None:
        raise UsageError(f"{path} is a checkpoint, so that --pretrained has no meaning")
    record = run_of(path)
    if record is None and model is None:
        raise UsageError(f"{path}: lies in no run's folder, so nothing says which model it is of; pass --model")
    return (record.folder if record else None), str(path)


def _report(request: Request, notes: list[str]) -> None:
    for note in notes:
        print(f"note: {note}")
    if request.license is None:
        print("note: the model card names no licence; pass --license")
    print(f"open_clip takes it as --model local-dir:{request.out}")
