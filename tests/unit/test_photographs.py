"""The photographs are on disk with their bytes, and what is missing is said in words."""

from __future__ import annotations

import dataclasses
import hashlib
import sys

import pytest

from evenbench.harness import Photograph, Unavailable
from evenbench.harness.photographs import PHOTOGRAPHS, locate


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_every_photograph_is_there_with_its_bytes(photograph: Photograph) -> None:
    assert hashlib.sha256(locate(photograph).read_bytes()).hexdigest() == photograph.sha256


def test_all_are_different() -> None:
    assert (
        len({photograph.sha256 for photograph in PHOTOGRAPHS})
        == len({photograph.name for photograph in PHOTOGRAPHS})
        == 10
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"package": "no_such_package"},
            "no_such_package is not installed; pip install 'evenbench",
        ),
        ({"path": "data/nothing.png"}, "has no data/nothing.png; install the pinned version"),
        ({"sha256": "0" * 64}, "expected 000000000000; install the pinned version"),
    ],
)
def test_what_is_missing_is_unavailable(wrong: dict[str, str], message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        locate(dataclasses.replace(PHOTOGRAPHS[2], **wrong))


def test_finding_one_imports_no_package() -> None:
    before = set(sys.modules)
    locate(PHOTOGRAPHS[2])
    assert not {name for name in set(sys.modules) - before if name.startswith("skimage")}
