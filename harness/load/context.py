"""What the calls of a scenario are made on: a loaded session, what it is fed, and what it answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.core.backend import Now, Session
from harness.core.types import Cell, Model
from harness.load.scenarios import Scenario
from harness.measurement import timing

if TYPE_CHECKING:
    from harness.core.backend import Arrays

Points = list[dict[str, Any]]
Kept = dict[str, Mapping[int, "Arrays"]]
"""Outputs to judge: for every way in which calls were made, those of each batch."""


@dataclass
class Size:
    """Another size that the cell's model declares: its own declaration, what is fed at it, and what
    was answered.
    """

    model: Model
    label: str
    batches: Sequence[Arrays]
    kept: Kept = field(default_factory=dict)


@dataclass
class Scene:
    """A loaded and warm session, what it is fed, and the two things that tests replace: the clock
    and sleeping.
    """

    session: Session
    batches: Sequence[Arrays]
    cell: Cell
    scenario: Scenario
    now: Now = timing.CLOCK
    sleep: Callable[[float], None] = time.sleep
    kept: Kept = field(default_factory=dict)
    sizes: Sequence[Size] = ()
    """The model's other sizes, where the scenario feeds them."""

    @property
    def rotation(self) -> int:
        """How many batches differ."""
        return len(self.batches)

    @property
    def limit_ns(self) -> float:
        """How long the calls of a point go on."""
        return self.scenario.seconds * 1e9
