"""A run on labelled data: timed sessions are scored, and bad data stops a run before timing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import numpy as np
import pytest
from PIL import Image

from evenbench.harness import Cell, Recipe, Session, UsageError, cli
from evenbench.harness.commands import progress
from evenbench.harness.core import exit_codes
from evenbench.harness.core.cases import Entry
from evenbench.harness.inputs import datasets
from evenbench.harness.preprocess import Decode, Resize, ToArray
from evenbench.harness.results import records
from evenbench.harness.runner import launcher
from evenbench.harness.runner.dataset_scoring import LabelledData
from evenbench.harness.runner.schedule import Event, Run
from tests.unit import builders
from tests.unit.builders import (
    Product,
    ProductSession,
    attestation,
    plan,
    product,
    register,
    work_here,
)

HERE = "tests.unit.runner.test_dataset_scoring"


@dataclass(frozen=True)
class Flatten:
    is_step: ClassVar[bool] = True

    def apply(self, image: Any) -> Any:
        return np.ascontiguousarray(image.reshape(-1), np.float32) - np.float32(0.5)


FOUR = Recipe("four", (Decode("L"), Resize(2, antialias=True, exact=True), ToArray(), Flatten()))
TRIED = product(task="classification", recipe=FOUR, labels=("ant", "bee", "cat"))


class Contrary(Product):
    """A session with the sign of all outputs inverted."""

    name = "contrary"

    def session(self, weights: Any, cell: Cell) -> Session:
        return super().session(-weights, cell)


class TiredSession(ProductSession):
    """A session that fails on inputs outside the timed batches."""

    def bind(self, inputs: Mapping[str, Any]) -> None:
        if float(np.abs(inputs["x"]).max()) <= 0.5:
            raise RuntimeError("too tired")
        super().bind(inputs)


class Tired(Product):
    name = "tired"

    def session(self, weights: Any, cell: Cell) -> Session:
        return TiredSession(weights, attestation(precision=cell.precision, threads=cell.threads))


ROWS = ",".join(
    [builders.ROWS, *(f"{kind.name}={HERE}:{kind.__name__}" for kind in (Contrary, Tired))]
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nine images of four pixels, in a folder per class as classified by the golden's weights."""
    register(monkeypatch, ROWS)
    work_here(monkeypatch)
    monkeypatch.setenv("EVENBENCH_CACHE", str(tmp_path / "cache"))
    weights = (
        np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    )  # as the golden draws them
    pixels = np.random.default_rng(3).integers(0, 256, (9, 2, 2)).astype(np.uint8)
    classes = ((pixels.reshape(9, 4).astype(np.float32) / 255 - 0.5) @ weights).argmax(1)
    assert len(set(classes)) > 1
    for number, (image, kind) in enumerate(zip(pixels, classes, strict=True)):
        folder = tmp_path / "data" / TRIED.labels[kind]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    return tmp_path / "data"


def run(
    folder: Path, backends: tuple[str, ...], labelled: LabelledData, batch: int = 1
) -> dict[str, Any]:
    cells = [Cell(TRIED, name, batch=batch) for name in backends]
    labelled.prepare(cells)
    session = Run(
        [Entry(cell) for cell in cells], replace(plan(), processes=2), folder, labelled=labelled
    )
    lines = {line["cell"]["backend"]: line for line in session.measure(session.entries)}
    session.finish()
    for line in lines.values():
        jsonschema.validate(line, records.schema())
    return lines


@pytest.mark.parametrize("batch", [1, 4])
def test_right_and_wrong_outputs_are_scored(batch: int, data: Path, tmp_path: Path) -> None:
    labelled = LabelledData(datasets.find(data), 60.0)
    lines = run(tmp_path / "results", ("product", "contrary", "null"), labelled, batch)
    assert lines["product"]["accuracy"] == {"metric": "top-1", "value": 1.0, "count": 9}
    assert lines["product"]["dataset"]["classes"] == "the model's labels"
    assert lines["product"]["dataset"]["metrics"] == {"top-1": 1.0}
    assert (lines["contrary"]["outcome"], lines["contrary"]["accuracy"]["value"]) == (
        "mismatch",
        0.0,
    )
    assert lines["null"]["accuracy"] is None, "a control has no answer"
    assert labelled.unscored == {}


def test_a_cell_without_scores_keeps_times_and_has_a_reason(data: Path, tmp_path: Path) -> None:
    labelled = LabelledData(datasets.find(data), 60.0)
    line = run(tmp_path / "results", ("tired",), labelled)["tired"]
    assert (line["outcome"], line["accuracy"], line["dataset"]) == ("ok", None, None)
    assert len(line["samples_ns"]["compute"]) == 2
    assert labelled.unscored == {line["cell"]["id"]: "RuntimeError: too tired"}


class Stopped(Exception):
    """The exception that stops a run."""


def test_a_resumed_run_on_labelled_data_scores_no_cell_twice(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, jobs = launcher.Worker, []
    monkeypatch.setattr(
        launcher, "Worker", lambda job, *rest: jobs.append(job) or start(job, *rest)
    )
    entries = [Entry(Cell(TRIED, name)) for name in ("product", "contrary", "null")]

    def session(samples: int = 0, **more: Any) -> Run:
        labelled = LabelledData(datasets.find(data, samples), 60.0)
        labelled.prepare(entry.cell for entry in entries)
        return Run(
            entries, replace(plan(), processes=2), tmp_path / "results", labelled=labelled, **more
        )

    def stop(event: Event) -> None:
        if event.kind == "measure" and "sweep 2" in event.text:
            raise Stopped

    def scored() -> list[str]:
        return sorted(
            job.cell.backend
            for job in jobs
            if job.task == "measure" and job.payload.dataset is not None
        )

    with pytest.raises(Stopped):
        session(listen=stop).measure(entries)
    assert scored() == ["contrary", "product"]
    jobs.clear()
    assert not session(samples=6).resumed, "other images are another run"
    again = session()
    assert again.resumed
    lines = {line["cell"]["backend"]: line for line in again.measure(entries)}
    assert scored() == ["contrary"], "what was wrong is measured again, and scored"
    assert lines["product"]["accuracy"] == {"metric": "top-1", "value": 1.0, "count": 9}
    assert len(lines["product"]["process_seconds"]) == 2
    assert lines["product"]["dataset"]["metrics"] == {"top-1": 1.0}


def test_a_resumed_command_reports_cells_without_scores(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench_it.py").write_text(
        f"from {HERE} import TRIED\nfrom harness import Case\n"
        "it = Case((TRIED,), ('product', 'tired', 'null'))\n"
    )
    hear = progress.Display.hear

    def interrupted(display: progress.Display, event: Event) -> None:
        hear(display, event)
        if event.record and event.record["cell"]["backend"] == "tired":
            raise KeyboardInterrupt

    words = ["run", "bench_it.py", "--plan", "quick", "--dataset", str(data)]
    with monkeypatch.context() as patched:
        patched.setattr(progress.Display, "hear", interrupted)
        assert cli.main(words) == 130
    capsys.readouterr()
    assert cli.main(words) == 1, "an accuracy that is not known is no success"
    log = capsys.readouterr().err
    assert "resuming run" in log
    assert log.count("no accuracy for") == 1
    accuracy = f"no accuracy for {Cell(TRIED, 'tired').id}"
    assert f"{accuracy}: unknown since before the interruption" in log


def test_prepared_images_come_from_the_cache(data: Path) -> None:
    messages: list[str] = []
    for _ in range(2):
        LabelledData(datasets.find(data), 60.0, messages.append).prepare([Cell(TRIED, "product")])
    assert messages == ["9 images as inputs of product"]


def test_a_corrupt_image_stops_the_run_before_anything_is_timed(data: Path, tmp_path: Path) -> None:
    next(data.rglob("*.png")).write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"\.png: step Decode .*; nothing was measured"):
        LabelledData(datasets.find(data), 60.0).prepare([Cell(TRIED, "product")])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--samples", "3"), "--samples needs --dataset"),
        (("--dataset", "nowhere"), "no such folder"),
        (("--dataset", ".", "--samples", "-1"), "expected a number of images"),
    ],
)
def test_invalid_flags_are_usage_errors(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench_it.py").write_text(
        f"from {HERE} import TRIED\nfrom harness import Case\nit = Case((TRIED,), ('product',))\n"
    )
    register(monkeypatch, ROWS)
    assert cli.main(["run", "bench_it.py", *arguments]) == exit_codes.USAGE
    assert said in capsys.readouterr().err
    assert not (tmp_path / "results").exists() or not list((tmp_path / "results").glob("*.jsonl"))


def test_the_command_reports_the_dataset_and_the_command_to_reproduce(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    declared = "from harness import Case\nit = Case((TRIED,), ('product', 'tired'))\n"
    (tmp_path / "bench_it.py").write_text(f"from {HERE} import TRIED\n{declared}")
    code = cli.main(
        [
            "run",
            "bench_it.py",
            "--plan",
            "quick",
            "--dataset",
            str(data),
            "--samples",
            "6",
            "--json",
        ]
    )
    output = capsys.readouterr()
    right, tired = json.loads(output.out)["outcomes"]
    assert right["accuracy"] == {"metric": "top-1", "value": 1.0, "count": 6}
    assert right["dataset"]["notes"] == ["6 of 9 images, evenly spread"]
    assert f"--dataset {data} --samples 6 --cell" in right["reproduce"]
    assert (tired["outcome"], code) == ("ok", 1), "an accuracy that is not known is no success"
    assert f"no accuracy for {tired['cell']['id']}: RuntimeError: too tired" in output.err
    assert cli.main(["inspect", right["cell"]["id"]]) == 0
    assert "6 of 9 images" in capsys.readouterr().out
