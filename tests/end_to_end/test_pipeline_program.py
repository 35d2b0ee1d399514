"""`evenbench pipeline` with programs that get their frames decoded: every later stage by their own
clock, and judged like any other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import directed
import jsonschema
import numpy as np
import pytest
from conftest import variables

from evenbench import harness
from evenbench.backends.cpp import toolchain
from evenbench.harness.pipeline import video

for package in ("av", "skimage", "sklearn"):
    pytest.importorskip(package)
SCHEMA = json.loads(
    (Path(harness.__file__).parent / "results" / "pipeline.schema.json").read_text()
)
LATER = ("preprocess", "infer", "postprocess", "draw")
HELD = ("after_decoding_overlapped", "after_decoding_paced")


def run(folder: Path, *words: str, cwd: Path, **more: str) -> tuple[int, str]:
    """The command in a process of its own; its exit code and what it said."""
    command = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "pipeline",
        *words,
        "-o",
        str(folder / "out"),
    ]
    environment = variables(folder) | {"EVENBENCH_BACKENDS": directed.BACKENDS} | more
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=170, check=False
    )
    return done.returncode, done.stderr


def lines(folder: Path) -> dict[str, dict[str, Any]]:
    found = [
        json.loads(line) for line in (folder / "out" / "pipeline.jsonl").read_text().splitlines()
    ]
    for line in found:
        jsonschema.validate(line, SCHEMA)
    return {line["cell"]["backend"]: line for line in found}


def test_a_program_that_passes_frames_is_judged_and_compared_after_decoding(tmp_path: Path) -> None:
    (tmp_path / "bench_pictures.py").write_text("from filmed import pictures\n")
    colours = [(13 * number % 256, 255 - 12 * number, 40 * (number % 6)) for number in range(18)]
    video.encode(
        [np.full((48, 64, 3), colour, np.uint8) for colour in colours], tmp_path / "colours.mp4"
    )
    target = ("bench_pictures.py::pictures", "--video", "colours.mp4", "--plan", "quick")
    named = "painter,directed,plodding,smudged,balking"
    code, said = run(
        tmp_path,
        *target,
        "--backends",
        named,
        "--in-flight",
        "3",
        "--target-fps",
        "500",
        cwd=tmp_path,
    )
    found = lines(tmp_path)
    outcomes = {
        "painter": "ok",
        "directed": "ok",
        "plodding": "ok",
        "smudged": "failed",
        "balking": "ok",
    }
    assert {name: line["outcome"] for name, line in found.items()} == outcomes, said
    assert code == 1
    assert "differs from the golden's input" in found["smudged"]["reason"]
    assert (found["balking"]["covers"], found["balking"]["alone_because"]) == (
        "inference",
        "nobody draws on a Sunday",
    )
    line = found["directed"]
    assert (line["covers"], line["clock"]) == ("after_decoding", "the program's own")
    (process,) = line["passages"]
    assert set(process) == {"after_decoding", *HELD}
    passage = process["after_decoding"]
    assert {name: len(taken) for name, taken in passage["stages_ns"].items()} == dict.fromkeys(
        LATER, 18
    )
    assert passage["wall_ns"] == sum(map(sum, passage["stages_ns"].values()))
    (whole,) = found["painter"]["passages"]
    assert set(whole) == {"sequential", "overlapped", "paced", *HELD}, (
        "runtimes in Python are measured alike"
    )
    for held in (process, whole):
        in_flight, paced = (held[way] for way in HELD)
        assert {
            name: len(taken) for name, taken in in_flight["stages_ns"].items()
        } == dict.fromkeys(LATER, 18), "and no decoding"
        assert (in_flight["frames"], in_flight["dropped"], in_flight["delays_ns"]) == (18, [], [])
        assert 1 <= in_flight["most_in_flight"] <= 3
        assert paced["frames"] + len(paced["dropped"]) == 18
        assert len(paced["delays_ns"]) == paced["frames"]
    assert {name: line.get("not_held_because") for name, line in found.items()} == {
        **dict.fromkeys(outcomes, ""),
        "plodding": "it passes frames one at a time",
    }
    assert list(found["plodding"]["passages"][0]) == ["after_decoding"]
    pictures = json.loads((tmp_path / "out" / "pictures.json").read_text())
    bare, full = (pictures[found[name]["cell"]["key"]] for name in ("directed", "painter"))
    assert [(each["letters"], each["changed_share"]) for each in bare] == [(False, 0)] * 6, (
        "compared with the golden's without letters"
    )
    assert [(each["letters"], each["changed_share"]) for each in full] == [(True, 0)] * 6
    page = (tmp_path / "out" / "index.html").read_text()
    row = page.split('<th scope="row">directed', 1)[1].split("</tr>", 1)[0]
    assert "processes decoded frames in its own loop" in row
    note = "plodding: no frames in flight after decoding: it passes frames one at a time."
    assert note in page
    assert "both without letters" in page
    assert "nobody draws on a Sunday" in page
    assert page.index('<th scope="row">painter') < page.index('<th scope="row">directed'), (
        "not ranked against whole pipelines"
    )


@pytest.mark.slow
def test_cpp_passes_the_packaged_video(tmp_path: Path) -> None:
    """LRASPP at 128 x 128 in C++ and in Python on one library: the same pixels in, the same
    answers, the same frames drawn.
    """

    for package in ("torch", "onnxruntime"):
        pytest.importorskip(package)
    if toolchain.lacks():
        pytest.skip(toolchain.lacks())
    root = Path(harness.__file__).parents[2]
    own = {
        "EVENBENCH_BACKENDS": "",
        **{name: os.environ[name] for name in ("EVENBENCH_CACHE",) if name in os.environ},
    }
    words = (
        "lraspp_mobilenet_v3_large",
        "--declared",
        "benchmarks/segmentation.py",
        "--backends",
        "ort,cpp-ort,cpp-openvino",
    )
    code, said = run(
        tmp_path,
        *words,
        "--plan",
        "quick",
        "--frames",
        "12",
        "--in-flight",
        "3",
        "--target-fps",
        "60",
        cwd=root,
        **own,
    )
    found = lines(tmp_path)
    assert {name: line["outcome"] for name, line in found.items()} == dict.fromkeys(
        ("ort", "cpp-ort", "cpp-openvino"), "ok"
    ), said
    assert code == 0
    assert len({line["input_sha256"] for line in found.values()}) == 1
    for name in ("cpp-ort", "cpp-openvino"):
        line = found[name]
        assert (line["covers"], line["clock"]) == ("after_decoding", "std::chrono::steady_clock")
        taken = line["passages"][0]["after_decoding"]["stages_ns"]
        assert {stage: len(times) for stage, times in taken.items()} == dict.fromkeys(LATER, 12)
        assert min(map(min, taken.values())) > 0
        assert line["parity"]["agreement"]["pixel_agreement"] > 0.99
    for name, line in found.items():
        in_flight, paced = (line["passages"][0][way] for way in HELD)
        assert {
            stage: len(times) for stage, times in in_flight["stages_ns"].items()
        } == dict.fromkeys(LATER, 12), name
        assert (in_flight["frames"], in_flight["dropped"]) == (12, [])
        assert 2 <= in_flight["most_in_flight"] <= 3, (
            "the next frame is preprocessed while one is inferred"
        )
        assert paced["frames"] + len(paced["dropped"]) == 12
        assert min(paced["delays_ns"]) > 0
    pictures = json.loads((tmp_path / "out" / "pictures.json").read_text())
    keys = {name: line["cell"]["key"] for name, line in found.items()}
    for place in range(6):
        shares = {name: pictures[key][place]["changed_share"] for name, key in keys.items()}
        assert shares["cpp-ort"] == pytest.approx(shares["ort"], abs=0.005), (
            "the same library's answer, drawn alike"
        )
        assert max(shares.values()) < 0.02
