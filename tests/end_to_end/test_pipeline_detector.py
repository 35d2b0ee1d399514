"""`evenbench pipeline` of a detector: objects of any number found, read and drawn in C++, and
matched with the golden's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, variables

from evenbench.backends.cpp import toolchain

for package in ("av", "skimage", "sklearn", "torch", "onnxruntime", "openvino"):
    pytest.importorskip(package)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.skipif(bool(toolchain.lacks()), reason=toolchain.lacks() or "all is here")
def test_boxes_and_masks_are_drawn_in_cpp_as_in_python(tmp_path: Path) -> None:
    names = ("ort", "cpp-ort", "cpp-openvino", "cpp-libtorch")
    own = {
        "EVENBENCH_BACKENDS": "",
        **{name: os.environ[name] for name in ("EVENBENCH_CACHE",) if name in os.environ},
    }
    words = (
        "tests/contract/bright.py",
        "--backends",
        ",".join(names),
        "--plan",
        "quick",
        "--frames",
        "12",
        "-o",
        str(tmp_path / "out"),
    )
    command = [sys.executable, "-m", "evenbench.harness.cli", "pipeline", *words]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=variables(tmp_path) | own,
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "pipeline.jsonl").read_text().splitlines()
    ]
    found = {line["cell"]["backend"]: line for line in lines}
    assert {name: line["outcome"] for name, line in found.items()} == dict.fromkeys(names, "ok"), (
        done.stderr
    )
    assert {name: line["covers"] for name, line in found.items()} == {
        name: "pipeline" if name == "ort" else "after_decoding" for name in names
    }
    for line in found.values():
        seen = line["parity"]["agreement"]
        assert (seen["matched"], seen["unmatched"]) == (seen["detections"], 0)
        assert seen["detections"] > 6, "a detector that finds nothing shows nothing"
    pictures = json.loads((tmp_path / "out" / "pictures.json").read_text())
    for name, line in found.items():
        drawn = pictures[line["cell"]["key"]]
        assert [each["letters"] for each in drawn] == [name == "ort"] * 6, (
            "what has no letters is compared with the golden's without"
        )
        assert max(each["changed_share"] for each in drawn) < 0.005
