"""The page of a pipeline: rates and stages out of raw times, and nothing of an answer that is wrong."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

import harness
from reports import pipeline

SCHEMA = json.loads((Path(harness.__file__).parent / "pipeline.schema.json").read_text())
MS = 1_000_000


def passage(frames: int, wall_ms: float, dropped: Sequence[int] = (), steal: int = 0, **stages_ms: float) -> dict[str, Any]:
    block = dict.fromkeys(("laps", "wall_ns", "cpu_ns", "preemptions", "minor_faults", "major_faults", "steal_ticks", "machine_cpu_ns"), 0)
    wall = round(wall_ms * MS)
    return {
        "wall_ns": wall,
        "stages_ns": {name: [round(taken * MS)] * frames for name, taken in stages_ms.items()},
        "frames": frames,
        "dropped": list(dropped),
        "delays_ns": [50 * MS] * frames if dropped else [],
        "most_in_flight": 4,
        "block": {**block, "wall_ns": wall, "steal_ticks": steal},
    }


def process(each_ms: float, **more: Any) -> dict[str, Any]:
    stages = {"decode": 1.0, "preprocess": 2.0, "infer": each_ms - 5, "postprocess": 0.5, "draw": 1.5}
    return {
        "sequential": passage(10, 10 * each_ms, **stages, **more),
        "overlapped": passage(10, 5 * each_ms, **stages),
    }


def line(backend: str, passages: Sequence[Any], outcome: str = "ok", **more: Any) -> dict[str, Any]:
    cell = {"id": f"m-{backend}", "key": f"key-{backend}", "group": "g", "model": "m", "backend": backend, "precision": "fp32"}
    video = {"source": "photographs", "name": "video.mp4", "sha256": "a" * 64, "codec": "h264", "width_pixels": 640, "height_pixels": 360}
    right = outcome == "ok"
    verdict = {"verdict": "pass" if right else "fail", "reason": "", "golden": "float64", "needed": 0.02 if right else 9.0, "allowed": 1.0}
    made = {
        "schema": 1,
        "boundary": "pipeline",
        "run": {"started": "2026-01-01T00:00:00Z", "plan": "default", "processes": 3, "evenbench": "0.1.0"},
        "time": "2026-01-01T00:01:00Z",
        "cell": {**cell, "device": "cpu", "batch": 1, "threads": 2, "options": {}},
        "role": "runtime",
        "task": "segmentation",
        "video": {**video, "frames_per_second": 30.0, "frames": 10, "judged": [0, 5]},
        "recipe": "imagenet_224",
        "in_flight": 4,
        "target_per_second": None,
        "outcome": outcome,
        "phase": "",
        "reason": "" if right else "out needs 9 times the allowed tolerance",
        "traceback": "",
        "signal": "",
        "covers": "pipeline",
        "clock": "c" if right else "",
        "passages": list(passages),
        "warm_up": [],
        "phases_seconds": {},
        "memory": {"peak_rss_bytes": [1] if right else []},
        "gpu": [],
        "parity": verdict,
        "attested": {},
        "artifact_sha256": "",
        "input_sha256": "",
        "weights": {},
        "environment": {"cpu": "a CPU", "cores": 2, "os": "Linux", "python": "3.11", "packages": {"numpy": "2"}},
        "reproduce": "evenbench pipeline m",
    }
    return {**made, **more}


QUICK = line("quick", [process(10), process(10), process(10)])
SLOW = line("slow", [process(40), process(44), process(42)])
WRONG = line("wrong", [], "mismatch")
ALONE = line("alone", [{"inference": passage(20, 40, infer=2.0)}], covers="inference")


def test_the_lines_here_are_as_the_schema_says() -> None:
    for each in (QUICK, SLOW, WRONG, ALONE):
        jsonschema.validate(each, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(line("wrong", [process(1)], "mismatch"), SCHEMA)


def test_rates_are_frames_over_wall_time() -> None:
    one, many = pipeline.rate(QUICK, "sequential"), pipeline.rate(QUICK, "overlapped")
    assert one is not None
    assert many is not None
    assert (one.value, many.value) == (pytest.approx(100), pytest.approx(200))
    slow = pipeline.rate(SLOW, "sequential")
    assert slow is not None
    assert slow.low is not None
    assert slow.high is not None
    assert slow.low < slow.value < slow.high
    assert pipeline.rate(WRONG, "sequential") is None


def test_stages_are_those_of_frames_that_go_one_by_one() -> None:
    assert pipeline.stage_ns(QUICK, "infer") == pytest.approx(5 * MS)
    assert pipeline.stage_ns(QUICK, "postprocess") == pytest.approx(MS / 2)
    assert pipeline.stage_ns(ALONE, "infer") == pytest.approx(2 * MS)
    assert pipeline.stage_ns(ALONE, "draw") is None


def test_whole_pipelines_come_first_and_what_is_wrong_last() -> None:
    found = pipeline.rows([WRONG, ALONE, SLOW, QUICK])
    assert [row["name"] for row in found] == ["quick", "slow", "alone", "wrong"]
    assert found[0]["overlapped"][0] == "200"
    assert found[0]["gain"] == "2.00×"
    assert found[2]["alone"]
    assert found[2]["sequential"][0] == "500"
    assert (found[3]["sequential"], found[3]["bars"], found[3]["words"]) == (("–", ""), [], "")


def test_bars_are_in_one_scale() -> None:
    slow, quick = ({bar["stage"]: float(bar["percent"]) for bar in row["bars"]} for row in pipeline.rows([SLOW, QUICK])[::-1])
    assert sum(slow.values()) == pytest.approx(100, abs=0.1)
    assert sum(quick.values()) == pytest.approx(100 * 10 / 42, abs=1)


def test_dropped_frames_are_counted_over_processes() -> None:
    paced = [{**process(10), "paced": passage(8, 300, dropped=(3, 4), infer=1.0)} for _ in range(2)]
    found = line("late", paced, target_per_second=30.0)
    assert pipeline.dropped(found) == (4, 20)
    assert pipeline.rows([found])[0]["dropped"] == "4 of 20"
    assert pipeline.delay_ns(found) == pytest.approx(50 * MS)
    assert pipeline.dropped(QUICK) is None


def test_stolen_time_and_single_processes_are_told() -> None:
    disturbed = line("disturbed", [process(10, steal=5)])
    stolen, single = pipeline.notes([disturbed])
    assert "the hypervisor took 33 %" in stolen
    assert "One process each" in single
    assert pipeline.notes([QUICK, SLOW, WRONG]) == []


def test_frames_that_stall_are_told() -> None:
    stalled = process(10)
    stalled["sequential"]["wall_ns"] *= 3
    (said,) = pipeline.notes([line("stalled", [stalled] * 3)])
    assert "a frame took 3.0 times the middle one" in said


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    from PIL import Image

    for name in ("golden-0", "key-quick-0", "key-quick-0-difference", "key-wrong-0", "key-wrong-0-difference"):
        Image.new("RGB", (8, 8), (len(name), 0, 0)).save(tmp_path / f"{name}.jpg")
    return tmp_path


def shown(key: str, share: float) -> list[dict[str, Any]]:
    images = {"image": f"{key}-0.jpg", "difference": f"{key}-0-difference.jpg"}
    return [{"frame": 0, "changed_share": share, "largest_levels": 200 if share else 0, **images}]


def test_the_page_shows_frames_side_by_side(frames: Path) -> None:
    pictures = {"golden": [{"frame": 0, "image": "golden-0.jpg"}], "kind": "float64 <torch>", "gain": 8}
    pictures |= {"key-quick": shown("key-quick", 0.0), "key-wrong": shown("key-wrong", 0.25)}
    page = pipeline.render([QUICK, WRONG], pictures, frames)
    assert page.count("data:image/jpeg;base64,") == 4
    assert "no pixel differs" in page
    assert re.search(r"25\.0\s% of pixels differ, by up to 200 of 255", page)
    assert "float64 &lt;torch&gt;" in page, "text is escaped"
    wrong = page.split('<th scope="row">wrong', 1)[1].split("</tr>", 1)[0]
    assert "out needs 9 times" in wrong
    assert "bars" not in wrong
    assert "quick draws 200 frames per second" in page


def test_the_page_needs_no_pictures_and_no_right_answer(tmp_path: Path) -> None:
    page = pipeline.write([WRONG], None, tmp_path, tmp_path).read_text()
    assert "No whole pipeline has a number" in page
    assert 'id="frames"' not in page
    with pytest.raises(ValueError, match="no outcomes"):
        pipeline.render([], None, tmp_path)


def test_the_terminal_says_the_same() -> None:
    console = Console(file=io.StringIO(), width=200)
    pipeline.show([QUICK, ALONE, WRONG], console)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "200" in said
    assert "inference and fetching alone" in said
    assert "wrong: mismatch: out needs 9 times the allowed tolerance" in said
