"""Outputs of a session on a batch, and assertions on outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evenbench.harness.core.session import Session

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


def answer(session: Session, batch: Arrays) -> Arrays:
    """Bind, step, sync, fetch."""
    session.bind(batch)
    session.step()
    session.sync()
    return session.fetch()


def copied(arrays: Arrays) -> dict[str, Any]:
    """A copy of the arrays, safe from later writes."""
    return {name: np.array(array, copy=True) for name, array in arrays.items()}


def assert_equal(outputs: Arrays, wanted: Arrays, message: str) -> None:
    """Assert bitwise equality of outputs."""
    for name, array in wanted.items():
        assert np.array_equal(outputs[name], array), f"output {name} {message}"


def assert_close(answers: Sequence[Arrays], wanted: Arrays, message: str) -> None:
    """Assert equality up to the order of additions, which varies with threads."""
    for name, array in wanted.items():
        allowed = 1e-3 * max(1e-12, float(np.abs(array).max(initial=0)))
        assert all(
            np.allclose(outputs[name], array, rtol=1e-3, atol=allowed) for outputs in answers
        ), f"output {name} {message}"
