"""Backends by name: the table, the entry points, the variable, and the words for wrong ones."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import metadata

import pytest

from evenbench import backends
from evenbench.harness import Unsupported, UsageError
from evenbench.harness.core import registry
from tests.unit.builders import HERE, ROWS, Exact, Product, cell, product, register


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing remembered, and nothing registered but the table."""
    monkeypatch.delenv(registry.VARIABLE, raising=False)
    monkeypatch.setattr(registry, "rows", functools.cache(registry.rows.__wrapped__))
    monkeypatch.setattr(registry, "find", functools.cache(registry.find.__wrapped__))


@dataclass
class Distribution:
    name: str


@dataclass
class Point:
    name: str
    value: str
    dist: Distribution | None = None


def install(monkeypatch: pytest.MonkeyPatch, *points: Point) -> None:
    def entry_points(group: str) -> tuple[Point, ...]:
        return points if group == registry.GROUP else ()

    monkeypatch.setattr(metadata, "entry_points", entry_points)


def test_every_row_of_the_table_is_what_it_says() -> None:
    for row in backends.TABLE:
        assert registry.find(row.name).name == row.name
        assert registry.row(row.name) == row
        assert row.hint


def test_the_floor_and_a_golden_are_no_runtimes() -> None:
    roles = {row.name: row.role for row in backends.TABLE}
    assert (roles["null"], roles["reference"]) == ("control", "golden")
    assert not {"null", "reference"} & set(registry.runtimes())


def test_an_installed_package_adds_a_backend_with_its_install_hint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, Point("mine", f"{HERE}:Product", Distribution("evenbench-mine")))
    assert isinstance(registry.find("mine"), Product)
    assert registry.row("mine").hint == "pip install evenbench-mine"
    assert registry.runtimes()[-1] == "mine"


@pytest.mark.parametrize(
    "points",
    [[Point("ort", "mine:Ort")], [Point("mine", "one:A"), Point("mine", "two:B")]],
    ids=["table", "packages"],
)
def test_a_collision_names_both(points: list[Point], monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, *points)
    with pytest.raises(UsageError, match=f"two backends are named '{points[0].name}'") as caught:
        registry.rows()
    assert points[-1].value in str(caught.value)
    assert "uninstall" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "meant"), [("tensor-rt", "tensorrt"), ("onnxruntime", "ort"), ("openvin", "openvino")]
)
def test_an_unknown_name_has_a_suggestion_by_name_or_distribution(given: str, meant: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown backend '{given}'; did you mean {meant}\?"):
        registry.row(given)


def test_a_name_like_no_other_lists_the_runtimes_alone() -> None:
    with pytest.raises(UsageError, match=r"one of torch-eager.*evenbench doctor") as caught:
        registry.row("zzz")
    assert "negative-" not in str(caught.value)
    assert "steps-" not in str(caught.value)


def test_a_name_with_an_environment_is_the_same_backend() -> None:
    assert registry.row("ort@1.24.1") == registry.row("ort")
    assert type(registry.find("ort@1.24.1")) is type(registry.find("ort"))


def test_a_backend_is_made_once() -> None:
    assert registry.find("null") is registry.find("null")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "tests.fault_injection.raises_on_import:Backend",
            "its module must import without its runtime",
        ),
        ("no.such.module:Backend", "ModuleNotFoundError"),
        (f"{HERE}:Nobody", "AttributeError"),
        (f"{HERE}:Clock", "is a Clock; expected an evenbench.Backend"),
    ],
)
def test_a_backend_that_cannot_be_made_is_named_with_its_target(
    target: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(registry.VARIABLE, f"broken={target}")
    with pytest.raises(UsageError, match=f"backend broken: .*{target}") as caught:
        registry.find("broken")
    assert message in str(caught.value)
    assert registry.find("null").name == "null", "one broken backend spoils another"


def test_the_variable_registers_backends_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.VARIABLE, f" mine={HERE}:Product , floor={HERE}:Twin:control,")
    assert list(registry.rows())[:2] == ["mine", "floor"]
    assert registry.runtimes()[0] == "mine"
    assert registry.row("floor").role == "control"
    assert registry.VARIABLE in registry.row("mine").hint


def test_a_role_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.VARIABLE, f"mine={HERE}:Product:judge")
    with pytest.raises(UsageError, match="has role 'judge'; expected runtime, control or golden"):
        registry.rows()


def test_the_first_golden_that_can_judge_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, ROWS)
    assert isinstance(registry.golden_for(cell()), Exact)
    assert registry.golden_for(cell(model=product(build="elsewhere:build"))).name == "reference"
    assert (
        registry.golden_for(cell(model=product(build="", file="model.onnx"))).name
        == "onnx-reference"
    )


def test_a_model_that_no_golden_can_judge_is_unsupported_with_every_reason() -> None:
    with pytest.raises(
        Unsupported,
        match=r"no golden can judge product: reference: .*; "
        r"onnx-reference: model\.tflite is no \.onnx file",
    ):
        registry.golden_for(cell(model=product(build="", file="model.tflite")))


def test_a_golden_runs_the_same_cell_on_the_cpu_without_options() -> None:
    asked = cell(
        "ort", precision="fp16", device="cuda", batch=8, threads=3, options=(("flag", "x"),)
    )
    twin = registry.golden_cell(asked, "reference")
    assert (twin.model, twin.backend, twin.precision, twin.device) == (
        asked.model,
        "reference",
        "fp32",
        "cpu",
    )
    assert (twin.batch, twin.threads, twin.options) == (8, 3, ())
    assert registry.golden_cell(asked, "torch-eager", "fp16").precision == "fp16"
