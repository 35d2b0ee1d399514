"""Mutated files of every kind that evenbench reads: an answer or a UsageError, nothing else.

The normal tests mutate each kind some hundred times, the nightly tests ten thousand times.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from onnx import numpy_helper

from evenbench.backends import file_formats, input_files
from evenbench.backends.onnx import description
from evenbench.backends.torch.files import archive_safety
from evenbench.harness.comparison import expectations_file
from evenbench.harness.core import artifact_store
from evenbench.harness.core.errors import UsageError
from evenbench.harness.environment import environment_names
from evenbench.harness.results import accepted_changes, records
from evenbench.harness.runner import job
from tests.reports.synthetic import suite
from tests.unit.backends.test_archive_safety import archive

TOKENS = (
    *(b"", b"\0", b"\xff\xfe", b'"', b"\\u0000", b"\\ud800", b"NaN", b"-1", b"1e999", b"null"),
    *(b"[" * 2000, b"{" * 50, b"9" * 5000, b"::error::", b"\x1b]0;x\x07", b"../..", b"\r\n"),
)
TOML = b"""
[[accepted]]
cell = "m-ort-fp32-cpu-b1"
metric = "latency"
level = 1.5e6
commit = "abc"
reason = "larger model"
since = "2026-01-01"
"""
PROJECT = b"""
[tool.evenbench.environments]
new = ["onnxruntime==1.30", "numpy"]
"""


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The content with one to four changes: bits, tokens, and parts cut, copied or moved."""
    for _ in range(chance.randint(1, 4)):
        first, last = sorted(chance.randint(0, len(content)) for _ in range(2))
        part = content[first : min(last, first + 200)]
        flipped = bytes(byte ^ 1 << chance.randrange(8) for byte in part)
        content = chance.choice(
            (
                content[:first] + flipped + content[first + len(part) :],
                content[:first] + chance.choice(TOKENS) + content[first:],
                content[:first] + chance.choice(TOKENS) + content[first + len(part) :],
                content[:first] + part + content[first:],
                content[:first] + content[first + len(part) :],
                content[:last],
            )
        )
    return content


def _results(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    file = folder / "run.jsonl"
    lines = [json.dumps(line, separators=(",", ":")) for line in suite()[:2]]
    file.write_text("\n".join(lines) + "\n")
    return file, lambda file: records.read([file])


def _manifest(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    stage = artifact_store.stage("artifacts")
    (stage / "model").write_text("graph")
    entry = artifact_store.commit(stage, "artifacts", {"a": 1}, 1.5, {"own_rmse": {"y": 1e-9}})
    place, kept = Path(entry.path), folder / "kept"
    shutil.copytree(place, kept)

    def find(file: Path) -> None:
        content = file.read_bytes()
        found = artifact_store.find("artifacts", {"a": 1})
        assert found is None or found.facts == entry.facts, content
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept, place)

    return place / artifact_store.MANIFEST, find


def _onnx(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    import onnx
    from onnx import TensorProto, helper

    spec = (TensorProto.FLOAT, ["batch", 4])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [1.0] * 16)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "graph",
        [helper.make_tensor_value_info("x", *spec)],
        [helper.make_tensor_value_info("y", *spec)],
        [weights],
    )
    file = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(file))
    return file, description.describe


def _archive(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    def read(file: Path) -> None:
        archive_safety.check(file)
        file_formats.kind_of(file)

    return archive(folder), read


def _expectations(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    file = folder / accepted_changes.FILE
    file.write_bytes(TOML)
    return file, lambda file: accepted_changes.parse(expectations_file.read(file), ("latency",))


def _project(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    file = folder / "pyproject.toml"
    file.write_bytes(PROJECT)
    return file, environment_names._table


def _message(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    file = folder / "message"
    file.write_text(json.dumps({"value": {"laps": [1, 2]}, "outcome": "ok", "reason": "none"}))

    def read(file: Path) -> None:
        message = job.read_message(file.read_bytes())
        if message is not None and "value" in message:
            job.Reply(**message)

    return file, read


def _samples(suffix: str, content: bytes) -> Callable[[Path], tuple[Path, Callable[[Path], Any]]]:
    def kind(folder: Path) -> tuple[Path, Callable[[Path], object]]:
        file = folder / f"input_0{suffix}"
        file.write_bytes(content)
        return file, lambda file: input_files.read([file.parent if suffix == ".pb" else file])

    kind.__name__ = f"samples{suffix}"
    return kind


def _saved(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def _script(folder: Path) -> tuple[Path, Callable[[Path], object]]:
    file = folder / "model.pt"
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("m/code/__torch__.py", "def forward(self, x):\n  return torch.relu(x)\n")
        target.writestr("m/constants.pkl", b"\x80\x02).")
    return file, archive_safety.check


X = np.arange(12, dtype="float32").reshape(3, 4)
KINDS = (
    *(_results, _manifest, _onnx, _archive, _script, _expectations, _project, _message),
    _samples(".npy", _saved(lambda stream: np.save(stream, X))),
    _samples(".npz", _saved(lambda stream: np.savez(stream, x=X, y=X))),
    _samples(".pb", numpy_helper.from_array(X, "x").SerializeToString()),
    _samples(".safetensors", safetensors.numpy.save({"x": X})),
)


@pytest.mark.parametrize("times", [150, pytest.param(10_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_a_mutated_file_is_read_or_refused_in_words(
    kind: Callable[[Path], tuple[Path, Callable[[Path], object]]],
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    file, read = kind(tmp_path)
    whole = file.read_bytes()
    read(file)
    for number in range(times):
        content = mutated(whole, random.Random(number))
        file.write_bytes(content)
        try:
            read(file)
        except UsageError:
            pass
        except Exception as error:
            raise AssertionError(f"{kind.__name__} {number}: {content[:2000]!r}") from error
