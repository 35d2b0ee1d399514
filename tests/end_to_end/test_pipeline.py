"""`evenbench pipeline`, end to end: a video through backends that are right, wrong, slow or absent,
and what is no video.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filmed
import jsonschema
import numpy as np
import pytest
from conftest import variables

from evenbench import harness
from evenbench.harness.pipeline import video

for package in ("av", "skimage", "sklearn"):
    pytest.importorskip(package)
SCHEMA = json.loads(
    (Path(harness.__file__).parent / "results" / "pipeline.schema.json").read_text()
)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


def run(folder: Path, *words: str, cwd: Path | None = None, **more: str) -> Ran:
    """The command in a process of its own, with the numpy backends."""
    command = [sys.executable, "-m", "evenbench", "pipeline", *words]
    environment = variables(folder) | {"EVENBENCH_BACKENDS": filmed.BACKENDS} | more
    done = subprocess.run(
        command,
        cwd=cwd or folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a declaration and a video of eighteen colours."""
    made = tmp_path_factory.mktemp("film")
    (made / "bench_pictures.py").write_text("from filmed import by_numpy, numbers, pictures\n")
    colours = [(13 * number % 256, 255 - 12 * number, 40 * (number % 6)) for number in range(18)]
    video.encode(
        [np.full((48, 64, 3), colour, np.uint8) for colour in colours], made / "colours.mp4"
    )
    return made


TARGET = ("bench_pictures.py::pictures", "--video", "colours.mp4", "--plan", "quick")


@pytest.fixture(scope="module")
def ran(folder: Path) -> Ran:
    return run(
        folder,
        *TARGET,
        "--backends",
        "painter,liar,absent,sleeper,looped",
        "--target-fps",
        "200",
        "-o",
        "out",
        "--json",
    )


def lines(folder: Path, name: str = "out") -> dict[str, dict[str, Any]]:
    found = [
        json.loads(line) for line in (folder / name / "pipeline.jsonl").read_text().splitlines()
    ]
    return {line["cell"]["backend"]: line for line in found}


def test_every_backend_gets_its_one_outcome(ran: Ran, folder: Path) -> None:
    found = {name: line["outcome"] for name, line in lines(folder).items()}
    assert found == {
        "painter": "ok",
        "liar": "mismatch",
        "absent": "unavailable",
        "sleeper": "ok",
        "looped": "ok",
    }, ran.err
    assert ran.code == 1, "one of them is wrong"
    assert [line["cell"]["backend"] for line in json.loads(ran.out)["outcomes"]] == [
        "painter",
        "liar",
        "absent",
        "sleeper",
        "looped",
    ]


@pytest.mark.usefixtures("ran")
def test_lines_are_as_the_schema_says(folder: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for line in lines(folder).values():
        jsonschema.validate(line, SCHEMA)


@pytest.mark.usefixtures("ran")
def test_every_stage_of_every_frame_is_timed(folder: Path) -> None:
    (process,) = lines(folder)["painter"]["passages"]
    for way in ("sequential", "overlapped"):
        passage = process[way]
        assert passage["frames"] == 18
        assert {name: len(taken) for name, taken in passage["stages_ns"].items()} == dict.fromkeys(
            ("decode", "preprocess", "infer", "postprocess", "draw"), 18
        )
        assert min(min(taken) for taken in passage["stages_ns"].values()) >= 0
    whole = sum(sum(taken) for taken in process["sequential"]["stages_ns"].values())
    assert 0.5 < whole / process["sequential"]["wall_ns"] <= 1, (
        "one after another, the stages are the time"
    )
    assert process["overlapped"]["most_in_flight"] <= 4


@pytest.mark.usefixtures("ran")
def test_a_wrong_answer_has_no_times(folder: Path) -> None:
    line = lines(folder)["liar"]
    assert (line["passages"], line["phases_seconds"], line["memory"]["peak_rss_bytes"]) == (
        [],
        {},
        [],
    )
    assert line["parity"]["verdict"] == "fail"
    assert line["parity"]["needed"] > 1


@pytest.mark.usefixtures("ran")
def test_what_is_slower_than_the_camera_drops_frames(folder: Path) -> None:
    (process,) = lines(folder)["sleeper"]["passages"]
    paced = process["paced"]
    assert paced["dropped"]
    assert len(paced["dropped"]) + paced["frames"] == 18
    assert len(paced["delays_ns"]) == paced["frames"]
    assert min(paced["delays_ns"]) > 0
    assert not process["overlapped"]["dropped"], "a file waits"


@pytest.mark.usefixtures("ran")
def test_a_program_that_loops_by_itself_is_labelled(folder: Path) -> None:
    line = lines(folder)["looped"]
    assert line["covers"] == "inference"
    assert list(line["passages"][0]) == ["inference"]
    assert set(line["passages"][0]["inference"]["stages_ns"]) == {"infer"}


@pytest.mark.usefixtures("ran")
def test_the_frames_of_all_are_drawn_and_compared(folder: Path) -> None:
    from PIL import Image

    found = lines(folder)
    pictures = json.loads((folder / "out" / "pictures.json").read_text())
    keys = {name: line["cell"]["key"] for name, line in found.items()}
    assert set(pictures) == {
        "golden",
        "kind",
        "gain",
        *(keys[name] for name in ("painter", "liar", "sleeper", "looped")),
    }
    assert (
        [each["frame"] for each in pictures["golden"]]
        == found["painter"]["video"]["judged"]
        == [0, 3, 6, 9, 12, 15]
    )
    for name in ("painter", "sleeper", "looped"):
        assert max(each["changed_share"] for each in pictures[keys[name]]) == 0
    assert max(each["changed_share"] for each in pictures[keys["liar"]]) > 0.01
    for each in (*pictures["golden"], *pictures[keys["liar"]]):
        with Image.open(folder / "out" / "frames" / each["image"]) as opened:
            assert opened.size == (64, 48)


@pytest.mark.usefixtures("ran")
def test_the_page_shows_numbers_of_the_right_ones_alone(folder: Path) -> None:
    page = (folder / "out" / "index.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    row = {
        name: page.split(f'<th scope="row">{name}', 1)[1].split("</tr>", 1)[0]
        for name in ("painter", "liar", "looped")
    }
    assert 'class="infer"' in row["painter"]
    assert 'class="infer"' not in row["liar"]
    assert "mismatch" in row["liar"]
    assert "inference and fetching alone" in row["looped"]
    pictures = json.loads((folder / "out" / "pictures.json").read_text())
    changed = sum(
        each["changed_share"] > 0 for each in pictures[lines(folder)["liar"]["cell"]["key"]]
    )
    assert page.count("data:image/jpeg") == 6 * (1 + 4) + changed, (
        "and a difference where there is one"
    )


def test_threads_and_device_are_those_that_were_asked(folder: Path) -> None:
    """No such device is an outcome, as of any cell, and its line is kept."""
    ended = run(
        folder,
        *TARGET,
        "--backends",
        "painter",
        "--threads",
        "1",
        "--device",
        "cuda:7",
        "-o",
        "elsewhere",
    )
    line = lines(folder, "elsewhere")["painter"]
    assert ended.code == 0, ended.err
    assert (line["cell"]["device"], line["cell"]["threads"]) == ("cuda:7", 1)
    assert (line["outcome"], line["passages"], line["covers"]) == ("unsupported", [], "")
    assert "No whole pipeline has a number" in (folder / "elsewhere" / "index.html").read_text()
    assert "--threads 1" in line["reproduce"]


@pytest.mark.usefixtures("ran")
def test_another_library_may_do_the_recipe(folder: Path) -> None:
    """Within a level or two of Pillow: other inputs, and about the same times of all stages but
    one.
    """
    words = (
        "pictures+numpy",
        "--declared",
        "bench_pictures.py",
        "--video",
        "colours.mp4",
        "--plan",
        "quick",
    )
    ended = run(folder, *words, "-o", "numpy")
    assert ended.code == 0, ended.err
    line, other = lines(folder, "numpy")["painter"], lines(folder)["painter"]
    assert (line["outcome"], line["recipe"]) == ("ok", "pixels_8+numpy")
    assert line["cell"]["key"] != other["cell"]["key"]
    assert "--frames" in line["reproduce"]


def test_a_second_run_never_overwrites(ran: Ran, folder: Path) -> None:
    before = (folder / "out" / "pipeline.jsonl").read_bytes()
    again = run(folder, *TARGET, "-o", "out")
    assert again.code == 4
    assert "already exists; choose another" in again.err
    assert (folder / "out" / "pipeline.jsonl").read_bytes() == before


def damaged(folder: Path) -> None:
    (folder / "bad.mp4").write_bytes((folder / "colours.mp4").read_bytes()[:900])


def empty(folder: Path) -> None:
    video.encode([], folder / "bad.mp4")


@pytest.mark.parametrize("spoil", [damaged, empty])
def test_what_is_no_video_ends_with_4(spoil: Any, folder: Path) -> None:
    spoil(folder)
    ended = run(folder, "bench_pictures.py::pictures", "--video", "bad.mp4", "-o", "never")
    assert ended.code == 4, ended.err
    assert "bad.mp4" in ended.err
    assert "Traceback" not in ended.err
    assert not (folder / "never").exists(), "nothing is left behind"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--video", "nowhere.mp4"], "nowhere.mp4: no such file"),
        (["--video", "97"], "there is no camera /dev/video97"),
        (["--frames", "0"], "--frames 0: expected one or more"),
        (["--in-flight", "0"], "--in-flight 0: expected one or more"),
        (["--target-fps", "-1"], "--target-fps -1: expected a rate"),
        (["--target-fps", "nan"], "--target-fps nan: expected a rate"),
        (["--threads", "-1"], "--threads -1: expected 1 to"),
        (["--threads", "9999"], "--threads 9999: expected 1 to"),
        (["--backends", "nobody"], "nobody"),
        (["--backends", "null"], "null is a control"),
        (["--backends", "ort@1.24.1"], "lives in an environment"),
        (["--recipe", "imagenet_224"], "for a model of your own"),
        (["--precision", "bf16"], "declared with no runtime at bf16"),
    ],
)
def test_what_cannot_be_ends_with_4_and_says_what_to_do(
    words: list[str], said: str, folder: Path
) -> None:
    ended = run(folder, "bench_pictures.py::pictures", *words, "-o", "never")
    assert ended.code == 4, ended.err
    assert said in ended.err
    assert ended.err.count("\n") == 1, "one line"
    assert not (folder / "never").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["nobody", "--declared", "bench_pictures.py"],
            "declares no model 'nobody'; models are numbers, pictures, pictures+numpy",
        ),
        (
            ["bench_pictures.py"],
            "declares numbers, pictures, pictures+numpy; name one of them, with --declared "
            "bench_pictures.py",
        ),
        (["numbers", "--declared", "bench_pictures.py"], "model numbers has no recipe"),
    ],
)
def test_a_model_that_is_not_one_ends_with_4(words: list[str], said: str, folder: Path) -> None:
    ended = run(folder, *words, "-o", "never")
    assert ended.code == 4, ended.err
    assert said in ended.err


@pytest.mark.slow
def test_three_runtimes_segment_the_packaged_video(tmp_path: Path) -> None:
    """LRASPP at 128 x 128 on photographs that pan and zoom: PyTorch, ONNX Runtime and OpenVINO,
    drawn and right.
    """
    for package in ("torch", "onnxruntime", "openvino", "skimage", "sklearn"):
        pytest.importorskip(package)
    import os

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
        "torch-eager,ort,openvino",
    )
    ended = run(
        tmp_path,
        *words,
        "--plan",
        "quick",
        "--frames",
        "12",
        "--target-fps",
        "60",
        "-o",
        str(tmp_path / "out"),
        cwd=root,
        **own,
    )
    found = lines(tmp_path)
    assert {name: line["outcome"] for name, line in found.items()} == dict.fromkeys(
        ("torch-eager", "ort", "openvino"), "ok"
    ), ended.err
    assert ended.code == 0
    assert len({line["input_sha256"] for line in found.values()}) == 1
    for line in found.values():
        jsonschema.validate(line, SCHEMA)
        assert line["parity"]["agreement"]["pixel_agreement"] > 0.99
        assert line["passages"][0]["overlapped"]["frames"] == 12
    pictures = json.loads((tmp_path / "out" / "pictures.json").read_text())
    assert (
        max(
            each["changed_share"]
            for line in found.values()
            for each in pictures[line["cell"]["key"]]
        )
        < 0.02
    )
