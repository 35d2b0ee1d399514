"""What there is to run on a GPU: every runtime, device and precision that is not the CPU's, of the
network of the contract.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Cell
from evenbench.harness.core import registry
from evenbench.harness.core.types import PRECISIONS


@dataclass(frozen=True)
class Pair:
    """A backend on a device at a precision, which it supports; `lacks` says what this machine has
    not got for it.
    """

    backend: str
    device: str
    precision: str
    lacks: str = ""

    @property
    def test(self) -> str:
        """The name of its class among the contract's tests."""
        return "Test_" + "__".join(
            part.replace("-", "_").replace(":", "_")
            for part in (self.backend, self.device, self.precision)
        )


def pairs() -> list[Pair]:
    """All of them, in the order of the table of backends. Imports no runtime."""
    return list(_pairs())


def _pairs() -> Iterator[Pair]:
    for row in registry.rows().values():
        backend = registry.find(row.name)
        if row.role != "runtime":
            continue
        for device in (device for device in backend.devices if device != "cpu"):
            for precision in PRECISIONS:
                cell = Cell(TINY_CNN, row.name, precision, device)
                if not backend.supports(cell):
                    missing = ", ".join(backend.missing())
                    yield Pair(
                        row.name,
                        device,
                        precision,
                        f"{missing} is not installed" if missing else backend.lacks(cell),
                    )
