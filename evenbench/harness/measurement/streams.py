"""The steps of a stream: the state of a step comes from the outputs of the step before.

The rotating batches are the steps in order; the first batch has the initial state. Every
runtime carries the state, so an error in the state grows from step to step, as in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from evenbench.harness.core.session import Session

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


def steps(
    session: Session, batches: Sequence[Arrays], state: Mapping[str, str]
) -> Iterator[tuple[Arrays, Arrays]]:
    """The inputs and outputs of each step, untimed. Without state, steps do not depend on others.

    Raises ValueError for an output of another shape than its input.
    """
    carried: dict[str, np.ndarray] = {}
    for batch in batches:
        inputs = {**batch, **carried}
        session.bind(inputs)
        session.step()
        session.sync()
        outputs = session.fetch()
        yield inputs, outputs
        carried = {
            name: _as_input(name, source, outputs[source], batch[name])
            for name, source in state.items()
        }


def carried(
    session: Session, batches: Sequence[Arrays], state: Mapping[str, str]
) -> Sequence[Arrays]:
    """The batches with the session's own state of each step; without state, the batches as given.

    Timed laps use these inputs, so no lap copies a state besides the work of a boundary.
    """
    return [inputs for inputs, _ in steps(session, batches, state)] if state else batches


def _as_input(name: str, source: str, output: np.ndarray, before: np.ndarray) -> np.ndarray:
    if np.shape(output) != before.shape:
        raise ValueError(
            f"state {name}: output {source} has shape {list(np.shape(output))}, the input "
            f"{list(before.shape)}; a state keeps its shape"
        )
    array = np.array(output, before.dtype)  # copied: a session may reuse the memory of its outputs
    array.setflags(write=False)
    return array
