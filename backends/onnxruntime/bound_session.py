"""ONNX Runtime sessions with inputs and outputs bound to device memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.onnxruntime import execution_providers
from backends.onnxruntime import session as ort_session
from harness import Cell, Session, Unsupported

if TYPE_CHECKING:
    from harness.core.session import Arrays


class BoundSession(ort_session.OrtSession):
    """Inputs and outputs are bound once, to memory of the provider's device: `step` allocates and
    copies nothing.
    """

    iobinding = "on"

    def __init__(self, file: Path, cell: Cell, provider: str = "") -> None:
        super().__init__(file, cell, provider)
        import numpy as np

        number = int(execution_providers.provider_options(cell, self.chosen).get("device_id", 0))
        self.place = (self.provider.memory, number)
        self.binding = self.session.io_binding()
        self.values: dict[str, Any] = {}
        self.made: dict[str, Any] = {}
        made = self.runtime.OrtValue.ortvalue_from_shape_and_type
        for spec in cell.model.outputs:
            self.made[spec.name] = made(
                list(spec.concrete(cell.batch)), np.dtype(spec.dtype), *self.place
            )
            self.binding.bind_ortvalue_output(spec.name, self.made[spec.name])

    def bind(self, inputs: Arrays) -> None:
        super().bind(inputs)  # keeps the arrays alive: memory on the CPU is theirs
        for name, array in inputs.items():
            if name in self.values and self.provider.memory != "cpu":
                self.values[name].update_inplace(array)
                continue
            self.values[name] = self.runtime.OrtValue.ortvalue_from_numpy(array, *self.place)
            self.binding.bind_ortvalue_input(name, self.values[name])
        self.binding.synchronize_inputs()

    def step(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def sync(self) -> None:
        self.binding.synchronize_outputs()

    def fetch(self) -> Arrays:
        import numpy as np

        return {
            name: np.array(value.numpy()) for name, value in self.made.items()
        }  # a copy: the next step writes there again

    def beside(self) -> Session:
        raise Unsupported(
            "iobinding=on binds inputs and outputs to one place in memory, which threads would share; ask for iobinding=off"
        )

    def close(self) -> None:
        self.binding = None
        self.values, self.made = {}, {}
        super().close()
