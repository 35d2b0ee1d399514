"""The context of a scenario's calls: a loaded session, input batches and the outputs to judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.session import Now, Session
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.load.scenarios import Scenario
from evenbench.harness.measurement import timing

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

Points = list[dict[str, Any]]
"""Raw measurements of one process, an entry per batch size, number of callers, gap or shape."""

JudgedOutputs = dict[str, Mapping[int, "Arrays"]]
"""Outputs for parity: by the name of the call pattern, then by batch number."""


@dataclass
class DeclaredSize:
    """Another input size that the cell's model declares, with input batches and outputs."""

    model: Model
    label: str
    batches: Sequence[Arrays]
    judged: JudgedOutputs = field(default_factory=dict)


@dataclass
class LoadContext:
    """A loaded, warm session and everything a scenario needs to call it.

    Tests replace the clock `now` and the function `sleep`.
    """

    session: Session
    batches: Sequence[Arrays]
    cell: Cell
    scenario: Scenario
    now: Now = timing.CLOCK
    sleep: Callable[[float], None] = time.sleep
    judged: JudgedOutputs = field(default_factory=dict)
    sizes: Sequence[DeclaredSize] = ()
    """The model's other sizes, for scenarios that change sizes."""

    @property
    def rotation(self) -> int:
        """The number of different batches."""
        return len(self.batches)

    @property
    def limit_ns(self) -> float:
        """The duration of a point's calls, in nanoseconds."""
        return self.scenario.seconds * 1e9
