"""Equal random numbers for every build of a model, in this and in other processes.

Tensors outside of the state dict, such as a table in a plain attribute, are drawn again by every
build. A golden of another table than the runtime's would accuse a correct runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenbench.harness import Model

_BEFORE: dict[str, Any] = {}
"""By `build`: the states of all generators before the first build in this process."""


def repeated(model: Model, read: Callable[[], Callable[[], Any]]) -> Any:
    """The result of a model's build function, from equal states of torch, numpy and `random`.

    `read` imports the function. Seeds in the user's file apply, because the states are taken after
    the import.
    """
    import random

    import numpy as np
    import torch

    if model.build not in _BEFORE:
        seed = model.weights.seed
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        function = read()
        _BEFORE[model.build] = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    else:
        function = read()
        state, numpy_state, python_state = _BEFORE[model.build]
        torch.set_rng_state(state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
    return function()
