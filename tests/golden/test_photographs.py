"""The preprocessed photographs, byte for byte, as `photographs.json` has them for the versions that
it names.

With other versions of numpy or Pillow the bytes may differ in the last bit, so a stored crop of
each is compared by tolerance instead. To write the file anew after a change that is meant: `python
-m tests.golden.test_photographs`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness import preprocess
from evenbench.harness.core.types import Photograph
from evenbench.harness.inputs import batches
from evenbench.harness.photographs import PHOTOGRAPHS, locate

FILE = Path(__file__).with_name("photographs.json")
GOLDEN = json.loads(FILE.read_text()) if FILE.exists() else {}

CROP = (slice(None), slice(110, 114), slice(110, 114))
"""Sixteen pixels of the middle, all channels."""

TOLERANCE = 2 / 255 / 0.225
"""Two steps of an 8-bit pixel, after normalising: more than decoders differ by, less than a wrong
resize does.
"""


def versions() -> dict[str, str]:
    return {name: batches.version_of(name) for name in ("numpy", "pillow")}


def made(photograph: Photograph) -> Any:
    return preprocess.apply(preprocess.IMAGENET_224, locate(photograph))


def facts(array: Any) -> dict[str, Any]:
    crop = [round(float(value), 5) for value in array[CROP].ravel()]
    return {"sha256": hashlib.sha256(array.tobytes()).hexdigest(), "crop": crop}


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_a_photograph_comes_out_as_it_always_did(photograph: Photograph) -> None:
    wanted, found = GOLDEN["photographs"][photograph.name], facts(made(photograph))
    assert np.max(np.abs(np.subtract(found["crop"], wanted["crop"]))) <= TOLERANCE
    if versions() == GOLDEN["versions"]:
        assert found == wanted


def test_the_file_is_of_the_pinned_versions() -> None:
    """So that the exact comparison is the one that CI makes."""
    pinned = dict(
        line.strip().split("==")
        for line in (FILE.parents[2] / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert GOLDEN["versions"] == {name: pinned[name] for name in GOLDEN["versions"]}


def test_the_tolerance_tells_another_resize_apart() -> None:
    """What the crops are compared by must still see the mistake that people make."""
    steps = [
        preprocess.Resize(256, antialias=False) if isinstance(step, preprocess.Resize) else step
        for step in preprocess.IMAGENET_224.steps
    ]
    other = preprocess.Recipe("sampled", tuple(steps))
    wrong = [
        facts(preprocess.apply(other, locate(photograph)))["crop"] for photograph in PHOTOGRAPHS
    ]
    wanted = [GOLDEN["photographs"][photograph.name]["crop"] for photograph in PHOTOGRAPHS]
    differ = [
        np.max(np.abs(np.subtract(one, another))) > TOLERANCE
        for one, another in zip(wrong, wanted, strict=True)
    ]
    assert sum(differ) >= len(PHOTOGRAPHS) / 2


if __name__ == "__main__":
    found = {photograph.name: facts(made(photograph)) for photograph in PHOTOGRAPHS}
    lines = ",\n".join(
        f" {json.dumps(name)}: {json.dumps(values)}" for name, values in found.items()
    )
    FILE.write_text(
        f'{{"recipe": "imagenet_224", "versions": {json.dumps(versions())}, '
        f'"photographs": {{\n{lines}\n}}}}\n'
    )
    print(f"wrote {FILE}")
