"""`run` and `load_results` from Python: the command's engine and files, as a table."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HERE, REPOSITORY, variables

from evenbench.harness import UsageError, cli
from evenbench.harness.python_api import load_comparison, load_results
from evenbench.reports.pages import notebook

SCRIPT = """
import json

from evenbench import Case, load_results, run
from tiny import TINY

case = Case(models=(TINY,), backends=("tiny", "wrong", "absent"))
table = run(case, plan="quick", progress=False, k="not absent")
(again,) = load_results().rows[:1]
texts = {"html": table._repr_html_(), "text": repr(table)}
print(json.dumps({"rows": table.rows, "again": again, **texts}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("notebook")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=variables(folder) | {"PYTHONPATH": os.pathsep.join(map(str, (HERE, REPOSITORY)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "folder": folder}


def test_cells_of_a_case_come_back_as_rows(measured: dict) -> None:
    right, wrong = measured["rows"]
    assert [right["outcome"], wrong["outcome"]] == ["ok", "mismatch"]
    assert right["compute_ms"] > 0
    assert right["throughput"] == pytest.approx(1000 * right["batch"] / right["compute_ms"])
    assert right["parity_needed"] <= 1 < wrong["parity_needed"]
    assert right["speedup"] is None, "the group has no torch eager"


def test_recorded_lines_give_the_same_rows(measured: dict) -> None:
    assert measured["again"] == measured["rows"][0]


def test_a_notebook_shows_a_table(measured: dict) -> None:
    assert "tiny-tiny-fp32-cpu-b1" in measured["html"]
    assert measured["text"].endswith(".Table: 1 ok, 1 mismatch>")


def test_every_column_has_a_unit_or_is_text_and_a_meaning(measured: dict) -> None:
    (row, _) = measured["rows"]
    assert list(row) == [column.name for column in notebook.COLUMNS]
    numbers = {name for name, value in row.items() if isinstance(value, float)}
    unitless = {"parity_needed", "speedup", "speedup_low", "speedup_high"}
    assert {c.name for c in notebook.COLUMNS if c.name in numbers and not c.unit} <= unitless
    assert all(column.meaning for column in notebook.COLUMNS)


def test_csv_has_a_header_and_a_line_per_cell(measured: dict) -> None:
    table = load_results(measured["folder"] / "results")
    first, second = csv.DictReader(io.StringIO(table.to_csv()))
    assert first["cell"] == "tiny-tiny-fp32-cpu-b1"
    assert float(first["compute_ms"]) == pytest.approx(measured["rows"][0]["compute_ms"])
    assert second["speedup"] == ""


def test_pandas_has_the_same_values(measured: dict) -> None:
    frame = load_results(measured["folder"] / "results").to_pandas()
    assert list(frame.columns) == [column.name for column in notebook.COLUMNS]
    assert frame.compute_ms[0] == measured["rows"][0]["compute_ms"]


def test_the_command_writes_parquet_with_the_same_values(measured: dict, tmp_path: Path) -> None:
    from pyarrow import parquet

    words = ["report", str(measured["folder"] / "results"), "--format", "parquet"]
    assert cli.main([*words, "-o", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.parquet")
    rows = parquet.read_table(file).to_pylist()
    assert rows == load_results(measured["folder"] / "results", newest=True).rows


def test_the_command_prints_markdown(measured: dict, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["report", str(measured["folder"] / "results"), "--format", "markdown"]
    assert cli.main(words) == 0
    assert "| `tiny` |" in capsys.readouterr().out


def test_an_absent_library_is_named(measured: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="pyarrow is not installed; pip install pyarrow"):
        load_results(measured["folder"] / "results").to_arrow()


def test_a_comparison_is_a_table(tmp_path: Path) -> None:
    recorded = REPOSITORY / "docs" / "data" / "comparison.json"
    table = load_comparison(recorded)
    latency = next(row for row in table.rows if row["metric"] == "latency" and not row["control"])
    assert latency["verdict"] == "slower"
    assert 1 < latency["low"] < latency["ratio"] < latency["high"]
    assert f"{latency['ratio']:.3f}" in table._repr_html_()
    assert table.exit_code == 1
    assert len(table.to_pandas()) == len(table)
    (tmp_path / "compare-2026-01-01.json").write_text(recorded.read_text())
    assert load_comparison(tmp_path).rows == table.rows
    (tmp_path / "compare-2026-01-02.json").write_text('{"cells": [{}]}')
    with pytest.raises(UsageError, match=r"is no comparison .*expected a file of `evenbench comp"):
        load_comparison(tmp_path)
    with pytest.raises(UsageError, match=r"no comparison in .*run `evenbench compare BASE HEAD`"):
        load_comparison(REPOSITORY / "docs")


def test_a_failed_cell_of_a_comparison_has_its_reason(tmp_path: Path) -> None:
    cell = {"cell": "gone", "control": False, "failure": "crashed", "wrong": [""], "metrics": {}}
    file = tmp_path / "compare-1.json"
    file.write_text(json.dumps({"base": "a", "head": "b", "exit": 1, "cells": [cell]}))
    table = load_comparison(file)
    assert [row["reason"] for row in table.rows] == ["crashed"]
    assert "crashed" in table._repr_html_()


def test_an_absent_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no results at .*nowhere; give a results file or folder"):
        load_results(tmp_path / "nowhere")


def test_the_page_describes_every_column() -> None:
    text = (REPOSITORY / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- columns -->\n(.*?)<!-- end of columns -->", text, re.DOTALL)
    rows = [f"| `{c.name}` | {c.unit} | {c.meaning} |" for c in notebook.COLUMNS]
    assert table.splitlines()[2:] == rows


def test_the_command_prints_the_same_csv(
    measured: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    results = measured["folder"] / "results"
    assert cli.main(["report", str(results), "--format", "csv"]) == 0
    assert capsys.readouterr().out == load_results(results, newest=True).to_csv()


def test_parquet_needs_pyarrow(
    measured: dict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    folder = measured["folder"]
    words = ["report", str(folder / "results"), "--format", "parquet", "-o", str(folder / "out")]
    assert cli.main(words) == 4
    assert "pip install pyarrow" in capsys.readouterr().err
