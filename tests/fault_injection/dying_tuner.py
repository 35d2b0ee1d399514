"""TVM with a runner that ends the tuner's own process at its second batch, as a bug in the compiler
would.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from evenbench.backends.tvm import tuning
from evenbench.backends.tvm.backend import Tvm
from evenbench.harness import Cell, Source

BATCHES = 1


class Dying(Tvm):
    """Its records are those of `tvm`."""

    name = "dying"

    def tune(self, source: Source, cell: Cell, per_task: int) -> Mapping[str, Any]:
        tuning.runner = _dying  # type: ignore[assignment]
        return super().tune(source, cell, per_task)


def _dying(meta_schedule: Any) -> Any:
    from tvm.ir.utils import derived_object

    @derived_object
    class Runner(meta_schedule.runner.PyRunner):  # type: ignore[misc]
        """Runs the first batches, then aborts."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = meta_schedule.runner.LocalRunner(initializer=None)
            self.batches = 0

        def run(self, runner_inputs: list[Any]) -> list[Any]:
            self.batches += 1
            if self.batches > BATCHES:
                os.abort()
            return list(self.inner.run(runner_inputs))

    return Runner()
