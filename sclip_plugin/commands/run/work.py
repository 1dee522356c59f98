"""Running the commands of `sclip run` in its folder, or only showing them."""

from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from sclip_plugin.commands.study.folder import Folder
from sclip_plugin.commands.study.steps import Step
from sclip_plugin.commands.study.tasks import END_OF_EPOCH
from sclip_plugin.host.openclip3_records import epoch_of


class Work:
    """Runs steps, and keeps what is done.

    Args:
        out: the folder.
        dry: whether commands are only printed.

    Attributes:
        shown: the commands so far, as a user would type them.
    """

    def __init__(self, out: Path, dry: bool) -> None:
        self.folder, self.dry = Folder(out), dry
        self.shown: list[str] = []

    def say(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def check(self, every: Iterable[Step]) -> None:
        """Look at what stands in the place of the products of steps that have never ended, before any of them runs.

        Raises:
            UsageError: something that was not made here.
        """
        for step in every:
            if not self.folder.marker(step).exists():
                self.folder.products.check(step)

    def do(self, step: Step, show: bool = True, replaces: bool = False) -> None:
        """Print the command, and run it unless it has been run before.

        Args:
            step: the command.
            show: whether its output is printed; it stands in the step's log in any case.
            replaces: whether the command itself replaces what it wrote before.
        """
        if self._announced(step):
            each_line: Callable[[str], object] = _print_line if show else _no_line
            self.folder.run(step, each_line, go_on=replaces)

    def train(self, step: Step, epochs: int) -> None:
        """Print the training command, and run it unless it has been run before; it goes on from its last saved epoch.

        Args:
            step: the training, which has one product, the folder of the run.
            epochs: of the training, for the progress bar.
        """
        if not self._announced(step):
            return
        done = max(self._saved(step), default=0)
        if done:
            self.say(f"(goes on after epoch {done})")
        with tqdm(total=epochs, initial=done, desc=step.name, unit="epoch", disable=None) as bar:

            def count(line: str) -> None:
                if found := END_OF_EPOCH.search(line):
                    bar.update(int(found[1]) + 1 - bar.n)

            self.folder.run(step, count, go_on=bool(done))

    def look_at_checkpoints(self, step: Step) -> None:
        """Remove the checkpoint that an interrupted training was just writing, from which it cannot go on."""
        from sclip_plugin.training.checkpoints import damage

        saved = self._saved(step)
        while not self.dry and saved and (fault := damage(str(saved[max(saved)]))):
            broken = saved.pop(max(saved))
            broken.unlink()
            self.say(f"{broken}: {fault}; removed, training goes on from before it")

    def _announced(self, step: Step) -> bool:
        """Print the command; returns whether it is to be run."""
        self.shown.append(step.shown)
        self.say(f"$ {step.shown}")
        if self.dry:
            return False
        if self.folder.finished(step):
            self.say(f"(done before; kept: its output is in {self.folder.log(step)})")
            return False
        return True

    def _saved(self, step: Step) -> dict[int, Path]:
        """The checkpoints that an earlier call of the same training has left unfinished, by their epochs."""
        if self.folder.finished(step) or not self.folder.begun(step):
            return {}
        files = [path for product in step.products for path in (product / "checkpoints").glob("epoch_*.pt")]
        return {epoch: path for path in files if (epoch := epoch_of(path)) is not None}


def _print_line(line: str) -> None:
    print(line, end="", flush=True)


def _no_line(line: str) -> None:
    """A line that stands in the log alone."""
