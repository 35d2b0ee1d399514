"""The present inputs of a file, and the given samples in the file's names and dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.backends.onnx.file_inputs import value_outputs
from evenbench.backends.onnx.file_inputs.declared import SEQUENCE, Declared
from evenbench.harness import UsageError
from evenbench.harness.inputs.given_samples import Given
from evenbench.harness.inputs.input_requests import ABSENT


def absent(
    inputs: Sequence[Declared], raw: Given | None, rules: Mapping[str, Mapping[str, Any]]
) -> tuple[str, ...]:
    """The optional inputs without a value: none in the samples, or absent by a rule of the user.

    Raises UsageError for a rule about an input that is not optional.
    """
    optional = [item.name for item in inputs if item.optional]
    chosen = [name for name, rule in rules.items() if ABSENT in rule]
    for name in chosen:
        if name not in optional:
            raise UsageError(
                f"--range {name}={ABSENT}: {name} is not optional in the file; give values, or "
                "leave the flag out"
            )
    if raw is None:
        return tuple(chosen)
    names = {name.partition("[")[0] for sample in raw.samples for name in sample}
    known = {item.name for item in inputs}
    unnamed = len(names - known)  # these stand for the inputs in order
    return tuple([name for name in optional if name not in names][unnamed:])


def fitted(inputs: Sequence[Declared], raw: Given) -> Given:
    """The samples under the names of the `inputs` and in their dtypes."""
    wanted: dict[str, tuple[int | None, str]] = {}
    for declared in inputs:
        rank = None if declared.shape is None else len(declared.shape)
        names = [declared.name]
        if declared.kind == SEQUENCE:
            count = sum(name.startswith(f"{declared.name}[") for name in raw.samples[0])
            names = value_outputs.elements(declared.name, count)
        wanted |= dict.fromkeys(names, (rank, declared.dtype))
    return raw.fitted(wanted)
