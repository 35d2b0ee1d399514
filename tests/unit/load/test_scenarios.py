"""Scenarios with impossible values are refused."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness import UsageError
from evenbench.harness.load.scenarios import GAPS, SERVER, Scenario


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"seconds": 0}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"batches": (1, 1)}, "batches"),
        ({"batches": (0, 1)}, "batches"),
        ({"callers": ()}, "callers"),
        ({"gaps_ms": (10.0, 100.0)}, "gaps_ms"),
        ({"gaps_ms": (0.0,)}, "gaps_ms"),
        ({"gaps_ms": (0.0, -1.0)}, "gaps_ms"),
        ({"rounds": 0}, "rounds"),
        ({"rate_per_second": -1.0}, "rate_per_second"),
        ({"rate_per_second": float("inf")}, "rate_per_second"),
    ],
)
def test_what_cannot_be_is_refused_by_the_name_of_the_field(
    wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError, match=f"^{field} .*expected"):
        Scenario(GAPS, **wrong)


def test_a_server_needs_a_bound() -> None:
    with pytest.raises(UsageError, match="bound_ns"):
        Scenario(SERVER)
