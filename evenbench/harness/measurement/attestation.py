"""The comparison of a request with the attestation: device, precision and threads as executed."""

from __future__ import annotations

from collections.abc import Sequence

from evenbench.harness.core.measurements import Attestation
from evenbench.harness.core.types import Cell
from evenbench.harness.measurement.phases import PhaseError

ATTESTED = ("runtime", "version", "device", "precision", "denormals", "spinning")
"""The texts that every attestation must fill in."""


def difference(cell: Cell, attested: Attestation, observed: Sequence[str] = ()) -> str:
    """The difference between the cell's request and the attestation, or an empty string.

    `observed` has differences that the harness saw by itself, such as cores in use.

    Raises PhaseError, around a ValueError, if the attestation leaves a required field empty.
    """
    empty = [name for name in ATTESTED if not getattr(attested, name)]
    if empty or attested.threads < 1:
        missing = ", ".join(empty) or "threads"
        error = f"{cell.backend}: attest() left {missing} empty; read it from the runtime"
        raise PhaseError("sample", ValueError(error))
    requested = {"precision": cell.precision, "device": cell.device, "threads": cell.threads}
    differences = [
        f"{name} {value}, ran {getattr(attested, name)}"
        for name, value in requested.items()
        if getattr(attested, name) != value
    ]
    differences += observed
    return f"{cell.backend}: asked for {'; '.join(differences)}" if differences else ""
