"""Real lines of real runs against the published schema, and the page that documents them."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evenbench.harness import BATCH, PLANS, Cell, Model, TensorSpec
from evenbench.harness.core.cases import Entry
from evenbench.harness.results import records, run_file
from evenbench.harness.runner.schedule import Run

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = records.schema()
VALIDATOR = Draft202012Validator(SCHEMA)

ADDED = {"limit", "agreement", "dataset", "steady_rss_bytes", "energy", "interleaving"} | {
    "calibration"
}
"""Keys that came after lines of this schema number were written: every new line has them, and a
line without them is valid.
"""
OF_SIDES = {"against", "then"}
"""Keys of lines of other sides alone (`evenbench run --against`)."""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """One line of each outcome that needs no runtime, as the file holds it, by outcome."""
    folder = tmp_path_factory.mktemp("results")
    specs = (TensorSpec("x", (BATCH, 4)),)
    model = Model(
        "m", build="a:b", inputs=specs, outputs=specs, inputs_from="harness.inputs:standard_normal"
    )
    broken = replace(model, name="broken", inputs_from="no.such.module:f")
    cells = [
        Cell(model, "null"),
        Cell(model, "null", "bf16"),
        Cell(broken, "null"),
        Cell(model, "ort@absent"),
    ]
    entries = [Entry(cell, "bench_x.py::case") for cell in cells]
    plan = replace(PLANS["quick"], processes=2, min_seconds=0.0, warmup_max_seconds=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVENBENCH_CACHE", str(folder / "cache"))
        run = Run(entries, plan, folder / "results", seed=7)
        run.measure(entries)
        run.finish()
    return {
        line["outcome"]: json.loads(json.dumps(line))
        for line in records.read([folder / "results"]).lines
    }


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"] == {"const": records.SCHEMA}


def test_real_lines_are_valid(lines: dict[str, dict[str, Any]]) -> None:
    assert sorted(lines) == ["failed", "ok", "unavailable", "unsupported"]
    for line in lines.values():
        assert [error.message for error in VALIDATOR.iter_errors(line)] == []


def test_every_key_is_always_there(lines: dict[str, dict[str, Any]]) -> None:
    for line in lines.values():
        assert set(line) == {*SCHEMA["required"], *ADDED} == {*SCHEMA["properties"]} - OF_SIDES


def test_a_key_of_a_later_version_is_allowed_at_the_top_only(
    lines: dict[str, dict[str, Any]],
) -> None:
    line = copy.deepcopy(lines["ok"])
    line["new"] = 1
    assert VALIDATOR.is_valid(line)
    line["cell"]["new"] = 1
    assert not VALIDATOR.is_valid(line)


@pytest.mark.parametrize(
    "damage",
    [
        {"outcome": "fine"},
        {"schema": 1},
        {"schema": "1"},
        {"samples_ns": {}},
        {"samples_ns": {"compute": [[1.5]], "host_to_host": [[1]]}},
        {"samples_ns": {"compute": [[-1]], "host_to_host": [[1]]}},
        {"samples_ns": {"compute": [], "host_to_host": []}},
        {"stability": {"compute": ["steady"], "host_to_host": ["stable"]}},
        {"phase": "sample"},
        {"reason": "but"},
        {"signal": "11"},
        {"time": "2026-01-01 00:00:00"},
        {"input_sha256": ""},
        {"attested": None},
        {"phases_seconds": {}},
        {"hint": "pip install something"},
        {"warnings": "none"},
        {"role": "runtime"},  # a runtime without a passed parity verdict is not ok
    ],
    ids=str,
)
def test_a_damaged_line_is_not_valid(
    damage: Mapping[str, Any], lines: dict[str, dict[str, Any]]
) -> None:
    assert not VALIDATOR.is_valid({**lines["ok"], **damage})


@pytest.mark.parametrize("outcome", ["failed", "unsupported", "unavailable"])
def test_what_has_no_number_says_where_and_why(
    outcome: str, lines: dict[str, dict[str, Any]]
) -> None:
    for key in ("phase", "reason"):
        assert not VALIDATOR.is_valid({**lines[outcome], key: ""})


def test_every_key_is_required_somewhere(lines: dict[str, dict[str, Any]]) -> None:
    for key in lines["ok"]:
        assert VALIDATOR.is_valid(
            {name: value for name, value in lines["ok"].items() if name != key}
        ) == (key in ADDED)


def documented() -> str:
    return (ROOT / "docs" / "reference" / "results-file.md").read_text(encoding="utf-8")


def test_the_page_names_every_key() -> None:
    page = documented()
    for key in SCHEMA["properties"]:
        assert re.search(rf"`{key}[`.\[]", page), f"results-file.md says nothing of {key}"
    described = (
        "cell",
        "block",
        "warm_up",
        "parity",
        "output_error",
        "attestation",
        "gpu_device",
        "gpu_reading",
        "environment",
    )
    for name in (*described, "limit", "agreement"):
        for key in SCHEMA["$defs"][name]["properties"]:
            assert re.search(rf"`([\w.\[\]]+\.)?{key}`", page), (
                f"docs/reference/results-file.md says nothing of {name}.{key}"
            )


def test_the_page_has_the_history_of_the_schema_number() -> None:
    assert re.search(rf"^\| {records.SCHEMA} \|", documented(), re.MULTILINE)


def test_the_python_on_the_page_runs(
    lines: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "run.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines.values())
    )
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", documented(), re.DOTALL)
    assert blocks
    for block in blocks:
        if "import pandas" in block and importlib.util.find_spec("pandas") is None:
            continue  # shown for those who have it; evenbench does not need it
        exec(compile(block, "docs/reference/results-file.md", "exec"), {})


def test_a_resumed_run_forgets_what_was_wrong_and_keeps_the_rest(tmp_path: Path) -> None:
    run = run_file.RunFile.create(tmp_path, {"plan": "quick"})
    cells = {"ok": "a", "mismatch": "b", "unsupported": "c", "failed": "d"}
    for outcome, key in cells.items():
        cell = {"key": key, "id": key, "model": "m", "backend": "x"}
        records.append(run.file, {"schema": 1, "outcome": outcome, "time": "t", "cell": cell})
    assert set(run.keep_only(("ok", "unsupported"))) == {"a", "c"}
    assert [line["outcome"] for line in records.read([run.file]).lines] == ["ok", "unsupported"]


def test_what_asv_left_in_folders_of_its_own_is_read_with_the_rest(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("run.jsonl", "asv-x1/run.jsonl", "asv-x2/run.jsonl", "elsewhere/run.jsonl")
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cell = {"key": str(number), "id": str(number), "model": "m", "backend": "x"}
        records.append(tmp_path / name, {"schema": 1, "outcome": "ok", "time": "t", "cell": cell})
    assert sorted(line["cell"]["key"] for line in records.read([tmp_path]).lines) == ["0", "1", "2"]
    assert [line["cell"]["key"] for line in records.read([tmp_path / "asv-x1"]).lines] == ["1"]
