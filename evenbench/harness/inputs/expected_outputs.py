"""Expected outputs that came with the inputs: one more judge of a model from a file."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.harness.core.types import Model
from evenbench.harness.inputs import element_types
from evenbench.harness.inputs.given_samples import Given

FILE = "expected.npz"
"""The file in the folder of input batches; absent for inputs without expected outputs."""

FACT = "expected_sha256"
"""The name of the digest among the facts of input batches, part of a golden's key."""


def of_batches(
    given: Given, orders: Sequence[Sequence[int]], whole: int
) -> list[Mapping[str, Any]]:
    """The expected outputs of the first batches made of exactly one given sample each.

    `orders` lists the single samples of each batch, `whole` is the number of single samples in a
    given sample. Outputs of several samples in one batch are unknown.
    """
    known = (
        given.expected[order[0] // whole]
        if order[0] % whole == 0 and list(order) == [*range(order[0], order[0] + whole)]
        else {}
        for order in orders
    )
    return list(itertools.takewhile(bool, known))


def save(folder: Path, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write the expected outputs of each batch, in the order of batches; returns the facts.

    `samples` has a mapping from output name to array per batch, for the first batches at least;
    missing outputs are not judged by the expectation. Writes no file without samples.
    """
    import numpy as np

    if not samples:
        return {}
    file = folder / FILE
    with zipfile.ZipFile(file, "w") as archive:
        for index, outputs in enumerate(samples):
            for name, array in outputs.items():
                plain = element_types.storable(np.asarray(array))
                entry = zipfile.ZipInfo(f"{index}/{name}")
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, plain, allow_pickle=False)
    return {FACT: hashlib.sha256(file.read_bytes()).hexdigest()}


def load(folder: Path, model: Model) -> list[dict[str, Any]]:
    """The expected outputs of each batch by name; empty without expected outputs.

    Outputs without a name of the model are the model's outputs in order. Dtypes are those of the
    model's outputs.
    """
    import numpy as np

    file = folder / FILE
    if not file.is_file():
        return []
    samples: dict[int, dict[str, Any]] = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.namelist():
            index, _, name = entry.partition("/")
            with archive.open(entry) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            samples.setdefault(int(index), {})[name] = array
    dtypes = {spec.name: spec.dtype for spec in model.outputs}
    return [_typed(samples[index], dtypes) for index in sorted(samples)]


def _typed(outputs: Mapping[str, Any], dtypes: Mapping[str, str]) -> dict[str, Any]:
    names = list(outputs) if set(outputs) <= set(dtypes) else list(dtypes)[: len(outputs)]
    return {
        name: element_types.restored(array, dtypes[name])
        if dtypes[name] == element_types.TEXT or array.dtype.kind in "uU"
        else array
        for name, array in zip(names, outputs.values(), strict=False)
    }
