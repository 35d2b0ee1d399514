"""`evenbench cost` as a user meets it: what recorded lines say of shipping, starting
and running, and what a million costs.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import cli
from evenbench.harness.commands import cost
from evenbench.harness.core.errors import UsageError
from evenbench.harness.deployment.installed_size import Installed
from evenbench.reports import result_groups
from evenbench.reports.sections.resources import Needs
from tests.reports.synthetic import record

PHASES = {"prepare": [2.0], "load": [0.5, 0.1], "compile": [0.0, 0.0], "first_step": [0.02, 0.02]}


def line(
    backend: str = "ort", precision: str = "fp32", batch: int = 1, **changed: Any
) -> dict[str, Any]:
    """A recorded cell with everything that a footprint asks for: 10 ms host to host per lap."""
    made = record("resnet18", backend, precision, batch=batch, process_ns=(1e7, 1e7))
    made["samples_ns"]["host_to_host"] = [[10_000_000] * 20] * 2
    made["phases_seconds"] |= PHASES
    made["import_seconds"], made["prepare"] = [0.2, 0.2], {"seconds": 2.0, "cached": True}
    made["memory"], made["weights"]["parameters"] = {"peak_rss_bytes": [100, 200]}, 11_689_512
    made["limit"] = {"flops": 8_000 * batch}
    here = {"onnxruntime": metadata.version("onnxruntime"), "openvino": "0.0.1"}
    made["environment"]["packages"] = here
    return made | changed


@pytest.fixture
def recorded(tmp_path: Path) -> str:
    lines = [
        line(),
        line(precision="fp16", artifact={"bytes": 23_000_000, "facts": {}}),
        line("openvino"),
        line("ort", batch=8),
    ]
    absent = record(
        "resnet18", "tvm", outcome="unavailable", reason="tvm is not installed", process_ns=()
    )
    lines += [line("somebodys"), absent, record("resnet18", "null")]
    (tmp_path / "run.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in lines))
    return str(tmp_path)


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert cli.main(["cost", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_model_is_told_cell_by_cell(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = asked(capsys, recorded, "--model", "resnet18", "--price-per-hour", "0.36")
    cells = {each["id"]: each for each in found["cells"]}
    assert set(cells) == {
        f"resnet18-{name}-cpu-b1"
        for name in ("ort-fp32", "ort-fp16", "openvino-fp32", "somebodys-fp32")
    }
    ort = cells["resnet18-ort-fp32-cpu-b1"]
    assert (ort["parameters"], ort["flops"], ort["artifact_bytes"], ort["peak_bytes"]) == (
        11_689_512,
        8_000,
        46_800_000,
        200,
    )
    assert cells["resnet18-ort-fp16-cpu-b1"]["artifact_bytes"] == 23_000_000, (
        "the size of each precision"
    )
    assert (ort["import_seconds"], ort["load_seconds"], ort["first_step_seconds"]) == (
        0.2,
        0.3,
        0.02,
    ), "the middle of the processes"
    assert ort["first_answer_seconds"] == pytest.approx(0.52)
    assert ort["first_answer_unprepared_seconds"] == pytest.approx(2.52)
    assert ort["cost_per_million"] == pytest.approx(1.0), "10 ms each: 10,000 s, at 0.36 an hour"
    assert ort["installed_bytes"] > 10_000_000
    assert [each["id"] for each in found["not_measured"]] == ["resnet18-tvm-fp32-cpu-b1"], (
        "and no control"
    )


def test_what_was_not_recorded_is_said_and_not_made_up(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = asked(capsys, recorded, "--model", "resnet18")
    cells = {each["backend"]: each for each in found["cells"]}
    assert cells["openvino"]["installed_bytes"] is None
    assert "measured with openvino 0.0.1" in cells["openvino"]["installed_reason"]
    assert "no backend 'somebodys'" in cells["somebodys"]["installed_reason"]
    assert {each["cost_per_million"] for each in found["cells"]} == {None}
    notes = " ".join(found["notes"])
    assert (
        "steady memory not told: recorded by an evenbench that did not ask for it (every cell)"
        in notes
    )
    assert "energy not told" in notes
    assert "batch 8 is recorded as well" in notes


def test_a_batch_is_as_many_inferences_as_it_has_samples(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (each,) = asked(
        capsys, recorded, "--model", "resnet18", "--batch", "8", "--price-per-hour", "0.36"
    )["cells"]
    assert each["cost_per_million"] == pytest.approx(1 / 8)
    assert each["flops"] == 8_000
    assert each["latency_ns"]["value"] == pytest.approx(1e7), "of a lap, as everywhere"


def test_the_terminal_shows_the_same(recorded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", recorded, "--model", "resnet18", "--price-per-hour", "0.36"]) == 0
    told = capsys.readouterr().out.replace("\N{NO-BREAK SPACE}", " ")
    tables = ("to ship", "to start", "prepare + first answer", "cost of a million")
    for words in (
        "11,689,512 parameters",
        "8.00 kFLOP per inference",
        *tables,
        "tvm is not installed",
    ):
        assert words in told


@pytest.mark.parametrize("given", ["0", "-0.2", "nan", "inf", "cheap", "1e400"])
def test_a_price_that_is_none_is_refused_in_words(
    recorded: str, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    assert cli.main(["cost", recorded, "--model", "resnet18", f"--price-per-hour={given}"]) == 4
    assert "is no price; expected a number over 0" in capsys.readouterr().err


def test_flags_of_recorded_cells_need_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["footprint", "ort", "--price-per-hour", "1"]) == 4
    assert "use it in `evenbench cost`, with a model" in capsys.readouterr().err


def test_what_is_not_there_or_was_edited_is_told(
    recorded: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["cost", recorded, "--model", "nobody"]) == 4
    assert "recorded are resnet18" in capsys.readouterr().err
    (Path(recorded) / "edited.jsonl").write_text(
        json.dumps(record("edited", "ort") | {"memory": 5})
    )
    assert cli.main(["cost", recorded, "--model", "edited"]) == 4
    assert "malformed result line" in capsys.readouterr().err


def test_energy_and_tuning_are_told_where_they_were_recorded() -> None:
    facts = {"tuning": {"trials": 64, "seconds": 90.0, "curve_us": []}}
    energy = {
        "reason": "",
        "processes": [
            {"seconds": 1.0, "laps": 40, "joules": {"package-0": 3.0, "dram": 1.0}, "by": "fake"}
        ]
        * 2,
    }
    (result,) = result_groups.results(
        [
            line(
                batch=2,
                energy=energy,
                steady_rss_bytes=[90, 80],
                artifact={"bytes": 1, "facts": facts},
            )
        ]
    )
    found = Needs(result)
    assert found.joules == pytest.approx(8.0 / 80 / 2)
    assert (found.steady_bytes, found.tuning_seconds) == (90, 90.0)
    (told,) = cost.with_installed([found], lambda backend: Installed(reason="not here"))
    assert cost.notes([told], None) == [
        "installed size not told: not here (resnet18-ort-fp32-cpu-b2)"
    ]


def test_prices_are_numbers_over_0() -> None:
    assert cost.price("0.20") == 0.2
    with pytest.raises(UsageError, match="any currency"):
        cost.price("0")
