"""Which cell `evenbench package` takes: by its name, by a model and a runtime, at which int8, and
what follows where one is unsupported.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import detection
from benchmarks.models import DIGITS_CNN
from evenbench.harness import Cell, UsageError, cli
from evenbench.harness.commands import package
from evenbench.harness.commands.package import PackageOptions
from evenbench.harness.deployment import bundle
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.prepared import Refusal


def test_a_cell_is_found_by_its_id_and_a_model_by_its_name() -> None:
    options = PackageOptions(
        "digits_cnn", "out", backends=("ort",), precision="int8-static", batch=2
    )
    (cell,) = package.chosen(options)
    assert (cell.backend, cell.precision, cell.batch) == ("ort", "int8-static", 2)
    (named,) = package.chosen(PackageOptions("digits_cnn-ort-fp32-cpu-b1", "out", batch=2))
    assert named.id == "digits_cnn-ort-fp32-cpu-b1"
    assert replace(named, batch=2, precision="int8-static") == cell


def test_a_model_is_shipped_as_it_is_declared() -> None:
    """With the options of its first declaration for that runtime, without which a detector's
    exporter stops; a plain one comes first.
    """
    model, declared = detection.FASTER_RCNN.name, "benchmarks/detection.py"
    for backend, option in (
        ("ort", detection.TRACED),
        ("ort@1.24.1", detection.TRACED),
        ("cpp-openvino", detection.TRACED),
        ("torch-script", {}),
    ):
        cell = package.chosen(PackageOptions(model, "out", backends=(backend,), declared=declared))[
            0
        ]
        assert (cell.backend, cell.option) == (backend, option)
    undeclared = PackageOptions(
        model, "out", backends=("cpp-ort",), precision="fp16", declared=declared
    )
    assert [cell.option for cell in package.chosen(undeclared)] == [{}]


def test_every_declared_option_set_is_there_to_be_tried() -> None:
    """The plain one first, wherever it is declared."""
    options = PackageOptions(
        detection.MASK_RCNN.name,
        "out",
        backends=("openvino",),
        declared="benchmarks/detection.py",
    )
    assert [cell.option for cell in package.chosen(options)] == [
        detection.TRACED,
        detection.CONVERTED,
    ]


SPINNING = """
from benchmarks.models import DIGITS_CNN
from harness import Case

case = Case((DIGITS_CNN,), ("ort",), options={"ort": ({"spinning": "off"}, {})})
"""


def test_what_has_no_options_is_tried_first(tmp_path: Path) -> None:
    (tmp_path / "bench_two.py").write_text(SPINNING)
    options = PackageOptions(
        "digits_cnn", "out", backends=("ort",), declared=str(tmp_path / "bench_two.py")
    )
    assert [cell.option for cell in package.chosen(options)] == [{}, {"spinning": "off"}]


@pytest.mark.parametrize(
    ("words", "precision", "said"),
    [
        (
            ["digits_cnn"],
            "int8-static",
            "int8 is int8-static here: digits_cnn has calibration data",
        ),
        (
            [detection.SSDLITE_HEADS.name, "--declared", "benchmarks/detection.py"],
            "int8-dynamic",
            "has no calibration data",
        ),
    ],
)
def test_int8_is_the_one_that_the_model_can_have(
    words: list[str],
    precision: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`evenbench package MODEL --backends ort --precision int8 -o DIR`, to the letter."""
    shipped: list[Cell] = []

    def ship(cell: Cell, folder: Path, *more: Any) -> dict[str, Any]:
        shipped.append(cell)
        return {"verdict": "not proved", "reason": "nobody tried"}

    monkeypatch.setattr(package, "ship", ship)
    assert (
        cli.main(
            [
                "package",
                *words,
                "--backends",
                "ort",
                "--precision",
                "int8",
                "-o",
                str(tmp_path / "out"),
            ]
        )
        == 1
    )
    assert [(cell.backend, cell.precision) for cell in shipped] == [("ort", precision)]
    assert said in capsys.readouterr().err


# -- what is unsupported, before anything is written -----------------------------------------------

ENDS = {
    "prepare": Reply(None, "unsupported", "prepare", "the exporter stops"),
    "load": Reply(None, "unsupported", "prepare", "the runtime cannot read it"),
    "crash": Reply(None, "failed", "prepare", "ended by SIGSEGV"),
}


@dataclass
class Bench:
    """In the place of a Preparer: cells with an option `ends` end so, in preparing or when they are
    tried.
    """

    tried: list[str] = field(default_factory=list)

    def __call__(self, timeout_seconds: float) -> Bench:
        return self

    def prepare(self, cell: Cell) -> Any:
        self.tried.append(cell.option["ends"])
        if cell.option["ends"] == "prepare":
            raise Refusal(ENDS["prepare"])
        return SimpleNamespace(folders=dict)

    def work(self, job: Job) -> Reply:
        return ENDS.get(job.cell.option["ends"], Reply({"names": {}}))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench()
    monkeypatch.setattr(bundle, "Preparer", made)
    return made


def ending(*ends: str) -> list[Cell]:
    """A cell for each way of ending, which are different option sets of one backend."""
    return [Cell(DIGITS_CNN, "ort", options=(("ends", end),)) for end in ends]


@pytest.fixture(autouse=True)
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell has a program."""
    monkeypatch.setattr(bundle, "_deployment", lambda cell: SimpleNamespace())


@pytest.mark.parametrize("first", ["prepare", "load"])
def test_the_next_option_set_is_taken_where_one_is_unsupported(
    first: str, bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = ending(first, "well", "unasked")
    cell, _, _ = bundle.runnable(cells)
    assert (cell, bench.tried) == (cells[1], [first, "well"])
    told = capsys.readouterr().err
    assert f"{cells[0].id} cannot be shipped: unsupported in {first}: {ENDS[first].reason}" in told
    assert f"{cells[1].id} is shipped in its place" in told


def test_the_first_one_is_taken_without_a_word(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bundle.runnable(ending("well", "unasked"))[0].option == {"ends": "well"}
    assert (bench.tried, capsys.readouterr().err) == (["well"], "")


def test_where_all_are_unsupported_every_reason_is_told_and_nothing_is_written(
    bench: Bench, tmp_path: Path
) -> None:
    first, *others = ending("prepare", "load")
    with pytest.raises(
        UsageError, match=r"the exporter stops; .*unsupported in load: the runtime cannot read it"
    ):
        bundle.ship(first, tmp_path / "out", 0, others)
    assert not (tmp_path / "out").exists()


def test_what_fails_is_no_reason_to_ship_something_else(bench: Bench, tmp_path: Path) -> None:
    first, *others = ending("crash", "well")
    with pytest.raises(UsageError, match="failed in load: ended by SIGSEGV"):
        bundle.ship(first, tmp_path / "out", 0, others)
    assert bench.tried == ["crash"]
    assert not (tmp_path / "out").exists()


def test_a_set_without_a_program_gives_way_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deployment(cell: Cell) -> SimpleNamespace:
        if cell.option["ends"] == "unwritten":
            raise UsageError(f"{cell.id} cannot be shipped: no program with it has been written")
        return SimpleNamespace()

    monkeypatch.setattr(bundle, "_deployment", deployment)
    assert bundle.runnable(ending("unwritten", "well"))[0].option == {"ends": "well"}
    assert bench.tried == ["well"]
