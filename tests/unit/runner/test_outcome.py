"""The outcome of a cell by its processes, and every key of the result line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.core.types import Cell
from evenbench.harness.results import records
from evenbench.harness.runner import outcome, record_parts
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.prepared import Prepared
from tests.unit.builders import PRODUCT, cell, plan

RUN = {"id": "2026-01-01", "started": "2026-01-01T00:00:00Z", "seed": 3}
MADE = Artifact("/cache/a", "a1", 10, 2.0, True, {"format": "npy"})
INPUTS = Artifact("/cache/i", "i0", 20, 1.0, True, {"sha256": "i1", "names": ["cat"]})
PREPARED = Prepared(INPUTS, MADE, {"sha256": "w1", "source": "own"}, None)


INNER = {"clock": "c", "inner_clock": "", "binding_ns": None}


def parity(verdict: str = "pass", needed: float = 0.1, reason: str = "") -> dict[str, Any]:
    return {
        "verdict": verdict,
        "needed": needed,
        "reason": reason,
        "artifact_sha256": "",
        "input_sha256": "",
    }


def process(**changed: Any) -> dict[str, Any]:
    """The record of a measured process."""
    both = {"compute": [5, 6], "host_to_host": [7, 8]}
    quiet = {
        "asked_is_used": "",
        "parity": parity(),
        "samples_ns": both,
        "stability": {"compute": "stable", "host_to_host": "stable"},
    }
    blocks = {
        "blocks": {"compute": [], "host_to_host": []},
        "interleaving": None,
        "warm_up": {"stable": True},
        "phases_seconds": {"load": 1.0},
    }
    rest = {
        "import_seconds": 0.1,
        "wall_seconds": 3.0,
        "peak_rss_bytes": 100,
        "attested": {"labels": ["tuned"]},
        "accuracy": None,
    }
    rest |= {
        "artifact_sha256": PREPARED.artifact.sha256,
        "input_sha256": PREPARED.inputs.facts["sha256"],
    }
    return {
        **quiet,
        **blocks,
        **rest,
        **INNER,
        "variables": {"OMP_NUM_THREADS": "1"},
        "machine": {"load_average": 0.5},
        **changed,
    }


def line(
    reply: Reply | None = None, *processes: dict[str, Any], prepared: Prepared | None = PREPARED
) -> dict[str, Any]:
    entry = Entry(cell("null"), "bench.py::case", "evenbench run bench.py")
    return outcome.line(entry, RUN, plan(), reply or Reply(None), prepared, processes)


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, None),
        ({"parity": None}, None),
        ({"asked_is_used": "ran bf16"}, ("fallback", "sample", "ran bf16")),
        ({"impossible": "impossible: no"}, ("failed", "sample", "impossible: no")),
        ({"parity": parity("fail", 7.0, "off")}, ("mismatch", "parity", "off")),
        (
            {"parity": parity("too exact", 0.0, "as exact as fp32")},
            ("fallback", "parity", "as exact as fp32"),
        ),
        ({"parity": parity("degenerate", 7.0, "flat")}, ("failed", "parity", "flat")),
        (
            {"asked_is_used": "ran bf16", "parity": parity("fail", 7.0, "off")},
            ("fallback", "sample", "ran bf16"),
        ),
    ],
)
def test_a_single_process_can_decide(
    changed: dict[str, Any], wanted: tuple[str, str, str] | None
) -> None:
    reply = outcome.verdict(process(**changed))
    assert (reply and (reply.outcome, reply.phase, reply.reason)) == wanted


def test_processes_are_gathered_in_order() -> None:
    record = line(
        None,
        process(),
        process(
            samples_ns={"compute": [1], "host_to_host": [2]},
            phases_seconds={"load": 2.0, "sample": 4.0},
        ),
    )
    assert record["samples_ns"] == {"compute": [[5, 6], [1]], "host_to_host": [[7, 8], [2]]}
    assert (record["phases_seconds"]["load"], record["phases_seconds"]["sample"]) == (
        [1.0, 2.0],
        [4.0],
    )
    assert record["memory"] == {"peak_rss_bytes": [100, 100]}
    assert record["labels"] == ["tuned"]
    assert record["environment"]["load_average"] == 0.5


def test_a_second_clock_is_a_boundary_and_gives_the_cost_of_the_binding() -> None:
    seen = {"compute": [5, 6], "host_to_host": [7, 8], "native": [4, 4]}
    record = line(None, *[process(samples_ns=seen, inner_clock="steady_clock", binding_ns=1.5)] * 2)
    assert record["samples_ns"]["native"] == [[4, 4], [4, 4]]
    assert (record["inner_clock"], record["binding_ns"]) == ("steady_clock", [1.5, 1.5])
    assert (line(None, process())["inner_clock"], line(None, process())["binding_ns"]) == ("", [])


def test_an_emulated_precision_is_a_label() -> None:
    attested = {"labels": ["tuned"], "emulated": "fp16 is stored, fp32 is computed"}
    assert line(None, process(attested=attested))["labels"] == ["tuned", "emulated"]


def test_the_origin_of_the_calibration_is_a_label_and_recorded() -> None:
    part = Cell(replace(PRODUCT, calibration_from="own.data:rows"), "product")
    samples = replace(MADE, facts={"sha256": "ab" * 32})
    calibrated = replace(PREPARED, calibration=samples)
    assert record_parts.calibration(part, calibrated) == {
        "from": "own.data:rows",
        "sha256": "ab" * 32,
    }
    assert record_parts.calibration_label(part, calibrated) == [
        "calibrated on own.data:rows, abababab"
    ]
    assert record_parts.calibration(part, PREPARED) is None
    assert line(None, process())["calibration"] is None


def test_the_worst_process_is_the_parity_of_the_cell() -> None:
    record = line(
        None,
        process(parity=parity(needed=0.2)),
        process(parity=parity(needed=0.9)),
        process(parity=parity(needed=0.1)),
    )
    assert record["parity"] == {**parity(needed=0.9), "artifact_sha256": "a1", "input_sha256": "i1"}


def test_a_cell_that_never_ran_has_every_key_and_no_number() -> None:
    refused = Reply(None, "unavailable", "prepare", "not installed")
    record, full = line(refused, prepared=None), line(None, process())
    of_sides = {"against", "then"}
    assert set(record) == set(full) == set(records.schema()["properties"]) - of_sides
    assert (record["outcome"], record["phase"], record["reason"], record["hint"]) == (
        "unavailable",
        "prepare",
        "not installed",
        "",
    )
    assert (
        record["samples_ns"],
        record["parity"],
        record["attested"],
        record["artifact_sha256"],
    ) == (
        {},
        None,
        None,
        "",
    )
    assert record["warnings"] == []


def test_the_hint_is_for_installable_packages_only() -> None:
    entry = Entry(cell("ort"), "bench.py::case", "evenbench run bench.py")
    lacking = Reply(
        None,
        "unavailable",
        "prepare",
        "onnxruntime has no CUDAExecutionProvider; name the backend ort@gpu",
    )
    assert outcome.line(entry, RUN, plan(), lacking, None, [])["hint"] == "", (
        "onnxruntime is installed: the extra would change nothing"
    )
    assert line(Reply(None, "failed", "load", "boom"))["hint"] == ""


def test_provenance_has_the_timed_artifact_and_inputs() -> None:
    record = line(None, process())
    assert (record["artifact_sha256"], record["input_sha256"]) == ("a1", "i1")
    assert record["artifact"] == {"bytes": 10, "facts": {"format": "npy"}}
    assert record["prepare"] == {"seconds": 2.0, "cached": True}
    assert record["inputs"] == {"names": ["cat"]}
    assert record["run"] == {
        **RUN,
        "plan": "quick",
        "processes": 1,
        "evenbench": record["run"]["evenbench"],
    }


def test_the_command_that_reproduces_a_cell_can_be_pasted() -> None:
    assert (
        line(None, process())["reproduce"]
        == "evenbench run bench.py --cell product-null-fp32-cpu-b1 --plan quick"
    )
    odd = Entry(cell("null", options=(("flag", "a b"),)), "", "evenbench run bench.py")
    assert (
        "--cell 'product-null-fp32-cpu-b1-flag=a b'"
        in outcome.line(odd, RUN, plan(), Reply(None), None, [])["reproduce"]
    )


def test_warnings_are_sentences_in_the_line() -> None:
    assert any("one process only" in warning for warning in line(None, process())["warnings"])


LOCK = {
    "name": "1.0",
    "python": "3.99.0",
    "requirements": ["r==1.0"],
    "packages": ["r==1.0"],
    "by": "uv",
    "sha256": "0" * 64,
}


def test_versions_come_from_the_worker_and_not_from_this_process() -> None:
    elsewhere = replace(PREPARED, environment=LOCK)
    environment = line(
        None,
        process(installation={"python": "3.99.0", "packages": {"r": "1.0"}}),
        prepared=elsewhere,
    )["environment"]
    assert (environment["python"], environment["packages"], environment["lock"]) == (
        "3.99.0",
        {"r": "1.0"},
        LOCK,
    )
    crashed = line(Reply(None, "failed", "load", "gone"), prepared=elsewhere)["environment"]
    assert (crashed["python"], crashed["packages"]) == ("3.99.0", {}), (
        "what is installed here says nothing of it"
    )
    assert line(None, process())["environment"]["lock"] is None


@pytest.mark.parametrize(
    ("backend", "hint"),
    [
        ("ort@1.24.1", "evenbench env build ort@1.24.1"),
        ("ort@nowhere", "`evenbench env` lists the named environments"),
        ("ort", "pip install 'evenbench[ort]'"),
    ],
)
def test_the_hint_of_an_unavailable_cell_fits_the_environment(
    backend: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.find("ort").__class__, "missing", lambda backend: ("onnxruntime",))
    entry = Entry(cell(backend), "bench.py::case", "evenbench run bench.py")
    record = outcome.line(
        entry, RUN, plan(), Reply(None, "unavailable", "prepare", "why"), None, []
    )
    assert record["hint"] == hint
