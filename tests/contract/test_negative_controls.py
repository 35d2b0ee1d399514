"""Runtimes made wrong on purpose come out as mismatch or fallback, on real models and photos."""

from pathlib import Path

import pytest

from benchmarks.models import DIGITS_CNN, MOBILENET_V3_SMALL, RESNET18
from evenbench.harness.cli import main
from evenbench.harness.commands import selftest
from evenbench.harness.environment import system_info


@pytest.mark.nightly
@pytest.mark.slow
def test_every_wrong_answer_is_caught(tmp_path: Path) -> None:
    found = selftest.run_controls([MOBILENET_V3_SMALL, RESNET18], tmp_path)
    missed = [
        each
        for each in found
        if each.verdict != "caught" and "without bf16 instructions" not in each.reason
    ]
    assert {each.backend for each in found} == set(selftest.names())
    assert not missed, [(each.model, each.backend, each.reason) for each in missed]


@pytest.mark.slow
@pytest.mark.skipif(
    "avx512_bf16" not in system_info.describe()["cpu_flags"],
    reason="needs a CPU whose OpenVINO default is bf16",
)
def test_a_silent_bf16_is_a_fallback(tmp_path: Path) -> None:
    (found,) = selftest.run_controls([RESNET18], tmp_path, controls=["negative-bf16"])
    assert found.record["outcome"] == "fallback"
    assert "asked for precision fp32, ran bf16" in found.reason


@pytest.mark.slow
def test_a_control_that_makes_no_sense_says_so(tmp_path: Path) -> None:
    (found,) = selftest.run_controls([DIGITS_CNN], tmp_path, controls=["negative-channels"])
    assert found.verdict == "does not apply"
    assert "three colour channels" in found.reason


@pytest.mark.slow
def test_the_command_tells_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["controls", "-k", "digits_cnn"]) == 0
    told = capsys.readouterr().out
    assert "10 of 10 wrong runtimes caught" in told


def test_a_right_answer_counts_as_slipped_through() -> None:
    record = {"cell": {"model": "m", "backend": "negative-weight"}, "outcome": "ok", "reason": ""}
    assert selftest.control(record).verdict == selftest.SLIPPED
