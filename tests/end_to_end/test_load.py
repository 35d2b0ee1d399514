"""`evenbench load`, end to end: every scenario on backends of a page of numpy in this process, and
on three runtimes in theirs.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.console import Console

from evenbench import harness
from evenbench.harness import BATCH, Attestation, Cell, Model, Session, TensorSpec, UsageError
from evenbench.harness.commands import load
from evenbench.harness.commands.arguments import parsed
from evenbench.harness.core import artifact_store
from evenbench.harness.core.cases import Entry
from evenbench.harness.load import mlperf
from evenbench.harness.load import session as load_session
from evenbench.harness.load.scenarios import (
    CONCURRENT,
    GAPS,
    NAMES,
    SERVER,
    SHAPES,
    SINGLE,
    SWEEP,
    Scenario,
)
from evenbench.harness.results import records
from evenbench.harness.runner.job import Job
from evenbench.harness.runner.preparation import Preparer
from evenbench.reports.pages import load as load_page
from evenbench.reports.terminal import load as terminal
from tests.unit import builders
from tests.unit.builders import attestation, cell, plan, register, work_here

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((Path(harness.__file__).parent / "results" / "load.schema.json").read_text())


class SharedSession(builders.ProductSession):
    """One whose product several threads may ask for."""

    def beside(self) -> Session:
        return SharedSession(self.weights, self.used)


class Shared(builders.Product):
    name = "shared"

    def session(self, weights: Any, cell: Cell) -> Session:
        return SharedSession(weights, attestation(threads=cell.threads))


class Crossed(builders.Product):
    """Right for one caller; threads that call it at once get each other's numbers."""

    name = "crossed"

    def session(self, weights: Any, cell: Cell) -> Session:
        made = SharedSession(weights, attestation(threads=cell.threads))
        made.beside = lambda: SharedSession(
            weights * np.float32(1.5), Attestation(**vars(made.used))
        )  # type: ignore[method-assign]
        return made


class CrookedSession(builders.ProductSession):
    """Leaves out the last row of a sequence that is not as long as those it was made for."""

    def step(self) -> None:
        super().step()
        if self.x.shape[1] != LENGTH:
            self.y[:, -1] = 0


class Crooked(builders.Product):
    name = "crooked"

    def session(self, weights: Any, cell: Cell) -> Session:
        return CrookedSession(weights, attestation(threads=cell.threads))


ROWS = ",".join(
    [
        builders.ROWS,
        *(f"{kind.name}={__name__}:{kind.__name__}" for kind in (Shared, Crossed, Crooked)),
    ]
)

LENGTH = 6


def rows(model: Model) -> dict[str, Any]:
    """Five sequences as long as the model says."""
    return {
        "x": np.random.default_rng(1)
        .standard_normal((5, *model.inputs[0].shape[1:]))
        .astype(np.float32)
    }


def sequences(length: int, **changed: Any) -> Model:
    """The product of every row of a sequence."""
    specs = {
        "inputs": (TensorSpec("x", (BATCH, length, 4)),),
        "outputs": (TensorSpec("y", (BATCH, length, 3)),),
    }
    return builders.product(
        name=f"rows_{length}", inputs_from=f"{__name__}:rows", **specs, **changed
    )


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    register(monkeypatch, ROWS)
    return work_here(monkeypatch)


def entries(*cells: Cell) -> list[Entry]:
    return [Entry(made, "bench.py::case", "evenbench run bench.py") for made in cells]


def measured(
    folder: Path, scenario: Scenario, *cells: Cell, processes: int = 2
) -> dict[str, dict[str, Any]]:
    """The lines as they are on the disk, by backend; each is as the schema says."""
    session = load_session.LoadSession(
        entries(*cells),
        scenario,
        plan(processes=processes),
        folder,
        flags=f"--scenario {scenario.name}",
    )
    told = session.measure()
    lines = [json.loads(line) for line in session.file.read_text().splitlines()]
    assert {line["cell"]["key"] for line in lines} == {line["cell"]["key"] for line in told}
    for line in lines:
        jsonschema.validate(line, SCHEMA)
    return {line["cell"]["backend"]: line for line in lines}


def points(line: dict[str, Any]) -> list[dict[str, Any]]:
    return [point for part in line["parts"] for point in part["points"]]


def shown(lines: Sequence[dict[str, Any]]) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - it is written to until it is read
    terminal.show(lines, console)
    return console.export_text()


SHORT: dict[str, Scenario] = {
    SINGLE: Scenario(SINGLE, seconds=0.02),
    SWEEP: Scenario(SWEEP, seconds=0.02, batches=(1, 4), bound_ns=10**9),
    CONCURRENT: Scenario(CONCURRENT, seconds=0.02, callers=(1, 2)),
    GAPS: Scenario(GAPS, gaps_ms=(0.0, 1.0), rounds=8),
    SHAPES: Scenario(SHAPES, seconds=0.02, batches=(1, 2, 4)),
    SERVER: Scenario(SERVER, seconds=0.2, bound_ns=10**9, callers=(1,), rate_per_second=1000.0),
}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SHORT) == set(NAMES)


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("name", NAMES)
def test_every_scenario_judges_its_own_calls_and_is_written_and_shown(
    name: str, tmp_path: Path
) -> None:
    if name == SERVER and mlperf.lacks():
        pytest.skip(mlperf.lacks())
    line = measured(tmp_path, SHORT[name], cell("shared"), processes=1 if name == SERVER else 2)[
        "shared"
    ]
    assert line["outcome"] == "ok", line["parts"]
    assert all(
        part["parity"]["verdict"] == "pass" and part["attested"]["runtime"] == "numpy"
        for part in line["parts"]
    )
    assert points(line)
    words = shown([line])
    assert "product-shared-fp32-cpu" in words
    assert "product-shared-fp32-cpu" in load_page.render([line])
    assert f"--scenario {name}" in line["reproduce"]


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize("name", [SINGLE, SWEEP, GAPS, SHAPES])
def test_a_wrong_answer_has_no_number(name: str, tmp_path: Path) -> None:
    line = measured(tmp_path, SHORT[name], cell("oneweight"))["oneweight"]
    assert (line["outcome"], line["answer"], points(line)) == ("mismatch", None, [])
    assert line["parts"][0]["parity"]["verdict"] == "fail"
    assert "mismatch in parity" in shown([line])


@pytest.mark.usefixtures("jobs")
def test_an_answer_that_is_wrong_for_several_callers_only_is_caught(tmp_path: Path) -> None:
    assert measured(tmp_path, SHORT[SINGLE], cell("crossed"))["crossed"]["outcome"] == "ok"
    assert (
        measured(tmp_path, SHORT[CONCURRENT], cell("crossed"))["crossed"]["outcome"] == "mismatch"
    )


@pytest.mark.usefixtures("jobs")
def test_every_cell_has_its_one_outcome(tmp_path: Path) -> None:
    asked = {
        "shared": "ok",
        "product": "unsupported",
        "raises": "failed",
        "absent": "unavailable",
        "null": "ok",
    }
    found = measured(tmp_path, SHORT[CONCURRENT], *map(cell, asked))
    assert {name: line["outcome"] for name, line in found.items()} == asked
    assert "several threads" in found["product"]["reason"]
    assert "the runtime gave up" in found["raises"]["reason"]
    words = shown(list(found.values()))
    assert "product-absent-fp32-cpu-b1: unavailable in prepare" in words


def test_every_batch_size_is_a_cell_of_its_own_in_processes_of_its_own(
    jobs: list[Job], tmp_path: Path
) -> None:
    line = measured(
        tmp_path, SHORT[SWEEP], cell("shared", batch=1), cell("shared", batch=2), processes=3
    )["shared"]
    loaded = [job for job in jobs if job.task == "load"]
    assert sorted(job.cell.batch for job in loaded) == [1, 1, 1, 4, 4, 4], (
        "two cells that differ in their batch alone are one"
    )
    assert [point["batch"] for point in points(line)] == [1, 4]
    assert (
        len(
            {part["artifact_sha256"] for part in line["parts"]}
            | {part["input_sha256"] for part in line["parts"]}
        )
        > 1
    )


ANY_LENGTH = sequences(LENGTH, sizes=(sequences(2), sequences(9)))


@pytest.mark.usefixtures("jobs")
def test_every_size_is_fed_to_one_network_and_judged_by_a_golden_of_its_own(tmp_path: Path) -> None:
    scenario = Scenario(SHAPES, seconds=0.02, vary=("size",))
    found = measured(
        tmp_path, scenario, *(cell(name, ANY_LENGTH) for name in ("shared", "crooked", "oneweight"))
    )
    line = found["shared"]
    assert line["outcome"] == "ok", line["reason"]
    (part,) = line["parts"]
    told = [(each["size"], each["model"], each["parity"]["verdict"]) for each in part["sizes"]]
    assert told == [("2x4", "rows_2", "pass"), ("9x4", "rows_9", "pass")]
    assert len({part["input_sha256"], *(each["input_sha256"] for each in part["sizes"])}) == 3
    assert {point["size"]: point["first"] is None for point in points(line)} == {
        "6x4": True,
        "2x4": False,
        "9x4": False,
    }
    assert line["scenario"] == {"name": "shapes", "seed": 0, "vary": ["size"], "seconds": 0.02}
    words = shown([line])
    assert "rows_6-shared-fp32-cpu-b1" in words, "the batch is the cell's own"
    assert "at load" in words
    assert (found["crooked"]["outcome"], found["oneweight"]["outcome"]) == ("mismatch", "mismatch")
    assert found["crooked"]["reason"].startswith("at size "), found["crooked"]["reason"]
    assert points(found["crooked"]) == []


@pytest.mark.usefixtures("jobs")
def test_batches_and_sizes_change_together(tmp_path: Path) -> None:
    scenario = Scenario(SHAPES, seconds=0.02, vary=("batch", "size"), batches=(1, 4))
    line = measured(tmp_path, scenario, cell("shared", ANY_LENGTH))["shared"]
    assert line["outcome"] == "ok", line["reason"]
    assert [(point["size"], point["batch"]) for point in points(line)] == list(
        itertools.product(("6x4", "2x4", "9x4"), (1, 4))
    )


@pytest.mark.usefixtures("jobs")
def test_a_model_of_one_size_says_so(tmp_path: Path) -> None:
    line = measured(tmp_path, Scenario(SHAPES, vary=("size",)), cell("shared"))["shared"]
    assert (line["outcome"], line["reason"]) == (
        "unsupported",
        "product declares one size; declare other sizes with sizes= (docs/how-to/load.md)",
    )


@pytest.mark.usefixtures("jobs")
def test_other_bytes_than_were_prepared_for_a_size_are_a_failure(tmp_path: Path) -> None:
    prepared = Preparer(30.0).prepare_sizes(cell("shared", ANY_LENGTH))
    one, other = ({"size": each.inputs.facts["sha256"]} for each in prepared.sizes)
    read = {
        "artifact_sha256": prepared.artifact.sha256,
        "input_sha256": prepared.inputs.facts["sha256"],
    }
    told = [
        {"model": "rows_2", "input_sha256": one["size"]},
        {"model": "rows_9", "input_sha256": other["size"]},
    ]
    assert prepared.difference({**read, "sizes": told}) == ""
    told[1]["input_sha256"] = one["size"]
    assert "input_sha256 of rows_9 is" in prepared.difference({**read, "sizes": told})
    fewer = replace(prepared, sizes=prepared.sizes[:1])
    assert fewer.key() != prepared.key(), "what was measured with fewer sizes is not pooled with it"


@pytest.mark.usefixtures("jobs")
def test_a_percentile_that_is_not_stated_is_refused_in_words(tmp_path: Path) -> None:
    words = shown([measured(tmp_path, SHORT[GAPS], cell("shared"))["shared"]])
    assert "p90 needs 44 laps of each process, there are 8: product-shared-fp32-cpu-b1" in words
    assert "p99 needs 459 laps of each process, there are 8: product-shared-fp32-cpu-b1" in words


@pytest.mark.usefixtures("jobs")
def test_the_best_batch_under_a_limit_and_an_honest_empty_answer(tmp_path: Path) -> None:
    found = measured(
        tmp_path, Scenario(SWEEP, seconds=0.3, batches=(1, 4), bound_ns=10**9), cell("shared")
    )
    assert found["shared"]["answer"]["batch"] in (1, 4)
    assert not load.nothing_keeps(SHORT[SWEEP], list(found.values()))
    tight = Scenario(SWEEP, seconds=0.3, batches=(1, 4), bound_ns=1)
    none = measured(tmp_path, tight, cell("shared"))
    assert none["shared"]["answer"]["batch"] is None
    assert "times the bound" in none["shared"]["answer"]["excluded"]["1"]
    assert load.nothing_keeps(tight, list(none.values()))
    assert "no batch has a p99 within" in shown(list(none.values()))


@pytest.mark.usefixtures("jobs")
def test_without_the_generator_a_server_is_unavailable_with_the_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        mlperf, "lacks", lambda: f"{mlperf.DISTRIBUTION} is not installed; {mlperf.HINT}"
    )
    line = measured(tmp_path, SHORT[SERVER], cell("shared"))["shared"]
    assert line["outcome"] == "unavailable"
    assert "pip install 'evenbench[load]'" in line["reason"]


@pytest.mark.usefixtures("jobs")
def test_readers_of_outcomes_do_not_see_these_lines(tmp_path: Path) -> None:
    measured(tmp_path, SHORT[SINGLE], cell("shared"))
    assert records.read([tmp_path]).lines == ()
    reading = records.read([tmp_path / load_session.FOLDER])
    assert reading.lines == ()
    assert "not an evenbench outcome" in reading.notes[0]


# -- the command line ------------------------------------------------------------------------------


def options(*words: str) -> load.LoadOptions:
    given: load.LoadOptions = parsed(load, words)
    return given


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("server", "--rate", "0", "--p99", "5ms"), "--rate 0: expected"),
        (("server", "--rate", "nan", "--p99", "5ms"), "--rate nan: expected"),
        (("server",), "^--p99: .*latency bound"),
        (("single-stream", "--seconds", "0"), "^--seconds 0: expected"),
        (("server", "--p99", "5ms", "--callers", "1,2"), "name one"),
        (("single-stream", "--rate", "5"), "--rate is for server"),
        (("idle-gaps", "--seconds", "2"), "--seconds is for"),
        (("batch-sweep", "--p99", "20"), "expected a number of 0 or more and its unit"),
        (("batch-sweep", "--p99", "0ms"), "above 0"),
        (("batch-sweep", "--batches", "0,4"), "--batches 0,4: expected"),
        (("shapes", "--batches", "4"), "two sizes"),
        (("shapes", "--vary", "length"), "--vary length: expected batch, size"),
        (("shapes", "--vary", "size", "--batches", "1,2"), "keeps each cell's own"),
        (("idle-gaps", "--vary", "size"), "--vary is for shapes"),
        (("idle-gaps", "--gaps", "10,100"), "--gaps 10,100: expected 0"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(
    words: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        load.scenario_of(options("--scenario", *words))


def test_every_flag_sets_a_field_of_the_scenario() -> None:
    fields = {field.name for field in dataclasses.fields(Scenario)}
    assert set(load_session.FIELDS.values()) <= fields
    assert {load.flag_of(field) for field in load_session.FIELDS.values()} == set(
        load_session.FLAGS
    )


def test_flags_become_the_scenario_and_the_command_that_repeats_it() -> None:
    asked = options(
        "--scenario",
        "batch-sweep",
        "--p99",
        "20ms",
        "--batches",
        "1,8",
        "--seconds",
        "2",
        "--seed",
        "3",
    )
    assert load.scenario_of(asked) == Scenario(
        SWEEP, seconds=2.0, bound_ns=20_000_000, batches=(1, 8), seed=3
    )
    assert (
        load.flags(asked)
        == "--scenario batch-sweep --p99 20ms --batches 1,8 --seconds 2.0 --plan default --seed 3"
    )
    asked = options("--scenario", "shapes", "--vary", "batch,size", "--batches", "1,8")
    assert load.scenario_of(asked) == Scenario(SHAPES, batches=(1, 8), vary=("batch", "size"))
    assert (
        load.flags(asked)
        == "--scenario shapes --vary batch,size --batches 1,8 --plan default --seed 0"
    )


def command(
    folder: Path, *words: str, target: str = "benchmarks"
) -> subprocess.CompletedProcess[str]:
    asked = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "load",
        target,
        *words,
        "--plan",
        "quick",
        "--results",
        str(folder),
    ]
    return subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)


REQUESTS = """\
from benchmarks.models import DIGITS_CNN
from harness import Case

case = Case(
    (DIGITS_CNN,),
    backends=("openvino",),
    options={"openvino": ({"hint": "throughput", "requests": 2},)},
)
"""

SIZES = """\
from benchmarks.models import DIGITS_CNN
from harness import Case

BOTH = ({}, {"dynamic": "batch"})
case = Case(
    (DIGITS_CNN,),
    backends=("torch-eager", "ort", "openvino"),
    options={"ort": BOTH, "openvino": BOTH},
)
"""


@pytest.mark.slow
def test_three_runtimes_under_load(tmp_path: Path) -> None:
    """The command itself, on real networks in real processes of three runtimes."""
    for package in ("torch", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    cells = [
        word
        for name in ("torch-eager", "ort", "openvino")
        for word in ("--cell", f"digits_cnn-{name}-fp32-cpu-b1")
    ]
    done = command(
        tmp_path,
        *cells,
        "--scenario",
        "concurrent",
        "--callers",
        "1,2",
        "--seconds",
        "0.5",
        "--json",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = json.loads(done.stdout)["lines"]
    assert {line["cell"]["backend"]: line["outcome"] for line in lines} == dict.fromkeys(
        ("torch-eager", "ort", "openvino"), "ok"
    )
    for line in lines:
        jsonschema.validate(line, SCHEMA)
        assert [point["callers"] for point in points(line)] == [1, 2]
        assert line["parts"][0]["parity"]["verdict"] == "pass"
    declared = tmp_path / "requests.py"
    declared.write_text(REQUESTS)
    done = command(
        tmp_path, "--scenario", "concurrent", "--seconds", "0.5", "--json", target=str(declared)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = json.loads(done.stdout)["lines"]
    jsonschema.validate(line, SCHEMA)
    (point,) = points(line)
    assert (line["outcome"], point["requests"], point["latency"]["p50_ns"]) == ("ok", 2, None)
    assert point["per_second"]["value"] > 0
    declared = tmp_path / "sizes.py"
    declared.write_text(SIZES)
    done = command(
        tmp_path,
        "--scenario",
        "shapes",
        "--batches",
        "1,3,4",
        "--seconds",
        "0.2",
        "--json",
        target=str(declared),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        (line["cell"]["backend"], "dynamic" in line["cell"]["options"]): line
        for line in json.loads(done.stdout)["lines"]
    }
    left_open = [("ort", True), ("openvino", True)]
    fixed = dict.fromkeys([("ort", False), ("openvino", False)], "unsupported")
    assert {name: line["outcome"] for name, line in found.items()} == {
        ("torch-eager", False): "ok",
        **fixed,
        **dict.fromkeys(left_open, "ok"),
    }, [line["reason"] for line in found.values()]
    assert all("takes batches of 4 only" in found[name]["reason"] for name in fixed)
    for line in map(found.__getitem__, left_open):
        (part,) = line["parts"]
        assert (part["parity"]["verdict"], part["attested"]["labels"]) == ("pass", ["any batch"])
        assert not isinstance(part["attested"]["details"]["input_shapes"]["image"][0], int), (
            "read back from the session: open"
        )
        assert {point["batch"]: point["first"] is None for point in points(line)} == {
            1: False,
            3: False,
            4: True,
        }
        assert all(point["first_seen"]["value"] > 0 for point in points(line)[:2])


RUNTIMES_OF_SIZES = """\
from dataclasses import replace
from typing import Any

from harness import BATCH, Case, Model, TensorSpec, seeded


def build() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, padding=1),
    )


def net(height: int, width: int) -> Model:
    shapes = {
        "inputs": ("image", (BATCH, 3, height, width)),
        "outputs": ("classes", (BATCH, 4, height // 2, width // 2)),
    }
    specs = {kind: (TensorSpec(*spec),) for kind, spec in shapes.items()}
    made_from = {
        "inputs_from": "harness.inputs:standard_normal",
        "calibration_from": "harness.inputs:standard_normal_calibration",
    }
    return Model(name=f"net_{height}", build=build, weights=seeded(0), **made_from, **specs)


NET = replace(net(16, 24), name="net", sizes=(net(32, 24),))
SIZE = {"dynamic": "size"}
wide = Case(
    models=(NET,),
    backends=("torch-eager", "torch-script", "torch-compile", "ort"),
    options={"torch-compile": ({"shapes": "each"},), "ort": (SIZE,)},
)
narrow = Case(
    models=(NET,),
    backends=("ort", "openvino"),
    precisions=("fp16", "int8-static"),
    options=dict.fromkeys(("ort", "openvino"), ({"dynamic": "batch,size"},)),
)
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_sizes_that_change_on_real_runtimes(tmp_path: Path) -> None:
    """Each runtime that takes them answers right at all of them, and what is compiled anew for one
    is counted.
    """
    for package in ("torch", "onnxruntime"):
        pytest.importorskip(package)
    declared = tmp_path / "images.py"
    declared.write_text(RUNTIMES_OF_SIZES)
    done = command(
        tmp_path,
        "--scenario",
        "shapes",
        "--vary",
        "size",
        "--seconds",
        "0.1",
        "--json",
        target=f"{declared}::wide",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        (line["cell"]["backend"], *line["cell"]["options"].values()): line
        for line in json.loads(done.stdout)["lines"]
    }
    outcomes = {name: line["outcome"] for name, line in found.items()}
    right = (("torch-eager",), ("torch-script",), ("torch-compile", "each"), ("ort", "size"))
    assert outcomes == dict.fromkeys(right, "ok"), [line["reason"] for line in found.values()]
    for line in found.values():
        jsonschema.validate(line, SCHEMA)
        (part,) = line["parts"]
        assert [(each["size"], each["parity"]["verdict"]) for each in part["sizes"]] == [
            ("3x32x24", "pass")
        ]
        assert [(point["size"], point["first"] is None) for point in points(line)] == [
            ("3x16x24", True),
            ("3x32x24", False),
        ]
    compiled = found["torch-compile", "each"]
    assert [point["builds"] for point in points(compiled)] == [[0], [1]]
    assert compiled["parts"][0]["attested"]["labels"] == ["compiled anew for other shapes: 1"]
    assert points(compiled)[1]["first_seen"]["value"] > 10, (
        "what compiling costs is seen in the first call"
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_what_is_left_open_below_fp32_on_real_runtimes(tmp_path: Path) -> None:
    for package in ("torch", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    declared = tmp_path / "images.py"
    declared.write_text(RUNTIMES_OF_SIZES)
    words = (
        "--scenario",
        "shapes",
        "--vary",
        "batch,size",
        "--batches",
        "1,3",
        "--seconds",
        "0.1",
        "--json",
    )
    done = command(tmp_path, *words, target=f"{declared}::narrow")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {
        (line["cell"]["backend"], line["cell"]["precision"]): line
        for line in json.loads(done.stdout)["lines"]
    }
    narrow = itertools.product(("ort", "openvino"), ("fp16", "int8-static"))
    outcomes = {name: line["outcome"] for name, line in found.items()}
    assert outcomes == dict.fromkeys(narrow, "ok"), [line["reason"] for line in found.values()]
    for line in found.values():
        attested = line["parts"][0]["attested"]
        assert {"any batch", "any size"} <= set(attested["labels"])
        read_back = [isinstance(size, int) for size in attested["details"]["input_shapes"]["image"]]
        assert read_back == [False, True, False, True], "the batch and the height are open"
        shapes = [(point["size"], point["batch"]) for point in points(line)]
        assert shapes == list(itertools.product(("3x16x24", "3x32x24"), (1, 3)))


@pytest.mark.slow
@pytest.mark.skipif(bool(mlperf.lacks()), reason=f"needs {mlperf.DISTRIBUTION}; {mlperf.HINT}")
def test_arrivals_at_a_real_runtime(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    only = ("--cell", "digits_cnn-ort-fp32-cpu-b1", "--scenario", "server", "--seconds", "0.3")
    page = tmp_path / "page.html"
    done = command(tmp_path, *only, "--p99", "2s", "--rate", "100", "--json", "-o", str(page))
    (line,) = json.loads(done.stdout)["lines"]
    assert done.returncode == 0, line
    assert [run["scenario"] for run in points(line)[0]["runs"][0]] == [
        "SingleStream",
        "Offline",
        "Server",
    ]
    assert line["answer"]["rate_per_second"] == pytest.approx(100)
    assert "arrivals per second" in page.read_text()
    done = command(tmp_path, *only, "--p99", "1us")
    assert done.returncode == 1, "nothing keeps that"
    assert "no rate can be valid" in done.stdout
