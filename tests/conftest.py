"""What holds for all tests."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

OWN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Under xdist: a temporary folder for each worker, since evenbench's lock against measuring side by side lies there."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if not worker:
        return
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        del os.environ[name]  # a pytest that a test starts is no worker
    config.stash[OWN] = Path(tempfile.mkdtemp(prefix=f"evenbench-tests-{worker}-"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(config.stash[OWN])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that folder."""
    if OWN in config.stash:
        shutil.rmtree(config.stash[OWN], ignore_errors=True)


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell ignores SIGINT for what it puts into the background, and children inherit that: what tests start must heed it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
