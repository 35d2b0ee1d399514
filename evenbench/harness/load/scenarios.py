"""Load scenarios as values: the pattern of calls, with limits and durations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evenbench.harness.core.dynamic_axes import SIZE
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.plans import Plan
from evenbench.harness.core.tensor_specs import BATCH

SINGLE, SWEEP, CONCURRENT, SERVER, GAPS, SHAPES = (
    "single-stream",
    "batch-sweep",
    "concurrent",
    "server",
    "idle-gaps",
    "shapes",
)
NAMES = (SINGLE, SWEEP, CONCURRENT, SERVER, GAPS, SHAPES)

VARIED = ((BATCH,), (SIZE,), (BATCH, SIZE), (SIZE, BATCH))
"""Valid values of `Scenario.vary`."""


class InvalidScenario(UsageError):
    """A scenario with an impossible value. `field` is the name of the scenario's field.

    `value` is the text of the wrong value, empty for a missing value.
    """

    def __init__(self, field: str, value: str, expected: str) -> None:
        self.field, self.value, self.expected = field, value, expected
        super().__init__(self.with_name(field))

    def with_name(self, name: str) -> str:
        """The message with another name for the field, such as the name of a flag."""
        return f"{name} {self.value}: {self.expected}" if self.value else f"{name}: {self.expected}"


@dataclass(frozen=True)
class Scenario:
    """Calls of a process on a loaded session.

    Each scenario reads only some fields. Raises InvalidScenario for an impossible value.
    """

    name: str
    seconds: float = 3.0
    """Duration of the calls at each point: a batch size, a number of callers, a shape, or a run of
    the load generator.
    """
    bound_ns: int = 0
    """Latency bound for 99 % of the calls, in nanoseconds; 0 for no bound."""
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    callers: tuple[int, ...] = (1, 2, 4)
    gaps_ms: tuple[float, ...] = (0.0, 10.0, 100.0, 1000.0)
    vary: tuple[str, ...] = (BATCH,)
    """Changing parts of the shapes: batch, input size, or both."""
    rounds: int = 15
    rate_per_second: float = 0.0
    """Fixed arrival rate to judge; 0 searches for the highest valid rate."""
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.name in NAMES, "name", self.name, f"one of {', '.join(NAMES)}")
        _require(
            0 < self.seconds < math.inf,
            "seconds",
            f"{self.seconds:g}",
            "a number of seconds above 0",
        )
        counts = "different whole numbers of 1 or more, such as 1,2,4"
        _require(_are_counts(self.batches), "batches", _listed(self.batches), counts)
        _require(_are_counts(self.callers), "callers", _listed(self.callers), counts)
        gaps = "0 and other times in ms, such as 0,10,100"
        _require(_are_gaps(self.gaps_ms), "gaps_ms", _listed(self.gaps_ms), gaps)
        varied = ",".join(self.vary) or EMPTY
        _require(self.vary in VARIED, "vary", varied, "batch, size, or batch,size")
        _require(self.rounds >= 1, "rounds", f"{self.rounds}", "a whole number of 1 or more")
        _require(
            0 <= self.rate_per_second < math.inf,
            "rate_per_second",
            f"{self.rate_per_second:g}",
            "a number of arrivals per second above 0",
        )
        if self.name == SERVER and not self.bound_ns:
            raise InvalidScenario(
                "bound_ns",
                "",
                f"scenario {SERVER} judges arrivals by a latency bound; give a bound",
            )

    @property
    def has_batches(self) -> bool:
        """Whether the scenario sets the batch sizes instead of each cell."""
        return self.name == SWEEP or (self.name == SHAPES and BATCH in self.vary)

    @property
    def has_sizes(self) -> bool:
        """Whether the scenario feeds models at all declared sizes."""
        return self.name == SHAPES and SIZE in self.vary


@dataclass(frozen=True)
class LoadRequest:
    """Payload of the worker task `load`."""

    plan: Plan
    scenario: Scenario


EMPTY = "(nothing)"


def _require(is_valid: bool, field: str, value: str, expected: str) -> None:
    if not is_valid:
        raise InvalidScenario(field, value, f"expected {expected}")


def _are_counts(values: Sequence[int]) -> bool:
    return bool(values) and min(values) >= 1 and len(set(values)) == len(values)


def _are_gaps(values: Sequence[float]) -> bool:
    is_finite = all(0 <= value < math.inf for value in values)
    return 0 in values and is_finite and len(set(values)) == len(values) > 1


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or EMPTY
