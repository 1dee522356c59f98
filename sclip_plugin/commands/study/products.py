"""Which files and folders a study may remove before a step runs again: those that it made itself.

Before a step's command begins, its products are written down in `begun/NAME.json`; when it has ended, what came of
them. What exists and is not written down there was made by somebody else, and is never removed.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Final

from sclip_plugin.atomic import write_atomic
from sclip_plugin.commands.study.fingerprint import fingerprint
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.errors import UsageError

UNFINISHED: Final = "unfinished"  # in place of a fingerprint: a command that was killed may have written anything there
FOLDER: Final = "folder"  # in place of a fingerprint: later steps may add files to a folder


class Products:
    """The products of a study's steps.

    Args:
        root: the study's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self, step: Step) -> None:
        """Look at what removing the step's products would remove.

        Raises:
            UsageError: a product exists that the study did not make, or that somebody changed; names it.
        """
        written = self._written(step)
        for product in step.products:
            if not os.path.lexists(product):
                continue
            known = written.get(self._key(product))
            changed = known is not None and known not in (UNFINISHED, _known_by(product))
            if known is None or changed:
                what = "it has been changed since this study made it" if changed else "this study did not make it"
                raise UsageError(f"{product}: {what}, so it will not be replaced (by {step.name}); move it away")

    def remove(self, step: Step) -> None:
        """Remove the step's products, on which `check` must have looked."""
        for product in step.products:
            if product.is_dir() and not product.is_symlink():
                shutil.rmtree(product)
            else:
                product.unlink(missing_ok=True)

    def begin(self, step: Step) -> None:
        """Write down that the step's command begins, whose products are gone. Call it before the command runs."""
        if step.products:
            self._write(step, {self._key(product): UNFINISHED for product in step.products})

    def end(self, step: Step) -> None:
        """Write down what came of the step's products, however its command ended."""
        if step.products:
            there = [product for product in step.products if os.path.lexists(product)]
            self._write(step, {self._key(product): _known_by(product) for product in there})

    def _key(self, product: Path) -> str:
        """The product's path, relative to the study's folder where it is inside, so that the folder may be moved."""
        path, root = os.path.abspath(product), os.path.abspath(self.root)
        return os.path.relpath(path, root) if path.startswith(root + os.sep) else path

    def _path(self, step: Step) -> Path:
        return self.root / "begun" / f"{step.name}.json"

    def _write(self, step: Step, products: dict[str, str]) -> None:
        write_atomic(self._path(step), json.dumps(products, indent=1) + "\n")

    def _written(self, step: Step) -> dict[str, str]:
        """What is written down of the step's products: by its key, what each is known by."""
        try:
            found = json.loads(self._path(step).read_text(encoding="utf-8"))
        except FileNotFoundError:
            ended = (self.root / "done" / f"{step.name}.json").exists()  # it wrote what is in the study's folder
            keys = [self._key(product) for product in step.products]
            return {key: UNFINISHED for key in keys if ended and not os.path.isabs(key)}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise UsageError(f"{self._path(step)}: damaged; remove it, and the products of `{step.shown}`")
        return {str(key): str(value) for key, value in found.items()}


def _known_by(product: Path) -> str:
    """What tells whether somebody changed a product: its content where it is a file."""
    return fingerprint(str(product)) if product.is_file() else FOLDER
