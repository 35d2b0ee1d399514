"""Energy: asked of a process of its own, booked per cell, and no reason to lose a lap where it
cannot be told.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pynvml
import pytest

from evenbench.harness.environment import energy, gpu
from evenbench.harness.results import records

READER = """
import sys, json
print("{}", flush=True)
for line in sys.stdin:
    print(json.dumps({ANSWER} if line.strip() == "end" else {}), flush=True)
"""


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts a process of the test's own in the place of the one that reads counters:
    `reader(source)`.
    """

    def placed(source: str) -> None:
        (tmp_path / "reader.py").write_text(textwrap.dedent(source))
        start = energy.Meter._start
        monkeypatch.setattr(
            energy.Meter,
            "_start",
            lambda meter, command: start(meter, [sys.executable, str(tmp_path / "reader.py")]),
        )
        monkeypatch.setattr(energy, "lacks", lambda rapl: "")

    return placed


def schema(name: str) -> Any:
    whole = records.schema()
    return {**whole["properties"][name], "$defs": whole["$defs"]}


def test_what_was_counted_around_the_laps_is_told_with_their_number(reader: Any) -> None:
    reader(
        READER.replace("{ANSWER}", '{"joules": {"package-0": 2.5, "dram": 0.5}, "by": "a fake"}')
    )
    meter = energy.Meter()
    with meter:
        pass
    facts = meter.facts(40)
    assert facts | {"seconds": 0.0} == {
        "reason": "",
        "joules": {"package-0": 2.5, "dram": 0.5},
        "laps": 40,
        "by": "a fake",
        "seconds": 0.0,
    }
    assert facts["seconds"] > 0
    line = energy.combined([{"energy": facts}, {"energy": facts}])
    assert line is not None
    assert [each["joules"]["dram"] for each in line["processes"]] == [0.5, 0.5]
    jsonschema.validate(line, schema("energy"))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise SystemExit(1)", "did not reply"),
        ("print('not json', flush=True)", "did not reply"),
        ('print(\'{"reason": "only root may read them"}\', flush=True)', "only root may read them"),
        ("import time; print('{}', flush=True)", "did not reply"),
        (
            READER.replace("{ANSWER}", '{"joules": {"package-0": 0.0}, "by": "a fake"}'),
            "did not move",
        ),
    ],
)
def test_a_reader_that_fails_costs_nothing_but_the_energy(
    reader: Any, source: str, words: str
) -> None:
    reader(source)
    meter = energy.Meter()
    with meter:
        pass
    facts = meter.facts(40)
    assert words in facts["reason"]
    line = energy.combined([{"energy": facts}])
    assert line == {"reason": facts["reason"], "processes": []}
    jsonschema.validate(line, schema("energy"))


def test_a_reader_that_dies_before_it_is_asked_is_no_error(reader: Any) -> None:
    reader("print('{}', flush=True)")
    meter = energy.Meter()
    assert meter._process
    meter._process.wait()
    with meter:
        pass
    assert "did not reply" in meter.facts(1)["reason"]


def test_an_error_in_the_laps_goes_through_and_ends_the_reader(reader: Any) -> None:
    reader(READER.replace("{ANSWER}", "{}"))
    meter = energy.Meter()
    process = meter._process
    assert process
    with pytest.raises(RuntimeError, match="a lap failed"), meter:
        raise RuntimeError("a lap failed")
    assert process.returncode is not None


def test_a_machine_without_counters_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no RAPL counters" in energy.lacks(tmp_path / "nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "evenbench[energy]" in energy.lacks(tmp_path)
    meter = energy.Meter(rapl=tmp_path / "nowhere")
    with meter:
        pass
    assert meter.facts(3)["joules"] == {}
    assert energy.combined([{"peak_rss_bytes": 1}]) is None, "recorded before anybody asked"


def test_a_device_is_counted_by_its_driver_and_the_processor_stays_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    millijoules = [1_000, 4_500]
    driver = ModuleType("pynvml")
    driver.NVMLError = pynvml.NVMLError  # type: ignore[attr-defined]
    driver.nvmlInit = driver.nvmlShutdown = lambda: None  # type: ignore[attr-defined]
    driver.nvmlDeviceGetTotalEnergyConsumption = lambda handle: millijoules.pop(0)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(gpu, "_handles", lambda nvml: ["a device"])
    meter = energy.Meter("cuda:0", tmp_path / "nowhere")
    with meter:
        pass
    facts = meter.facts(7)
    assert (facts["joules"], facts["by"]) == ({"cuda:0": 3.5}, "NVML")
    assert "no RAPL counters" in facts["reason"]
    del driver.nvmlDeviceGetTotalEnergyConsumption
    assert gpu.total_joules("cuda:0") is None, "bindings that cannot ask"
    assert gpu.total_joules("cuda:1") is None
    assert gpu.total_joules("cpu") is None
