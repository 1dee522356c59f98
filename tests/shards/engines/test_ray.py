"""Conversions, splits, checks and keywords on a Ray cluster of three nodes: the same bytes, whatever is lost."""

import hashlib
import io
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context

import fsspec
import pytest

from sclip_plugin.cli import main
from sclip_plugin.errors import DataError, UsageError
from sclip_plugin.shards.conversion.pipeline import _spool
from sclip_plugin.shards.engines.local import Threads
from sclip_plugin.storage import lease
from sclip_plugin.storage.location import RemotePath
from sclip_plugin.storage.outputs import write
from tests.helpers import formats
from tests.helpers.conversion import convert, image, source, tree
from tests.helpers.stores import BUCKET, s3_server, upload
from tests.storage.conftest import point_to

pytest.importorskip("ray")
from ray.cluster_utils import Cluster

from sclip_plugin.shards.engines import ray as engine

pytestmark = pytest.mark.slow
MEMORY = 80 << 20  # of a node's object store; Ray takes a share of the machine otherwise
NODES = 3


@pytest.fixture(scope="module")
def s3():
    """An S3 server which the nodes of the cluster know, too, since they are started after it."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with pytest.MonkeyPatch.context() as patch, s3_server() as endpoint:
        point_to(endpoint, patch)
        yield f"s3://{BUCKET}"


@pytest.fixture(scope="module")
def cluster(s3):
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": MEMORY}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(1, NODES):
        made.add_node(num_cpus=1, object_store_memory=MEMORY)
    yield made
    made.shutdown()


@pytest.fixture
def ray(cluster):
    """The flags that send work to the cluster, whose lost nodes are replaced."""
    while len(cluster.list_all_nodes()) < NODES:
        cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    return ("--engine", "ray", "--address", cluster.address)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A source with images that must be re-encoded, damaged ones, equal ones, and one that is equal when re-encoded."""
    root = source(tmp_path_factory.mktemp("source"))
    photos = root / "photos"
    (photos / "broken.jpg").write_bytes(b"no image")
    (photos / "grey.png").write_bytes(image(7, "PNG", "RGBA"))
    shutil.copy(photos / "p000.jpg", photos / "copy.jpg")
    return root


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """What the local engine makes of it."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert convert(root, out, *FLAGS) == 0
    return out


FLAGS = ("--paired-ratio", 0.5, "--shard-size", 4, "--check")


@pytest.mark.parametrize("workers", [(), ("--workers", 1), ("--workers", 2)])
def test_a_conversion_has_the_bytes_of_the_local_engine(root, whole, tmp_path, ray, workers):
    assert convert(root, tmp_path / "out", *FLAGS, *ray, *workers) == 0
    assert tree(tmp_path / "out") == tree(whole)


@pytest.mark.parametrize("form", [formats.parquet, formats.arrow, formats.img2dataset])
def test_sources_of_many_files_are_read_by_the_cluster(tmp_path, ray, form):
    data = form(tmp_path)
    for out, flags in (("here", ()), ("there", ray)):
        assert main(["convert", str(data), "--out", str(tmp_path / out), "--val-ratio", "0.3", *flags]) == 0
    assert tree(tmp_path / "here") == tree(tmp_path / "there")


def test_paths_are_relative_to_the_command_and_not_to_a_worker(root, whole, tmp_path, ray, monkeypatch):
    monkeypatch.chdir(root)
    flags = [*map(str, FLAGS), *ray]
    assert main(["convert", "captions.csv", "--images", "photos", "--out", "relative", *flags]) == 0
    assert tree(root / "relative") == tree(whole)
    shutil.rmtree(root / "relative")
    by_url = ["convert", f"file://{root}/captions.csv", "--images", f"file://{root}/photos"]
    assert main([*by_url, "--out", f"file://{tmp_path}/out", *flags]) == 0
    assert tree(tmp_path / "out") == tree(whole)


def test_split_verify_and_keywords_give_what_they_give_here(whole, tmp_path, ray, capsys):
    said = {}
    for out, flags in (("here", ()), ("there", ray)):
        again = tmp_path / out
        assert main(["split", str(whole), "--out", str(again), "--paired-ratio", "0.2", *flags]) == 0
        assert main(["keywords", str(whole / "paired"), "--out", str(tmp_path / f"{out}.txt"), *flags]) == 0
        with redirect_stdout(io.StringIO()) as printed:
            assert main(["verify", str(whole), "--sheet", str(tmp_path / f"{out}.png"), *flags]) == 0
        said[out] = printed.getvalue().replace(out, "…")
    assert tree(tmp_path / "here") == tree(tmp_path / "there")
    assert (tmp_path / "here.txt").read_bytes() == (tmp_path / "there.txt").read_bytes()
    assert said["here"] == said["there"]


def test_from_a_store_to_a_store(root, whole, tmp_path, s3, ray):
    upload(root, f"{s3}/source")
    parquet = formats.parquet(tmp_path / "rows")
    upload(parquet if parquet.is_dir() else parquet.parent, f"{s3}/rows")
    captions = ["convert", f"{s3}/source/captions.csv", "--images", f"{s3}/source/photos", *map(str, FLAGS)]
    for out, flags in (("here", ()), ("there", ray)):
        assert main([*captions, "--out", f"{s3}/{out}", *flags]) == 0
        assert main(["convert", f"{s3}/rows", "--out", f"{s3}/{out}-rows", *flags]) == 0
    assert objects(f"{s3}/here") == objects(f"{s3}/there") == tree(whole)
    assert objects(f"{s3}/here-rows") == objects(f"{s3}/there-rows") != {}


def objects(url: str) -> dict[str, bytes]:
    """{name: bytes} of the objects below a URL."""
    system, path = fsspec.url_to_fs(url)
    system.invalidate_cache()
    return {name.removeprefix(f"{path}/"): system.cat_file(name) for name in system.find(path)}


def after(results: int, act: Callable[[], object], monkeypatch) -> list[int]:
    """Let `act` be done before the driver takes its result of this number, counted over the run; gives the count."""
    take, taken = engine._result, [0]

    def counted(*args):
        taken[0] += 1
        if taken[0] == results:
            act()
        return take(*args)

    monkeypatch.setattr(engine, "_result", counted)
    return taken


@pytest.mark.parametrize("results", [1, 9])
def test_a_lost_node_costs_its_tasks_only(root, whole, tmp_path, cluster, ray, monkeypatch, results):
    lost = list(cluster.worker_nodes)[-1]

    def lose() -> None:
        cluster.remove_node(lost, allow_graceful=False)
        (tmp_path / "out" / "paired").mkdir(exist_ok=True)  # what a writer leaves that is killed
        (tmp_path / "out" / "paired" / ".000001.tar.99999.tmp").write_bytes(b"half")

    taken = after(results, lose, monkeypatch)
    assert convert(root, tmp_path / "out", *FLAGS, *ray) == 0
    assert taken[0] > results
    assert lost not in cluster.worker_nodes
    assert tree(tmp_path / "out") == tree(whole)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_goes_on(root, whole, tmp_path, ray, monkeypatch, capsys):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        after(9, interrupt, patch)
        assert convert(root, out, *FLAGS, *ray) == 1
    assert "run the same command again to continue" in capsys.readouterr().err
    marks = list((out / ".progress").iterdir())
    assert marks
    assert not (out / "manifest.json").exists()
    assert convert(root, out, *FLAGS) == 0  # and by the other engine
    assert tree(out) == tree(whole)


def killed(arguments: list[str], results: int) -> None:
    """A run whose process is killed."""
    with pytest.MonkeyPatch.context() as patch:
        after(results, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
        main(arguments)


@pytest.mark.parametrize("results", [2, 11])
def test_a_killed_driver_is_started_again(root, whole, tmp_path, ray, results):
    out = tmp_path / "out"
    arguments = ["convert", str(root / "captions.csv"), "--images", str(root / "photos"), "--out", str(out)]
    arguments += [*map(str, FLAGS), *ray]
    run = get_context("spawn").Process(target=killed, args=(arguments, results))
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    assert not (out / "manifest.json").exists()
    assert main(arguments) == 0
    assert tree(out) == tree(whole)


def test_faults_of_the_data_are_told_as_here(tmp_path, ray, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(b"no tar" * 1000)
    said = []
    for flags in ((), ray):
        assert main(["convert", str(tmp_path / "none.tar"), "--out", str(tmp_path / "o"), *flags]) == 1
        assert "no such file or folder" in capsys.readouterr().err
        assert main(["convert", str(tmp_path / "in" / "a.tar"), "--out", str(tmp_path / "o"), *flags]) == 1
        said.append(capsys.readouterr().err)
    assert said[0] == said[1]
    assert "a.tar" in said[0]


def test_a_node_must_see_the_places_and_have_this_version(ray, cluster, monkeypatch):
    unseen = r"--engine ray: \S+ does not see /no/such: give URLs, or paths on a disk that all"
    with engine.connected(cluster.address) as found:
        found.check([os.getcwd()])
        found.check(["/no/such"])  # which this machine does not see either
        with monkeypatch.context() as patch:
            patch.setattr(engine.places, "exists", lambda place: True)
            with pytest.raises(UsageError, match=unseen):
                found.check([os.getcwd(), "/no/such"])
        monkeypatch.setattr(engine, "__version__", "0.0.0.other")
        with pytest.raises(
            UsageError, match=r"--engine ray: \S+ has sclip-plugin \S+, and this machine 0\.0\.0\.other"
        ):
            found.check([])


def test_work_that_is_lost_again_and_again_ends_with_a_line(ray, cluster, monkeypatch):
    monkeypatch.setattr(engine, "RETRIES", 1)
    lost = pytest.raises(DataError, match=r"--engine ray: work was lost 2 times: ")
    with engine.connected(cluster.address) as found, lost:
        list(found.map(os._exit, [1]))


def busy(_: int) -> tuple[float, float]:
    """When this began and when it ended."""
    begun = time.monotonic()
    hashlib.sha256(bytes(100 << 20)).digest()
    return begun, time.monotonic()


def overlap(spans: Iterable[tuple[float, float]]) -> bool:
    """Whether one of these begins before another one has ended."""
    return any(begin < end for (_, end), (begin, _) in pairwise(sorted(spans)))


def test_workers_bound_the_tasks_at_a_time(ray, cluster):
    with engine.connected(cluster.address) as found:
        assert overlap(found.map(busy, range(60)))  # the workers of all nodes are there by then
        assert not overlap(replace(found, workers=1).map(busy, range(12)))


def test_a_run_that_loses_its_lease_stops(root, s3, ray, monkeypatch, capsys):
    def rob() -> None:
        fsspec.filesystem("s3").rm_file(f"{s3}/robbed/.progress/lock")
        (held,) = lease._held
        held.renew()  # as it does twice a minute

    taken = after(9, rob, monkeypatch)
    assert convert(root, f"{s3}/robbed", *FLAGS, *ray) == 1
    assert "s3://bucket/robbed: this run stops: its lease was removed" in capsys.readouterr().err
    assert taken[0] == 9  # at once, and not where the manifest would be written
    assert not fsspec.filesystem("s3").exists(f"{s3}/robbed/manifest.json")


def test_spooled_images_lie_where_other_machines_find_them(tmp_path):
    root = RemotePath("memory://made/set")
    with _spool(root, tmp_path, engine.RayEngine()) as spool:
        write(spool / "0" / "parquet-0", b"images")
        assert str(spool).startswith("memory://made/set/")
    assert not list(spool.glob("*/*"))
    for place, by in ((root, Threads()), (tmp_path / "out", engine.RayEngine())):
        with _spool(place, tmp_path, by) as spool:
            assert spool == tmp_path


def test_items_are_drawn_only_as_fast_as_results_are_taken(ray, cluster):
    drawn = []

    def items():
        for number in range(100):
            drawn.append(number)
            yield number

    with engine.connected(cluster.address, workers=1) as found:
        results = found.map(abs, items())
        assert next(results) == 0
        assert len(drawn) <= engine.AHEAD * (NODES + 1)  # a node that was just lost may still be counted
        results.close()


@pytest.mark.parametrize("command", ["convert", "split", "verify", "keywords"])
def test_an_address_needs_the_engine(command, tmp_path, capsys):
    out = [] if command == "verify" else ["--out", str(tmp_path / "o")]
    assert main([command, str(tmp_path), *out, "--address", "here:1"]) == 2
    assert "--address needs --engine ray" in capsys.readouterr().err


def test_no_cluster_and_no_package(root, tmp_path, capsys, monkeypatch):
    assert convert(root, tmp_path / "o", "--engine", "ray", "--address", "127.0.0.1:1") == 2
    assert "--address 127.0.0.1:1: no Ray cluster answers" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert convert(root, tmp_path / "o", "--engine", "ray") == 2
    assert "--engine ray needs ray: pip install 'sclip-plugin[ray]'" in capsys.readouterr().err
    names = ("--method", "classes", "--recipe", "rsicd")
    assert main(["keywords", str(tmp_path), "--out", "k", *names, "--engine", "ray"]) == 2
    assert "--engine has no effect on --method classes" in capsys.readouterr().err


def test_a_cluster_of_this_machine_is_a_new_one(monkeypatch):
    """Ray by itself goes to the last cluster that was started here, and waits for it where it is gone."""
    import ray

    asked = []
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options["address"]))
    for address in (None, "auto"):
        with engine.connected(address):
            pass
    assert asked == ["local", "auto"]
