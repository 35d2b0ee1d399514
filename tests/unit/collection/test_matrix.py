"""From a case to its cells: all of them, in a fixed order, and no stranger."""

from __future__ import annotations

import pytest

from evenbench.harness import ALL, Case, UsageError
from evenbench.harness.collection import matrix
from evenbench.harness.core import registry
from evenbench.harness.environment import cpu
from tests.unit.builders import PRODUCT, product, register


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cores", lambda: 2)


def ids(**case: object) -> list[str]:
    return [
        cell.id
        for cell in matrix.expand(Case(**{"models": (PRODUCT,), "backends": ("null",), **case}))
    ]  # type: ignore[arg-type]


def test_cells_come_by_group_with_the_backends_side_by_side() -> None:
    made = ids(backends=("ort", "null"), batch=(1, 8), precisions=("fp32", "fp16"))
    assert made == [
        f"product-{backend}-{precision}-cpu-b{batch}"
        for precision in ("fp32", "fp16")
        for batch in (1, 8)
        for backend in ("ort", "null")
    ]


def test_all_stands_for_every_runtime_and_for_no_control_or_golden() -> None:
    made = matrix.expand(Case(models=(PRODUCT,), backends=ALL))
    assert [cell.backend for cell in made] == list(registry.runtimes())
    assert {"torch-eager", "ort", "openvino"} <= {cell.backend for cell in made}
    assert {registry.row(cell.backend).role for cell in made} == {"runtime"}


def test_all_includes_what_was_registered_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    assert "product" in [cell.backend for cell in matrix.expand(Case(models=(PRODUCT,)))]


def test_threads_of_zero_are_every_core_and_stay_out_of_the_id() -> None:
    everything, one, two = matrix.expand(
        Case(models=(PRODUCT,), backends=("null",), threads=(0, 1, 2))
    )
    assert [cell.threads for cell in (everything, one, two)] == [2, 1, 2]
    assert [cell.id.endswith("-t1") for cell in (everything, one, two)] == [False, True, False]
    assert everything == two


def test_option_sets_multiply_only_their_own_backend() -> None:
    made = ids(backends=("null", "ort"), options={"ort": ({}, {"z": 1, "a": 2})})
    assert made == [
        "product-null-fp32-cpu-b1",
        "product-ort-fp32-cpu-b1",
        "product-ort-fp32-cpu-b1-a=2-z=1",
    ]


def test_options_of_a_backend_that_does_not_run_are_refused() -> None:
    with pytest.raises(
        UsageError, match="options name openvino, which the case does not run; it runs null"
    ):
        ids(options={"openvino": ({},)})


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown backend 'onnxrt'; did you mean ort\?"):
        ids(backends=("onnxrt",))


def test_a_backend_in_an_environment_of_its_own_is_known_by_its_name() -> None:
    assert ids(backends=("ort@1.24.1",)) == ["product-ort@1.24.1-fp32-cpu-b1"]


def test_the_same_square_of_two_cases_is_measured_once() -> None:
    cells = matrix.expand(Case(models=(PRODUCT,), backends=("null", "ort")))
    more = matrix.expand(Case(models=(product(name="other"), PRODUCT), backends=("ort",)))
    assert [cell.id for cell in matrix.unique([*cells, *more])] == [
        "product-null-fp32-cpu-b1",
        "product-ort-fp32-cpu-b1",
        "other-ort-fp32-cpu-b1",
    ]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("", {"null-1", "null-8", "ort-1", "ort-8"}),
        ("  ", {"null-1", "null-8", "ort-1", "ort-8"}),
        ("ort", {"ort-1", "ort-8"}),
        ("ORT", {"ort-1", "ort-8"}),
        ("not ort", {"null-1", "null-8"}),
        ("ort and b8", {"ort-8"}),
        ("(ort or null) and not b1", {"ort-8", "null-8"}),
        ("nothing", set()),
    ],
)
def test_select_reads_expressions_as_pytest_does(expression: str, chosen: set[str]) -> None:
    cells = matrix.expand(Case(models=(PRODUCT,), backends=("null", "ort"), batch=(1, 8)))
    assert {f"{cell.backend}-{cell.batch}" for cell in matrix.select(cells, expression)} == chosen


def test_an_environment_can_be_selected() -> None:
    cells = matrix.expand(Case(models=(PRODUCT,), backends=("ort", "ort@1.24.1", "ort@1.23.2")))
    assert [cell.backend for cell in matrix.select(cells, "ort@1.24.1 or 1.23")] == [
        "ort@1.24.1",
        "ort@1.23.2",
    ]


@pytest.mark.parametrize("expression", ["ort and", "(ort", "or"])
def test_an_expression_that_does_not_parse_is_refused(expression: str) -> None:
    with pytest.raises(UsageError, match="does not parse"):
        matrix.select([], expression)


def test_an_option_can_be_selected() -> None:
    options = {"ort": ({}, {"spinning": "off"}, {"disabled_optimizers": "A,B", "spinning": "off"})}
    cells = matrix.expand(Case(models=(PRODUCT,), backends=("ort",), options=options))
    assert [len(cell.options) for cell in matrix.select(cells, "spinning=off")] == [1, 2]
    assert [
        len(cell.options)
        for cell in matrix.select(cells, "ort and not (spinning=off and optimizers=A,B)")
    ] == [0, 1]
    assert matrix.select(cells, "spinning=on") == []


def test_what_does_not_parse_is_told_as_it_was_written() -> None:
    with pytest.raises(UsageError, match=r"-k 'a=b c=d' does not parse: .*--cell"):
        matrix.select([], "a=b c=d")
