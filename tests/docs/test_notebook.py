"""The notebook of the documentation runs, and its outputs of recorded results are up to date."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from evenbench.harness.core import artifact_store
from tests.docs.pages import ROOT

NOTEBOOK = ROOT / "docs" / "how-to" / "notebook.ipynb"
RECORDS = ("default-run.jsonl", "comparison.json")
MEASURED = 3
"""The first cells of code measure; their outputs differ from run to run."""


def texts(notebook: Any) -> list[list[str]]:
    """The plain text of the outputs, per cell of code."""
    return [
        [output["data"]["text/plain"] for output in cell.outputs if "data" in output]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: Any) -> None:
    """In a copy of its place; it measures a small model on ONNX Runtime, and reads two records."""
    monkeypatch.setenv("EVENBENCH_CACHE", str(artifact_store.root()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "how-to"
    folder.mkdir()
    (tmp_path / "data").mkdir()
    for name in RECORDS:
        shutil.copy(ROOT / "docs" / "data" / name, tmp_path / "data")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    stored = texts(notebook)
    place = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
    run = texts(notebook)
    assert run[MEASURED:] == stored[MEASURED:], "execute the notebook, and keep its outputs"
    html = [
        output["data"].get("text/html", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert "linear-ort-fp32-cpu-b1" in html[0], "the table of a run"
    assert any("<caption" in text and "slower" in text for text in html), "that of a comparison"
