"""A case that cannot be is refused where it is written, with the sentence that mends it."""

from __future__ import annotations

from typing import Any

import pytest

from evenbench.harness import Case, UsageError
from tests.unit.builders import PRODUCT, product


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"models": PRODUCT}, "is one value; write a tuple"),
        ({"backends": "ort"}, r"write a tuple, such as backends=\('ort',\)"),
        ({"batch": 8}, r"batch=8 is one value"),
        ({"precisions": {"fp32"}}, "write a tuple"),
        ({"models": ()}, "models is empty"),
        ({"devices": ()}, "devices is empty"),
        ({"models": (PRODUCT, product(task="other"))}, "names a value twice"),
        ({"backends": ("ort", "ort")}, "names a value twice"),
        ({"batch": (1, 1)}, "names a value twice"),
        ({"models": ("resnet18",)}, "expected harness.Model values"),
        ({"precisions": ("fp32", "fp8")}, "unknown precision 'fp8'; expected one of fp32, tf32"),
        ({"batch": (0,)}, "batch=0; expected whole numbers of 1 or more"),
        ({"batch": (1.5,)}, "batch=1.5"),
        ({"threads": (-1,)}, "threads=-1; expected whole numbers of 0 or more"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Case(**{"models": (PRODUCT,), **wrong})


def test_models_are_told_apart_by_name() -> None:
    assert len(Case(models=(PRODUCT, product(name="other"))).models) == 2


def test_lists_are_as_good_as_tuples() -> None:
    assert Case(models=[PRODUCT], batch=[1, 2]).batch == [1, 2]  # type: ignore[arg-type]
