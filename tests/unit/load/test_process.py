"""Sessions on which a scenario makes no sense are refused."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness import Unsupported
from evenbench.harness.core.session import Laps
from evenbench.harness.load import process
from evenbench.harness.load.scenarios import CONCURRENT, SHAPES, SINGLE, Scenario
from tests.unit.builders import Clock, Overlapping, ScriptedSession, cell

MS = 1_000_000


class Looping(ScriptedSession):
    clock = "a clock of its own"

    def laps(self, batches: Any, count: int, boundary: str, keep: Any) -> Laps:
        raise AssertionError("not called")


@pytest.mark.parametrize("name", [CONCURRENT, SHAPES])
def test_a_program_that_loops_by_itself_is_refused_where_calls_are_made_from_here(
    name: str,
) -> None:
    with pytest.raises(Unsupported, match="loops and times by itself"):
        process.check_supported(Looping(Clock()), cell(), Scenario(name))
    process.check_supported(Looping(Clock()), cell(), Scenario(SINGLE))


def test_requests_in_flight_are_refused_where_single_latencies_count() -> None:
    session = Overlapping(Clock())
    with pytest.raises(Unsupported, match=r"3 requests in flight.*scenario concurrent"):
        process.check_supported(session, cell(), Scenario(SINGLE))
    process.check_supported(session, cell(), Scenario(CONCURRENT))
