"""Every check of a folder of shards, one after the other."""

from dataclasses import dataclass
from functools import partial

from tqdm import tqdm

from sclip_plugin.shards.engines.engine import Engine
from sclip_plugin.shards.engines.local import HERE
from sclip_plugin.shards.seen_keys import SeenKeys
from sclip_plugin.shards.verification.faults import Fault, Faults
from sclip_plugin.shards.verification.findings import Findings
from sclip_plugin.shards.verification.folder_checks import folder_faults, manifest_faults
from sclip_plugin.shards.verification.parts import Part, find_parts
from sclip_plugin.shards.verification.shard_checks import ShardFindings, check_shard
from sclip_plugin.storage.location import Location, RemotePath, inside


@dataclass(frozen=True)
class Verification:
    """What a folder holds.

    Attributes:
        findings: {part: what its shards hold}.
        faults: everything that is wrong.
    """

    findings: dict[Part, Findings]
    faults: Faults


def verify(root: Location, engine: Engine = HERE, thumbnails: int = 0) -> Verification:
    """Decode every image of a folder's shards; check keys, members, captions, counts and hashes.

    Args:
        root: what `sclip convert` or `sclip split` wrote, an evaluation set, or any folder of tars.
        engine: does the work; the result is the same for any.
        thumbnails: samples of each shard to keep for a contact sheet.

    Raises:
        DataError: there is no such folder, or it holds no tars, or a store does not answer.
    """
    engine.check([str(root)])
    findings: dict[Part, Findings] = {part: Findings() for part in find_parts(root)}
    faults = Faults()
    _check_shards(root, findings, faults, engine, thumbnails)
    faults.add(folder_faults(root, findings, engine))
    faults.add(manifest_faults(root, findings))
    return Verification(findings, faults)


def _check_shards(
    root: Location, findings: dict[Part, Findings], faults: Faults, engine: Engine, thumbnails: int
) -> None:
    """Fill `findings` and `faults` from the shards, in order."""
    jobs = [(part, shard) for part in findings for shard in part.shards]
    size = None if isinstance(root, RemotePath) else sum(shard.stat().st_size for _, shard in jobs)
    check = partial(_check, thumbnails=thumbnails)
    with SeenKeys() as seen, tqdm(total=size, desc="verifying", unit="B", unit_scale=True, disable=None) as bar:
        for (part, shard), found in zip(jobs, engine.map(check, jobs)):
            bar.update(found.bytes)
            findings[part].add(inside(shard, root), found)
            faults.add(found.faults)
            for key in found.keys:
                if (before := seen.add(key, shard)) is not None:
                    faults.add([Fault("key occurs twice", f"{shard}: {key}, before in {before}")])


def _check(job: tuple[Part, Location], thumbnails: int) -> ShardFindings:
    return check_shard(*job, thumbnails)
