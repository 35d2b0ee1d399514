"""What holds for all tests."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from tests.compiler_cache.compile import FOLDER

LOCK = "EVENBENCH_LOCK"
OWN = pytest.StashKey[Path]()
COMPILED = pytest.StashKey[Path]()
COMPILER = Path(__file__).parent / "compiler_cache"

HEADERS = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"
"""Headers that inductor compiles ahead lie in the temporary folder of the process, and so are made
for seconds in each and used once.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Compile each C++ source once. Under xdist: a temporary folder, a lock against measuring side
    by side, and own cores for each worker. Tests judge no speed, so a session has a lock as well.
    """
    os.environ.setdefault(HEADERS, "0")
    os.environ.setdefault(LOCK, f"{tempfile.gettempdir()}/evenbench-tests-{os.getuid()}.lock")
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if not worker:
        _compile_once(config)
        return
    _keep_to_own_cores(int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        del os.environ[name]  # a pytest that a test starts is no worker
    config.stash[OWN] = Path(tempfile.mkdtemp(prefix=f"evenbench-tests-{worker}-"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(config.stash[OWN])
    os.environ[LOCK] = str(config.stash[OWN] / "lock")


def _compile_once(config: pytest.Config) -> None:
    """Put the g++ of `tests/compiler_cache` first on the path, with a folder for this session and
    all pytests that its tests start."""
    if FOLDER in os.environ or not shutil.which("g++"):
        return
    config.stash[COMPILED] = Path(tempfile.mkdtemp(prefix="evenbench-compiled-"))
    os.environ[FOLDER] = str(config.stash[COMPILED])
    os.environ["EVENBENCH_TESTS_PYTHON"] = sys.executable
    os.environ["PATH"] = os.pathsep.join([str(COMPILER), os.environ["PATH"]])


def _keep_to_own_cores(number: int, workers: int) -> None:
    """This worker's share of the cores, for all that it starts: threads that wait for each other,
    spinning, on cores that another worker computes on take several times as long. Where there are
    fewer cores than workers they share them."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) >= workers:
            os.sched_setaffinity(0, allowed[number::workers])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove these folders."""
    for key in (OWN, COMPILED):
        if key in config.stash:
            shutil.rmtree(config.stash[key], ignore_errors=True)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m alone`, files that do not name the mark are left out: importing all of them takes
    longer than some of those tests.
    """
    if (
        config.getoption("markexpr") == "alone"
        and collection_path.match("test_*.py")
        and not _names_alone(collection_path)
    ):
        return True
    return None


def _is_batch_of_the_night(item: pytest.Item) -> bool:
    """Whether the item is the contract's parity at batch 2. Each batch has an artifact and a golden
    of its own, twenty seconds of compilers; batch 7 proves what a batch above 1 can."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    own = getattr(item, "originalname", "") == "test_parity" and "contract" in item.path.parts
    return bool(own and parameters.get("batch") == 2)


def _names_alone(file: Path) -> bool:
    return "pytest.mark.alone" in file.read_text(encoding="utf-8")


@pytest.hookimpl(tryfirst=True)  # before anything is deselected
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """One batch of the contract is for the night. Under xdist: files with slow tests come first, so
    that no worker ends with a long file while the other has nothing left.
    """
    hidden = sorted(
        str(file)
        for file in {item.path for item in items if item.get_closest_marker("alone")}
        if not _names_alone(file)
    )
    if hidden:
        raise pytest.UsageError(
            f"`-m alone` would not find the tests of {', '.join(hidden)}; write pytest.mark.alone "
            "into the file"
        )
    for item in items:
        if _is_batch_of_the_night(item):
            item.add_marker(pytest.mark.nightly)
    if OWN in config.stash:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is there by now stays to the end: without it each full collection of garbage goes over
    five thousand tests again.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell ignores SIGINT for what it puts into the background, and children inherit that: what
    tests start must heed it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
