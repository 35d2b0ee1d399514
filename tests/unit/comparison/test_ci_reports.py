"""Report files, and GitHub's annotations and step outputs, within GitHub's limits and escaped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from junitparser import JUnitXml

from evenbench.harness.comparison import ci_reports
from tests.unit.comparison.comparisons import EVERYTHING, PLACED, comparison, metric, result


@pytest.mark.parametrize(("count", "lines"), [(1, 1), (9, 9), (10, 10), (300, 10)])
def test_annotations_stay_within_ten_of_a_level(count: int, lines: int) -> None:
    many = comparison(
        *[result(f"cell{index}", latency=metric("slower", 0.1)) for index in range(count)]
    )
    annotations = ci_reports.workflow_commands(many)
    assert len(annotations) == lines
    assert all(line.startswith("::error title=evenbench") for line in annotations)
    if count > 10:
        assert annotations[-1].endswith("and 291 more, see the summary")


def test_annotations_are_escaped() -> None:
    (line,) = ci_reports.workflow_commands(comparison(result("a,b:c", wrong="100%\n::error::x")))
    assert line == "::error title=evenbench%3A a%2Cb%3Ac::base: 100%25%0A::error::x"


def test_annotations_point_at_the_declaration() -> None:
    (line,) = ci_reports.workflow_commands(comparison(PLACED))
    assert line.startswith(
        "::error file=benchmarks/a%2C b.py,line=7,title=evenbench%3A slow::latency +"
    )
    unknown = {**PLACED, "place": {"file": "model.onnx", "line": None}}
    assert ci_reports.workflow_commands(comparison(unknown))[0].startswith(
        "::error file=model.onnx,title="
    )


def test_files_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    files = {
        "junit": str(tmp_path / "a" / "junit.xml"),
        "sarif": str(tmp_path / "b.sarif"),
        "summary": str(tmp_path / "c.md"),
    }
    assert ci_reports.write(EVERYTHING, files) == list(files.values())
    assert JUnitXml.fromfile(files["junit"]) is not None
    assert json.loads(Path(files["sarif"]).read_text())["version"] == "2.1.0"


def test_a_github_step_gets_its_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "outputs"
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    ci_reports.write_outputs(EVERYTHING)
    assert not file.exists()
    monkeypatch.setenv("GITHUB_OUTPUT", str(file))
    ci_reports.write_outputs(EVERYTHING)
    assert file.read_text() == "exit=1\nworst-ratio=1.2214\n"
