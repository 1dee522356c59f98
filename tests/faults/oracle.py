"""What must hold after a command, whatever was broken before it."""

import getpass
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sclip_plugin.keywords import Vocabulary
from tests.faults.call import Reply
from tests.faults.damage import Damage

ACCEPTED, SKIPPED, REFUSED = "accepted", "skipped", "refused"
CACHE = f"tmp/torchinductor_{getpass.getuser()}"  # torch's, made at its import
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029]")
IMAGES = ("jpg", "jpeg", "png", "webp")
MOST_CHANGED = 2  # one broken record may take what belongs to another
_LINE = re.compile(r"(images|captions): (\d+) read = (\d+) written \+ (\d+) skipped")


def snapshot(root: Path) -> dict[str, str]:
    """{path: what is there} of everything below a folder, links not followed."""
    found: dict[str, str] = {}
    for folder, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = _content(path)
    return found


def _content(path: str) -> str:
    if os.path.islink(path):
        return f"link to {os.readlink(path)!r}"
    if os.path.isdir(path):
        return "folder"
    if not os.path.isfile(path):
        return "special"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def manners(reply: Reply, argv: list[str], names: set[str]) -> Iterator[str]:
    """How a command must end: exit status, one line of errors that names a file or flag, no traceback."""
    if reply.crash:
        yield f"not handled: {_exception(reply.crash):.200}"
        return
    if reply.status not in (0, 1, 2):
        yield f"exit status {reply.status}"
    lines = [line for line in reply.err.split("\n") if line]
    usage = bool(lines) and lines[0].startswith("usage:")
    if "Traceback" in reply.err or "Traceback" in reply.out:
        yield f"traceback: {lines[-1]:.200}"
    elif reply.status == 0 and (strange := [line for line in lines if not any(name in line for name in names)]):
        yield f"standard error after success: {strange[0]:.200}"  # unlike a library's, our warnings name the input
    elif reply.status and not usage and not (argv[0] == "verify" and "fault:" in reply.out and not lines):
        yield from _refusal(lines, reply.err, names)


def _exception(crash: str) -> str:
    """The line of a traceback that names the exception."""
    lines = crash.strip().splitlines()
    named = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|BadZipFile|Fault)\b", line)]
    return lines[0] if lines[0].startswith("time-out") else (named or lines)[-1]


def _refusal(lines: list[str], text: str, names: set[str]) -> Iterator[str]:
    if len(lines) != 1:
        yield f"{len(lines)} lines of errors: {' / '.join(lines[:3]):.300}"
        return
    if _ODD.search(lines[0]):
        yield f"control characters in the error: {lines[0]!r:.300}"
    if not any(name in lines[0] for name in names) and not re.search(r"(^|\W)--[a-z]", lines[0]):
        yield f"the error names neither file nor flag: {lines[0]:.200}"


def untouched(before: dict[str, str], after: dict[str, str], writes: tuple[str, ...]) -> Iterator[str]:
    """Nothing outside of what the command may write is created, changed or removed."""
    for path in sorted(before.keys() | after.keys()):
        allowed = any(path == one or path.startswith(f"{one}/") for one in (*writes, CACHE))
        if not allowed and before.get(path) != after.get(path):
            what = "removed" if path not in after else "changed" if path in before else "created"
            yield f"{what} outside of the output: {path!r:.120}"


def no_scratch(root: Path, reply: Reply) -> Iterator[str]:
    """Nothing half-written is left, and after success no progress either."""
    for path in root.rglob("*"):
        if path.name.endswith(".tmp") or (reply.status == 0 and path.name == ".progress"):
            yield f"scratch is left: {path.name} (status {reply.status})"
            return


def printed_counts(reply: Reply) -> Iterator[str]:
    """The counts that a conversion prints add up."""
    for what, *numbers in _LINE.findall(reply.out):
        read, written, skipped = map(int, numbers)
        if read != written + skipped:
            yield f"printed {what} do not add up: {read} read, {written} written, {skipped} skipped"


def totals(reply: Reply) -> dict[str, tuple[int, int, int]]:
    """{images or captions: (read, written, skipped)} of what a conversion prints."""
    return {what: (int(a), int(b), int(c)) for what, a, b, c in _LINE.findall(reply.out)}


def manifest_counts(root: Path) -> Iterator[str]:
    """The counts of the manifest add up, for images and captions."""
    try:
        counts = json.loads((root / "manifest.json").read_text())["counts"]
    except (OSError, ValueError, KeyError) as error:
        yield f"manifest after success: {type(error).__name__}: {error}"
        return
    for what in ("images", "captions"):
        one = counts[what]
        if one["read"] != sum(one["written"].values()) + sum(one["skipped"].values()):
            yield f"{what} of the manifest do not add up: {one}"


def told(damage: Damage, reply: Reply) -> bool:
    """Whether the command says that it has not read the damaged file: a folder of images may do without captions."""
    return f"not read: {os.path.basename(damage.path)}" in reply.out


def losses(damage: Damage, now: Reply, sound: Reply) -> Iterator[str]:
    """No more is missing, against the sound source, than what was broken."""
    if damage.lost is None or told(damage, now):
        return
    for (what, was), bound in zip(totals(sound).items(), damage.lost):
        read = totals(now).get(what, (0, 0, 0))[0]
        if read < was[0] - bound:
            yield f"{was[0] - read} {what} vanished uncounted, of {was[0]}; the damage touches {bound}"


@dataclass(frozen=True)
class Said:
    """What shards say of an image: its captions, its label, and the hash of its bytes."""

    captions: tuple[str, ...]
    label: str
    image: str


def said(root: Path) -> dict[str, Said]:
    """{source name: what is said of it} of all images of a set that a conversion wrote."""
    found: dict[str, Said] = {}
    for path in sorted(root.rglob("*.tar")):
        members: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                if file := tar.extractfile(member):
                    members.setdefault(key, {})[suffix] = file.read()
        for parts in members.values():
            about: dict[str, Any] = json.loads(parts["json"])
            image = next(hashlib.sha256(data).hexdigest() for suffix, data in parts.items() if suffix in IMAGES)
            found[about["source"]] = Said(tuple(about.get("captions", ())), str(about.get("label")), image)
    return found


def mixed_up(damage: Damage, now: dict[str, Said], sound: dict[str, Said]) -> Iterator[str]:
    """What was not broken is said of the same images as before."""
    if damage.lost is None:
        return
    changed = [name for name, one in now.items() if name in sound and _differ(one, sound[name])]
    new = [name for name in now if name not in sound]
    if len(changed) > MOST_CHANGED or len(new) > MOST_CHANGED:
        yield f"other captions, labels or bytes for {len(changed)} images ({changed[:3]}), {len(new)} new ({new[:3]})"


def _differ(one: Said, other: Said) -> bool:
    hidden = not one.captions or not other.captions  # --paired-ratio hides those of others where one is missing
    return one.image != other.image or one.label != other.label or (not hidden and one.captions != other.captions)


def captions(found: dict[str, Said]) -> set[str]:
    """All captions of a set."""
    return {text for one in found.values() for text in one.captions}


def keyword_file(path: Path) -> Iterator[str]:
    """A keyword file that was written can be read."""
    try:
        Vocabulary.load(path)
    except Exception as error:
        yield f"the keyword file cannot be read back: {error}"


def epoch(reply: Reply) -> Iterator[str]:
    """An epoch has all its steps, and every pair was read, or counted as missing."""
    found = json.loads(reply.out)
    if found["steps"] != min(found["wanted"], 60):
        yield f"{found['steps']} steps instead of {found['wanted']}"
    counts = {
        name.removeprefix("paired: "): number for name, number in found["counts"].items() if "unpaired" not in name
    }
    seen = sum(counts.get(reason, 0) for reason in ("read", "unreadable shard", "missing from shard"))
    if found["wanted"] <= 60 and seen < found["total"]:
        yield f"{found['total'] - seen} of {found['total']} pairs are neither read nor counted: {counts}"


def verdict(argv: list[str], damaged: Damage, reply: Reply) -> Iterator[str]:
    """`verify` finds every changed byte of a shard."""
    if argv[0] == "verify" and reply.status == 0 and damaged.path.endswith(".tar"):
        yield "verify says no fault of a changed shard"


def outcome(reply: Reply, sound: Reply | None) -> str:
    """What became of the input: accepted, skipped in part, or refused."""
    if reply.status:
        return REFUSED
    if reply.out.startswith('{"steps"'):
        counts = json.loads(reply.out)["counts"]
        usual = ("read", "without keyword")
        return SKIPPED if any(not name.endswith(usual) for name in counts) else ACCEPTED
    before = sum(one[2] for one in totals(sound).values()) if sound else 0
    return SKIPPED if sum(one[2] for one in totals(reply).values()) > before else ACCEPTED
