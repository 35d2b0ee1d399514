"""The matrix is the product of its axes: as many cells as that, all different, and the same every
time.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from evenbench.harness import Case
from evenbench.harness.collection import matrix
from evenbench.harness.core.types import PRECISIONS
from evenbench.harness.environment import cpu
from tests.unit.builders import product

MODELS = tuple(product(name=name) for name in ("resnet18", "resnet18-v2", "a"))
BACKENDS = ("ort", "openvino", "torch-eager", "torch-script", "null", "ort@1.24.1")


def some(values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    backends = draw(some(BACKENDS))
    sets = st.lists(
        st.dictionaries(st.sampled_from(["level", "spin", "streams"]), st.integers(0, 3)),
        min_size=1,
        max_size=3,
        unique_by=str,
    )
    distinct = sets.filter(
        lambda chosen: len({tuple(sorted(each.items())) for each in chosen}) == len(chosen)
    )
    options = {backend: draw(distinct) for backend in backends if draw(st.booleans())}
    numbers = st.lists(st.integers(1, 32), min_size=1, max_size=3, unique=True).map(tuple)
    threads = st.lists(st.integers(0, 32), min_size=1, max_size=3, unique=True).map(tuple)
    return Case(
        draw(some(MODELS)),
        backends,
        draw(some(PRECISIONS)),
        draw(some(("cpu", "cuda", "cuda:1"))),
        draw(numbers),
        draw(threads),
        options,
    )


def expand(case: Case) -> list[Any]:
    with mock.patch.object(cpu, "cores", return_value=64):
        return matrix.expand(case)


@given(cases())
def test_there_are_as_many_cells_as_the_product_of_the_axes(case: Case) -> None:
    backends = sum(len(case.options.get(backend, ({},))) for backend in case.backends)
    axes = (case.models, case.precisions, case.devices, case.batch, case.threads)
    count = backends
    for axis in axes:
        count *= len(axis)
    assert len(expand(case)) == count


@given(cases())
def test_ids_and_keys_are_unique(case: Case) -> None:
    cells = expand(case)
    assert len({cell.id for cell in cells}) == len({cell.key for cell in cells}) == len(cells)
    assert matrix.unique(cells + cells[::-1]) == cells


@given(cases())
def test_expanding_twice_is_expanding_once(case: Case) -> None:
    assert [cell.key for cell in expand(case)] == [cell.key for cell in expand(case)]


@given(cases())
def test_cells_that_may_be_compared_differ_in_backend_and_options_only(case: Case) -> None:
    groups: dict[str, list[Any]] = {}
    for cell in expand(case):
        groups.setdefault(cell.group, []).append(cell)
    for cells in groups.values():
        assert (
            len(
                {
                    (cell.model.name, cell.precision, cell.device, cell.batch, cell.threads)
                    for cell in cells
                }
            )
            == 1
        )
        assert len({(cell.backend, cell.options) for cell in cells}) == len(cells)


@given(cases(), st.sampled_from(["ort", "cpu", "b1", "resnet18", "fp16"]))
def test_an_expression_and_its_negation_share_the_cells_out(case: Case, word: str) -> None:
    cells = expand(case)
    chosen, rest = matrix.select(cells, word), matrix.select(cells, f"not {word}")
    assert {cell.id for cell in chosen} == {cell.id for cell in cells if word in cell.id}
    assert len(chosen) + len(rest) == len(cells)
    assert not {cell.id for cell in chosen} & {cell.id for cell in rest}
