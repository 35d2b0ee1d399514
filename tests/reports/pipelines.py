"""Lines of a pipeline that nobody measured, for the tests of its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MS = 1_000_000


def passage(
    frames: int, wall_ms: float, dropped: Sequence[int] = (), steal: int = 0, **stages_ms: float
) -> dict[str, Any]:
    block = dict.fromkeys(
        (
            "laps",
            "wall_ns",
            "cpu_ns",
            "preemptions",
            "minor_faults",
            "major_faults",
            "steal_ticks",
            "machine_cpu_ns",
        ),
        0,
    )
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
    stages = {
        "decode": 1.0,
        "preprocess": 2.0,
        "infer": each_ms - 5,
        "postprocess": 0.5,
        "draw": 1.5,
    }
    return {
        "sequential": passage(10, 10 * each_ms, **stages, **more),
        "overlapped": passage(10, 5 * each_ms, **stages),
    }


def line(backend: str, passages: Sequence[Any], outcome: str = "ok", **more: Any) -> dict[str, Any]:
    cell = {
        "id": f"m-{backend}",
        "key": f"key-{backend}",
        "group": "g",
        "model": "m",
        "backend": backend,
        "precision": "fp32",
    }
    video = {
        "source": "photographs",
        "name": "video.mp4",
        "sha256": "a" * 64,
        "codec": "h264",
        "width_pixels": 640,
        "height_pixels": 360,
    }
    right = outcome == "ok"
    verdict = {
        "verdict": "pass" if right else "fail",
        "reason": "",
        "golden": "float64",
        "needed": 0.02 if right else 9.0,
        "allowed": 1.0,
    }
    made = {
        "schema": 1,
        "boundary": "pipeline",
        "run": {
            "started": "2026-01-01T00:00:00Z",
            "plan": "default",
            "processes": 3,
            "evenbench": "0.1.0",
        },
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
        "environment": {
            "cpu": "a CPU",
            "cores": 2,
            "os": "Linux",
            "python": "3.11",
            "packages": {"numpy": "2"},
        },
        "reproduce": "evenbench pipeline m",
    }
    return {**made, **more}


QUICK = line("quick", [process(10), process(10), process(10)])
SLOW = line("slow", [process(40), process(44), process(42)])
WRONG = line("wrong", [], "mismatch")
LATER = {"preprocess": 1.0, "infer": 3.0, "postprocess": 0.5, "draw": 0.5}
DIRECTED = {
    "after_decoding": passage(10, 50, **LATER),
    "after_decoding_overlapped": passage(10, 25, **LATER),
}
PROGRAM = line(
    "program", [DIRECTED for _ in range(3)], covers="after_decoding", not_held_because=""
)
ALONE = line(
    "alone",
    [{"inference": passage(20, 40, infer=2.0)}],
    covers="inference",
    alone_because="it has no recipe",
)


def shown(key: str, share: float) -> list[dict[str, Any]]:
    images = {"image": f"{key}-0.jpg", "difference": f"{key}-0-difference.jpg"}
    return [{"frame": 0, "changed_share": share, "largest_levels": 200 if share else 0, **images}]
