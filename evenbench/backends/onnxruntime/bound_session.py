"""ONNX Runtime sessions with inputs and outputs bound to device memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.backends.onnxruntime import execution_providers
from evenbench.backends.onnxruntime import session as ort_session
from evenbench.harness import Cell, Session, Unsupported

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class BoundSession(ort_session.OrtSession):
    """A session with inputs and outputs bound ahead: `step` neither allocates nor copies."""

    iobinding = "on"

    def __init__(self, file: Path, cell: Cell, provider: str = "") -> None:
        super().__init__(file, cell, provider)
        import numpy as np

        number = int(execution_providers.provider_options(cell, self.chosen).get("device_id", 0))
        self.place = (self.provider.memory, number)
        self.binding = self.session.io_binding()
        self.input_values: dict[str, Any] = {}
        self.output_values: dict[str, Any] = {}
        allocate = self.runtime.OrtValue.ortvalue_from_shape_and_type
        for spec in cell.model.outputs:
            self.output_values[spec.name] = allocate(
                list(spec.concrete(cell.batch)), np.dtype(spec.dtype), *self.place
            )
            self.binding.bind_ortvalue_output(spec.name, self.output_values[spec.name])

    def bind(self, inputs: Arrays) -> None:
        # Keeps the arrays alive: on the CPU, the bound memory belongs to these arrays.
        super().bind(inputs)
        for name, array in inputs.items():
            if name in self.input_values and self.provider.memory != "cpu":
                self.input_values[name].update_inplace(array)
                continue
            self.input_values[name] = self.runtime.OrtValue.ortvalue_from_numpy(array, *self.place)
            self.binding.bind_ortvalue_input(name, self.input_values[name])
        self.binding.synchronize_inputs()

    def step(self) -> None:
        self.session.run_with_iobinding(self.binding)

    def sync(self) -> None:
        self.binding.synchronize_outputs()

    def fetch(self) -> Arrays:
        import numpy as np

        # A copy: the next step overwrites the bound memory.
        return {name: np.array(value.numpy()) for name, value in self.output_values.items()}

    def beside(self) -> Session:
        raise Unsupported(
            "with iobinding=on, all threads would share one set of bound buffers; use iobinding=off"
        )

    def close(self) -> None:
        self.binding = None
        self.input_values, self.output_values = {}, {}
        super().close()
