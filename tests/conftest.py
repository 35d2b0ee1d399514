"""What holds for all tests."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture(autouse=True, scope="session")
def _interruptible() -> None:
    """A shell ignores SIGINT for what it puts into the background, and children inherit that: what tests start must heed it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
