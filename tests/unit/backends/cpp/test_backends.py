"""Loading a cell in a C++ program: a refusal is Unsupported, a crash remains a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evenbench.backends.contract_model import TINY_CNN
from evenbench.harness import Cell, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.core.session import ProgramEnded

REFUSALS = {
    "cpp-ort": "9 : NOT_IMPLEMENTED : Could not find an implementation for Conv(22) node",
    "cpp-openvino": "Model wasn't fully converted. Failed operations detailed log: NonZero",
    "cpp-libtorch": "Unknown builtin op: torchvision::nms",
}


def load(backend: str, error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(runtime: str) -> Any:
        raise error

    monkeypatch.setattr("evenbench.backends.cpp.build.build_runner", build)
    monkeypatch.setattr(
        "evenbench.backends.cpp.wheel_libraries.library_of", lambda runtime: Path("library.so")
    )
    (folder / "model.onnx").touch()
    registry.find(backend).load(folder, Cell(TINY_CNN, backend))


@pytest.mark.parametrize("backend", REFUSALS)
def test_a_message_of_the_runtime_is_a_refusal(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unsupported):
        load(backend, RuntimeError(REFUSALS[backend]), tmp_path, monkeypatch)


@pytest.mark.parametrize("backend", REFUSALS)
def test_a_crash_is_no_refusal_whatever_the_log_ends_with(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProgramEnded) as ended:
        load(backend, ProgramEnded(REFUSALS[backend], "SIGSEGV"), tmp_path, monkeypatch)
    assert ended.value.signal == "SIGSEGV"
