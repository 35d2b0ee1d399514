"""State of a streaming model: outputs of a step, inputs of the next step.

Stdlib only. `Model.state` maps the name of an input to the name of an output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evenbench.harness.core.tensor_specs import TensorSpec


def problem(
    state: Mapping[str, str], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> str:
    """The first contradiction between a state and the tensors, or an empty string."""
    sources = {spec.name: spec for spec in outputs}
    targets = {spec.name: spec for spec in inputs}
    for name, source in state.items():
        for known, kind, chosen in ((targets, "input", name), (sources, "output", source)):
            if chosen not in known:
                return (
                    f"state {name}={source}: no {kind} {chosen}; expected one of {', '.join(known)}"
                )
        before, after = targets[name], sources[source]
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            return (
                f"state {name}={source}: the input is {before.dtype}{list(before.shape)}, the "
                f"output {after.dtype}{list(after.shape)}; a state keeps its shape and type"
            )
    return ""
