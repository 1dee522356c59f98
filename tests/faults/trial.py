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


@dataclass
class Bench:
    """A folder in which tries run one after the other.

    Attributes:
        root: the folder.
        keep: where the work folders of failures are kept; None: nowhere.
    """

    root: Path
    keep: Path | None = None
    _sound: dict[tuple[str, ...], Reply] = field(default_factory=dict)
    _known: dict[str, set[str]] = field(default_factory=dict)

    def run(self, name: str, seed: int, number: int) -> Verdict:
        """Run a try. Number 0 breaks nothing, and must be accepted."""
        family = FAMILIES[name]
        rng = random.Random(f"{seed}/{name}/{number}")
        work = self._copy(family)
        argv = family.line(rng, work / "in")
        if not number and "--as" in argv:  # not every source has labels
            argv = _plain(argv)
        damage = family.damage(rng, work / "in") if number or name == "flags" else NOTHING
        ascii_only = rng.random() < 0.05
        before = oracle.snapshot(work)
        reply = call(loader.main if argv[0] == "loader" else main, argv, work, ascii_only=ascii_only)
        sound, known = None, set[str]()
        if argv[0] == "convert" and damage is not NOTHING:
            sound, known = self._unbroken(family, argv), self._captions(family, argv) if damage.whole else known
        problems = list(self._problems(family, work, argv, damage, reply, before, sound, known))
        if not number and reply.status and name != "flags":
            problems.append(f"a sound input is refused: {reply.err.strip()}")
        if problems and self.keep:
            self._save(work, family, seed, number, argv, damage, reply)
        said = reply.crash or reply.err.strip()
        shown = str(damage) + (" (ASCII output)" if ascii_only else "")
        return Verdict(name, number, oracle.outcome(reply, sound), problems, argv, shown, reply.seconds, said)

    def _copy(self, family: Family) -> Path:
        sound, work = self.root / "sound" / family.name, self.root / "work"
        if not sound.exists():
            half = self.root / "half" / "in"
            _remove(half)
            half.mkdir(parents=True)
            family.build(half / "in")
            sound.parent.mkdir(parents=True, exist_ok=True)
            (half / "in").rename(sound)
        _remove(work)
        (work / "tmp").mkdir(parents=True)
        (work / "outside").mkdir()
        (work / "outside" / "secret.txt").write_text("secret\n")
        shutil.copytree(sound, work / "in", symlinks=True)
        return work

    def _unbroken(self, family: Family, argv: list[str]) -> Reply:
        """What the command says of the sound source."""
        key = (family.name, *argv)
        if key not in self._sound:
            self._sound[key] = call(main, argv, self._pristine(family))
        return self._sound[key]

    def _captions(self, family: Family, argv: list[str]) -> set[str]:
        """Every caption of the sound source, none of them hidden by --paired-ratio."""
        if family.name not in self._known:
            work = self._pristine(family)
            call(main, _plain(argv), work)
            self._known[family.name] = oracle.captions(work / "out")
        return self._known[family.name]

    def _pristine(self, family: Family) -> Path:
        work = self.root / "unbroken"
        _remove(work)
        (work / "tmp").mkdir(parents=True)
        shutil.copytree(self.root / "sound" / family.name, work / "in", symlinks=True)
        return work

    def _problems(
        self,
        family: Family,
        work: Path,
        argv: list[str],
        damage: Damage,
        reply: Reply,
        before: dict[str, str],
        sound: Reply | None,
        known: set[str],
    ) -> Iterator[str]:
        names = {os.path.basename(path) for path in before} | set(argv[1:]) - {""}
        yield from oracle.manners(reply, argv, names)
        if "time-out" in reply.crash:
            return
        yield from oracle.untouched(before, oracle.snapshot(work), (*family.writes, *_out(argv)))
        yield from oracle.no_scratch(work, reply)
        yield from oracle.verdict(argv, damage, reply)
        if reply.status != 0:
            return
        if argv[0] == "loader":
            yield from oracle.epoch(reply) if "--resampled" not in argv else ()
        if argv[0] == "keywords":
            yield from oracle.keyword_file(work / "out" / "keywords.txt")
        if argv[0] in ("convert", "split"):
            yield from oracle.printed_counts(reply)
            yield from oracle.losses(damage, reply, sound) if sound and sound.status == 0 else ()
            if "--dry-run" not in argv:
                yield from self._set(work, argv, damage, known)

    def _set(self, work: Path, argv: list[str], damage: Damage, known: set[str]) -> Iterator[str]:
        """What must hold of a set that was written."""
        out = argv[argv.index("--out") + 1]
        name = argv[argv.index("--as") + 2] if "--as" in argv else ""
        root = work / out / name
        yield from oracle.manifest_counts(root)
        if damage.whole and known and (more := oracle.captions(root) - known):
            yield f"a caption that the source does not have: {sorted(more)[0]!r:.80}"
        reply = call(main, ["verify", os.path.join(out, name)], work)
        decoded = argv[0] == "convert" and "--check" in argv
        faults = [line for line in reply.out.splitlines() if line.startswith("fault:")]
        if not decoded and (damage.images or damage.path.endswith(".tar")):
            faults = [line for line in faults if "(image" not in line]
        if faults or reply.crash or reply.err:
            yield f"verify of the new set: {(faults or [reply.crash.strip()[-150:] or reply.err])[0]:.200}"
        if "--seed" in argv and argv[0] == "convert":
            yield from self._again(work, argv)

    def _again(self, work: Path, argv: list[str]) -> Iterator[str]:
        """The same command finds its work done and changes nothing."""
        before = oracle.snapshot(work)
        reply = call(main, argv, work)
        if reply.status or oracle.snapshot(work) != before:
            yield f"the same command again ends with {reply.status}: {(reply.crash or reply.err).strip()[-200:]}"

    def _save(
        self, work: Path, family: Family, seed: int, number: int, argv: list[str], damage: Damage, reply: Reply
    ) -> None:
        assert self.keep is not None
        place = self.keep / f"{family.name.replace(':', '-')}-{seed}-{number}"
        _remove(place)
        shutil.copytree(work, place, symlinks=True, ignore=_specials)
        (place / "said.txt").write_text(
            f"sclip {argv}\n{damage}\nstatus {reply.status}\n{reply.crash}\n{reply.err}\n{reply.out}",
            encoding="utf-8",
            errors="backslashreplace",
        )


def _out(argv: list[str]) -> tuple[str, ...]:
    """What `--out` names, where it is a folder beside `in`."""
    out = argv[argv.index("--out") + 1] if "--out" in argv else ""
    return (os.path.normpath(out),) if out.strip() and out != "in" else ()


def _plain(argv: list[str]) -> list[str]:
    """A command of convert without what hides captions or writes none."""
    found = [word for word in argv if word != "--dry-run"]
    for flag, words in (("--paired-ratio", 2), ("--as", 3)):
        if flag in found:
            start = found.index(flag)
            del found[start : start + words]
    return found


def _specials(folder: str, names: list[str]) -> list[str]:
    paths = {name: os.path.join(folder, name) for name in names}
    return [
        name
        for name, path in paths.items()
        if not (os.path.islink(path) or os.path.isdir(path) or os.path.isfile(path))
    ]


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
