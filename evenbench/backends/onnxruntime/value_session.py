"""ONNX Runtime sessions with values unknown to numpy: narrow types, sequences, maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evenbench.backends.onnx.file_inputs import feeds, value_outputs
from evenbench.backends.onnxruntime.session import OrtSession
from evenbench.harness import Cell

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


def is_needed(cell: Cell) -> bool:
    """Whether a plain session cannot take the inputs, or return the outputs, of a cell."""
    specs = (*cell.model.inputs, *cell.model.outputs)
    narrow = any(feeds.is_narrow(spec.dtype) for spec in specs)
    lists = (feeds.SEQUENCES, feeds.SEQUENCE_OUTPUTS, feeds.ABSENT)
    return narrow or any(feeds.sequences_of(cell.model, argument) for argument in lists)


class ValueSession(OrtSession):
    """A session on ONNX Runtime's own values: `bind` copies in, `fetch` copies out."""

    def bind(self, inputs: Arrays) -> None:
        given = feeds.of_model(inputs, self.cell.model)
        self.feeds = feeds.prepared(self.session, self.runtime, given)

    def step(self) -> None:
        self.result = self.run_other(self.session, self.feeds)

    def fetch(self) -> Arrays:
        outputs = value_outputs.separated(dict(zip(self.outputs, self.result, strict=True)))
        return {name: feeds.fetched(output) for name, output in outputs.items()}

    def run_other(self, session: Any, inputs: dict[str, Any]) -> list[Any]:
        if any(not isinstance(value, self.runtime.OrtValue) for value in inputs.values()):
            return list(session.run(self.outputs, inputs))
        return list(session.run_with_ort_values(self.outputs, inputs))
