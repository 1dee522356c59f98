"""One try: sound material is copied, one thing in it is broken, a command runs, and the oracle looks."""

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sclip_plugin.cli import main
from tests.faults import loader, oracle
from tests.faults.call import Reply, call
from tests.faults.damage import NOTHING, Damage
from tests.faults.families import FAMILIES, Family


@dataclass(frozen=True)
class Verdict:
    """What came of a try.

    Attributes:
        family: its family's name.
        number: its number in the family.
        outcome: accepted, skipped or refused.
        problems: what should not be; empty where all is well.
        command: the command line.
        damage: what was broken.
        seconds: how long the command took.
        said: the error in one line, or the traceback.
    """

    family: str
    number: int
    outcome: str
    problems: list[str]
    command: list[str]
    damage: str
    seconds: float
    said: str = ""


@dataclass(frozen=True)
class Sound:
    """What a command makes of the sound input.

    Attributes:
        reply: what it prints.
        said: what its shards say of each image.
        captions: every caption of the source, also those that the command hides.
    """

    reply: Reply
    said: dict[str, oracle.Said]
    captions: set[str]


@dataclass(frozen=True)
class Case:
    """A command that has run on damaged input.

    Attributes:
        family: what is tried.
        work: the folder that holds `in`.
        argv: the command line.
        damage: what was broken.
        before: what was in `work` before.
        reply: what the command did.
        sound: what it does on sound input; None where that is not compared.
    """

    family: Family
    work: Path
    argv: list[str]
    damage: Damage
    before: dict[str, str]
    reply: Reply
    sound: Sound | None

    def problems(self) -> Iterator[str]:
        """What should not be."""
        names = {os.path.basename(path) for path in self.before} | set(self.argv[1:]) - {""}
        yield from oracle.manners(self.reply, self.argv, names)
        if "time-out" in self.reply.crash:
            return
        writes = (*self.family.writes, *_out(self.argv))
        yield from oracle.untouched(self.before, oracle.snapshot(self.work), writes)
        yield from oracle.no_scratch(self.work, self.reply)
        yield from oracle.verdict(self.argv, self.damage, self.reply)
        if self.reply.status == 0:
            yield from self._of_success()
        elif self.damage is NOTHING and self.family.name != "flags":
            yield f"a sound input is refused: {self.reply.err.strip()}"

    def _of_success(self) -> Iterator[str]:
        command = self.argv[0]
        if command == "loader" and "--resampled" not in self.argv:
            yield from oracle.epoch(self.reply)
        elif command == "keywords":
            yield from oracle.keyword_file(self.work / "out" / "keywords.txt")
        elif command in ("convert", "split"):
            yield from oracle.printed_counts(self.reply)
            if self.sound and self.sound.reply.status == 0:
                yield from oracle.losses(self.damage, self.reply, self.sound.reply)
            if "--dry-run" not in self.argv:
                yield from self._of_set()

    def _of_set(self) -> Iterator[str]:
        """What must hold of a set that was written."""
        out = self.argv[self.argv.index("--out") + 1]
        name = self.argv[self.argv.index("--as") + 2] if "--as" in self.argv else ""
        root = self.work / out / name
        yield from oracle.manifest_counts(root)
        if self.sound:
            said = oracle.said(root)
            if not oracle.told(self.damage, self.reply):
                yield from oracle.mixed_up(self.damage, said, self.sound.said)
            if self.damage.whole and (more := oracle.captions(said) - self.sound.captions):
                yield f"a caption that the source does not have: {sorted(more)[0]!r:.80}"
        yield from self._verified(os.path.join(out, name))
        if "--seed" in self.argv and self.argv[0] == "convert":
            yield from self._again()

    def _verified(self, folder: str) -> Iterator[str]:
        """What was just written has no fault, apart from images whose headers alone were looked at."""
        reply = call(main, ["verify", f"./{folder}"], self.work)
        decoded = self.argv[0] == "convert" and "--check" in self.argv
        faults = [line for line in reply.out.splitlines() if line.startswith("fault:")]
        if not decoded and (self.damage.images or self.damage.path.endswith(".tar")):
            faults = [line for line in faults if "(image" not in line]
        if faults or reply.crash or reply.err:
            yield f"verify of the new set: {(faults or [reply.crash.strip()[-150:] or reply.err])[0]:.200}"

    def _again(self) -> Iterator[str]:
        """The same command finds its work done and changes nothing."""
        before = oracle.snapshot(self.work)
        reply = call(main, self.argv, self.work)
        if reply.status or oracle.snapshot(self.work) != before:
            yield f"the same command again ends with {reply.status}: {(reply.crash or reply.err).strip()[-200:]}"

    def save(self, place: Path) -> None:
        """Keep the folder, the input with it, and what the command said."""
        _remove(place)
        shutil.copytree(self.work, place, symlinks=True, ignore=_specials)
        reply = self.reply
        text = f"sclip {self.argv}\n{self.damage}\nstatus {reply.status}\n{reply.crash}\n{reply.err}\n{reply.out}"
        (place / "said.txt").write_text(text, encoding="utf-8", errors="backslashreplace")


@dataclass
class Bench:
    """A folder in which tries run one after the other.

    Attributes:
        root: the folder.
        keep: where the work folders of failures are kept; None: nowhere.
    """

    root: Path
    keep: Path | None = None
    _sound: dict[tuple[str, ...], Sound] = field(default_factory=dict)

    def run(self, name: str, seed: int, number: int) -> Verdict:
        """Run a try. Number 0 breaks nothing, and must be accepted."""
        family, rng = FAMILIES[name], random.Random(f"{seed}/{name}/{number}")
        work = self._copy(family, "work")
        argv = family.line(rng, work / "in")
        if not number:
            argv = _plain(argv)  # not every source has labels
        damage = family.damage(rng, work / "in") if number else NOTHING
        ascii_only = rng.random() < 0.05
        before = oracle.snapshot(work)
        reply = call(loader.main if argv[0] == "loader" else main, argv, work, ascii_only=ascii_only)
        sound = self._unbroken(family, argv) if damage is not NOTHING and argv[0] in ("convert", "split") else None
        case = Case(family, work, argv, damage, before, reply, sound)
        problems = list(case.problems())
        if problems and self.keep:
            case.save(self.keep / f"{name.replace(':', '-')}-{seed}-{number}")
        shown = f"{damage}{' (ASCII output)' if ascii_only else ''}"
        outcome = oracle.outcome(reply, sound.reply if sound else None)
        return Verdict(name, number, outcome, problems, argv, shown, reply.seconds, reply.crash or reply.err.strip())

    def _copy(self, family: Family, name: str) -> Path:
        """A folder with a copy of the sound input, which is made at the first call."""
        sound, work = self.root / "sound" / family.name, self.root / name
        if not sound.exists():
            half = self.root / "half"
            _remove(half)
            half.mkdir()
            family.build(half / "in")
            sound.parent.mkdir(exist_ok=True)
            (half / "in").rename(sound)
        _remove(work)
        (work / "tmp").mkdir(parents=True)
        (work / "outside").mkdir()
        (work / "outside" / "secret.txt").write_text("secret\n")
        shutil.copytree(sound, work / "in", symlinks=True)
        return work

    def _unbroken(self, family: Family, argv: list[str]) -> Sound:
        """What the command makes of the sound input."""
        key = (family.name, *argv)
        if key not in self._sound:
            work = self._copy(family, "unbroken")
            reply = call(main, argv, work)
            said = oracle.said(work / "out")
            plain = _plain(argv)
            captions = oracle.captions(said) if plain == argv else self._unbroken(family, plain).captions
            self._sound[key] = Sound(reply, said, captions)
        return self._sound[key]


def _out(argv: list[str]) -> tuple[str, ...]:
    """What `--out` names, where it is a folder beside `in`."""
    out = argv[argv.index("--out") + 1] if "--out" in argv else ""
    return (os.path.normpath(out),) if out and out != "in" else ()


def _plain(argv: list[str]) -> list[str]:
    """A command of convert without what hides captions or writes none."""
    found = [word for word in argv if word != "--dry-run"]
    for flag, words in (("--paired-ratio", 2), ("--as", 3)):
        if flag in found and argv[0] == "convert":
            start = found.index(flag)
            del found[start : start + words]
    return found


def _specials(folder: str, names: list[str]) -> list[str]:
    """Names that are neither files, folders nor links, and cannot be copied."""
    paths = {name: os.path.join(folder, name) for name in names}
    plain = (os.path.islink, os.path.isdir, os.path.isfile)
    return [name for name, path in paths.items() if not any(is_one(path) for is_one in plain)]


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
