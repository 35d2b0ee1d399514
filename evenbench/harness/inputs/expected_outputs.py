"""Expected outputs that came with the inputs: one more judge of a model from a file."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "expected.npz"
"""The file in the folder of input batches; absent for inputs without expected outputs."""

FACT = "expected_sha256"
"""The name of the digest among the facts of input batches, part of a golden's key."""


def save(folder: Path, samples: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Write the expected outputs of each batch, in the order of batches; returns the fact.

    `samples` has a mapping from output name to array per batch; missing outputs are not judged by
    the expectation. Text is an array of `str`.
    """
    import numpy as np

    file = folder / FILE
    with zipfile.ZipFile(file, "w") as archive:
        for index, outputs in enumerate(samples):
            for name, array in outputs.items():
                values = np.asarray(array)
                plain = values.astype(str) if values.dtype.kind == "O" else values
                entry = zipfile.ZipInfo(f"{index}/{name}")
                with archive.open(entry, "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, plain, allow_pickle=False)
    return {FACT: hashlib.sha256(file.read_bytes()).hexdigest()}


def load(folder: Path) -> list[dict[str, Any]]:
    """The expected outputs of each batch by name; empty without expected outputs."""
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
    return [samples[index] for index in sorted(samples)]
