"""Outputs that a user's test data expect for some input batches, kept beside the batches.

A second reference beside the golden: `load` gives the outputs of each batch that has any.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.core.types import Model
from evenbench.harness.inputs import element_types
from evenbench.harness.inputs.given_samples import Given

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FILE = "expected-outputs.npz"
"""The file in an input folder; its arrays are named `<batch>/<output>`."""


def save(given: Given, orders: Sequence[Sequence[int]], whole: int, folder: Path) -> int:
    """Write the expected outputs of each batch made of exactly one given sample.

    `orders` lists the single samples of each batch, `whole` is the number of single samples in a
    given sample. Returns the number of batches with expected outputs; without any, no file is
    written.
    """
    import numpy as np

    by_batch = {
        batch: given.expected[order[0] // whole]
        for batch, order in enumerate(orders)
        if order[0] % whole == 0 and list(order) == [*range(order[0], order[0] + whole)]
    }
    named = {
        f"{batch}/{name}": array
        for batch, outputs in by_batch.items()
        for name, array in outputs.items()
    }
    if not named:
        return 0
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        for name, array in named.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                plain = element_types.storable(np.asarray(array))
                np.lib.format.write_array(stream, plain, allow_pickle=False)
    return sum(bool(outputs) for outputs in by_batch.values())


def load(folder: Path, model: Model) -> dict[int, Mapping[str, Array]]:
    """The expected outputs by batch number and output name; empty without test data.

    Outputs without a name in the test data are those of the model in order. Dtypes are those of the
    model's outputs.
    """
    import numpy as np

    if not (folder / FILE).exists():
        return {}
    dtypes = {spec.name: spec.dtype for spec in model.outputs}
    batches: dict[int, dict[str, Array]] = {}
    with np.load(folder / FILE) as archive:
        for key in archive.files:
            batch, _, name = key.partition("/")
            batches.setdefault(int(batch), {})[name] = archive[key]
    return {batch: _typed(outputs, dtypes) for batch, outputs in batches.items()}


def _typed(outputs: Mapping[str, Array], dtypes: Mapping[str, str]) -> dict[str, Array]:
    names = list(outputs) if set(outputs) <= set(dtypes) else list(dtypes)[: len(outputs)]
    return {
        name: element_types.restored(array, dtypes[name])
        if dtypes[name] == element_types.TEXT or array.dtype.kind in "uU"
        else array
        for name, array in zip(names, outputs.values(), strict=False)
    }
