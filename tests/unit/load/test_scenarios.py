"""Scenarios with impossible values are refused."""

from __future__ import annotations

from typing import Any

import pytest

from harness import UsageError
from harness.load.scenarios import GAPS, SERVER, Scenario


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"seconds": 0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"batches": (1, 1)}, "--batches"),
        ({"batches": (0, 1)}, "--batches"),
        ({"callers": ()}, "--callers"),
        ({"gaps_ms": (10.0, 100.0)}, "--gaps"),
        ({"gaps_ms": (0.0,)}, "--gaps"),
        ({"gaps_ms": (0.0, -1.0)}, "--gaps"),
        ({"rounds": 0}, "--rounds"),
        ({"rate_per_second": -1.0}, "--rate"),
        ({"rate_per_second": float("inf")}, "--rate"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_its_flag(
    wrong: dict[str, Any], flag: str
) -> None:
    with pytest.raises(UsageError, match=f"^{flag} .*expected"):
        Scenario(GAPS, **wrong)


def test_a_server_needs_a_bound() -> None:
    with pytest.raises(UsageError, match="--p99"):
        Scenario(SERVER)
