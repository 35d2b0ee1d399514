"""`make gpu-check`: refuses without a GPU, lists what there is to run, and records what it saw
between its markers.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness.environment import gpu, system_info
from tests.gpu import check
from tests.gpu.pairs import Pair, pairs

ROOT = Path(__file__).resolve().parents[2]
HERE, ABSENT = (
    Pair("torch-eager", "cuda", "fp16"),
    Pair("tensorrt", "cuda", "fp32", "tensorrt is not installed"),
)

XML = """<testsuites><testsuite>
<testcase classname="tests.gpu.contract.Test_torch_eager__cuda__fp16" name="a"/>
<testcase classname="tests.gpu.contract.Test_torch_eager__cuda__fp16" name="b">
<skipped message="x"/></testcase>
<testcase classname="tests.gpu.contract.Test_other__cuda__fp32" name="a">
<failure message="x">no</failure></testcase>
<testcase classname="tests.gpu.contract.Test_other__cuda__fp32" name="b">
<error message="x">no</error></testcase>
</testsuite></testsuites>"""


def line(
    outcome: str = "ok", reason: str = "", pair: Pair = HERE, **changed: Any
) -> dict[str, Any]:
    cell = {
        "id": "m-b1",
        "backend": pair.backend,
        "device": pair.device,
        "precision": pair.precision,
    }
    reading = [{"slowed": ["power cap"]}, {"slowed": []}]
    made = {
        "cell": cell,
        "outcome": outcome,
        "reason": reason,
        "attested": {"precision": "fp16"},
        "parity": {"needed": 0.25},
        "samples_ns": {"compute": [[100, 100]], "device": [[80, 70]]},
        "gpu": [{"blocks": {"compute": reading}}],
    }
    return {**made, **changed}


@pytest.mark.skipif(gpu.absence() == "", reason="a GPU is here: make gpu-check runs for minutes")
def test_without_a_gpu_it_says_so_and_leaves_the_page_alone() -> None:
    before = check.PAGE.read_text()
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpu.check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == check.NO_GPU
    assert "run it on a machine that has one" in done.stderr
    assert done.stdout == ""
    assert check.PAGE.read_text() == before


def test_there_is_a_pair_for_every_gpu_precision_of_every_runtime() -> None:
    found = pairs()
    assert {pair.precision for pair in found if pair.backend == "tensorrt-rtx"} == {
        "fp32",
        "tf32",
        "fp16",
        "bf16",
        "int8-static",
    }
    assert not any(pair.device == "cpu" for pair in found)
    assert len({pair.test for pair in found}) == len(found), "two pairs would be one class of tests"


def test_the_contracts_report_is_counted_by_pair() -> None:
    assert check.contract_results(XML) == {
        HERE.test: Counter(passed=1, skipped=1),
        "Test_other__cuda__fp32": Counter(failed=2),
    }
    assert check.contract_results("<testsuites/>") == {}


GOOD = {HERE.test: Counter(passed=15)}


@pytest.mark.parametrize(
    ("contract", "lines", "words"),
    [
        (GOOD, [line()], None),
        (GOOD, [line(), line("unsupported", "no such layer")], None),
        ({HERE.test: Counter(passed=14, failed=1)}, [line()], "contract: 1 failed, 14 passed"),
        ({HERE.test: Counter(skipped=15)}, [line()], "contract: 0 failed, 0 passed"),
        ({}, [line()], "contract: 0 failed, 0 passed"),
        (GOOD, [line(), line("fallback", "ran fp32")], "m-b1 fallback: ran fp32"),
        (GOOD, [line("unavailable", "no provider")], "no cell of it is ok"),
        (GOOD, [], "no cell of it is ok"),
    ],
)
def test_what_was_not_run_did_not_pass(
    contract: dict[str, Counter[str]], lines: list[dict[str, Any]], words: str | None
) -> None:
    found = check.failures([HERE, ABSENT], contract, lines)
    if words is None:
        assert found == []
    else:
        (wrong,) = found
        assert words in wrong
        assert wrong.startswith("torch-eager on cuda at fp16: ")


def test_the_record_has_a_row_for_every_pair_with_what_it_was_run_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        gpu, "devices", lambda: [{"name": "First", "capability": "8.9", "driver": "580.1"}]
    )
    monkeypatch.setattr(system_info, "describe", lambda: {"python": "3.13.1", "cpu": "A CPU"})
    lines = [line(), line("unsupported", "no | such\nlayer")]
    head, _, columns, _, first, second = check.record([HERE, ABSENT], GOOD, lines).splitlines()
    assert "`make gpu-check`, on First (compute 8.9, driver 580.1), A CPU" in head
    assert " cores; Python 3.13.1, " in head
    assert f"torch {metadata.version('torch')}" in head
    assert columns.count("|") == first.count("|") == second.count("|")
    assert first == (
        "| torch-eager | cuda | fp16 | 15 passed | 1 ok, 1 unsupported (no / such layer) "
        "| fp16 | 0.25 | 75% | 1 of 2 |"
    )
    assert second.startswith("| tensorrt | cuda | fp32 | not run: tensorrt is not installed |")


def test_the_record_goes_between_the_markers_and_nowhere_else() -> None:
    page = check.PAGE.read_text()
    once = check.written(page, "one record\n")
    again = check.written(once, "another record\n")
    assert "one record" not in again
    assert f"{check.BEGIN}\nanother record\n{check.END}" in again
    assert check.written(again, "one record\n") == once
    before, _, after = page.partition(check.BEGIN)[0], None, page.partition(check.END)[2]
    assert again.startswith(before)
    assert again.endswith(after)
    for broken in (page.replace(check.BEGIN, ""), page.replace(check.END, ""), page + check.BEGIN):
        with pytest.raises(ValueError, match="once each, in this order"):
            check.written(broken, "x\n")
