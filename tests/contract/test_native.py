"""The C++ runners and their ctypes twins under the contract, and against their Python counterparts."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backends import native
from backends.contract_model import TINY_CNN
from harness import environment, inputs, machine, measure, registry
from harness.preparation import Preparer, Refusal
from harness.testing import BackendContract
from harness.types import Cell


class TestCppOrt(BackendContract):
    name = "cpp-ort"


class TestCtypesOrt(BackendContract):
    name = "ctypes-ort"


class TestCppOpenVino(BackendContract):
    name = "cpp-openvino"


class TestCppLibtorch(BackendContract):
    name = "cpp-libtorch"


class TestCtypesLibtorch(BackendContract):
    name = "ctypes-libtorch"


def cell_of(backend: str, **changed: Any) -> Cell:
    return Cell(TINY_CNN, backend, threads=machine.cores(), **changed)


@pytest.fixture(scope="module")
def answers() -> Callable[[str], dict[str, Any]]:
    """The answers of a backend to every input batch, from the artifact that it shares with its counterparts."""
    preparer = Preparer(600)

    def of(backend: str, **changed: Any) -> dict[str, Any]:
        cell = cell_of(backend, **changed)
        prepared = preparer.prepare(cell)
        session = registry.find(backend).load(Path(prepared.artifact.path), cell)
        try:
            made: dict[str, Any] = measure.once(session, inputs.load(Path(prepared.inputs.path), cell.model))
        finally:
            session.close()
        return made

    return of


@pytest.mark.parametrize(
    ("python", "native_twins"),
    [("ort", ("cpp-ort", "ctypes-ort")), ("openvino", ("cpp-openvino",)), ("torch-script", ("cpp-libtorch", "ctypes-libtorch"))],
)
def test_the_same_library_answers_alike_from_both_languages(
    python: str, native_twins: tuple[str, ...], answers: Callable[[str], dict[str, Any]]
) -> None:
    wanted = answers(python)["logits"]
    for twin in native_twins:
        found = answers(twin)["logits"]
        assert found.dtype == wanted.dtype
        # The same kernels on the same bytes: bit for bit, but for a sum that threads may add up in another order.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=4 * np.finfo(np.float32).eps * np.abs(wanted).max(), err_msg=twin)


def test_the_aot_package_is_loaded_in_cpp(answers: Callable[..., dict[str, Any]]) -> None:
    found = answers("cpp-libtorch", options=(("artifact", "aot"),))["logits"]
    np.testing.assert_allclose(found, answers("torch-eager")["logits"], rtol=1e-4, atol=1e-5)


def test_they_share_the_artifact_of_their_counterpart() -> None:
    for python, twin in (("ort", "cpp-ort"), ("ort", "ctypes-ort"), ("openvino", "cpp-openvino"), ("torch-script", "cpp-libtorch")):
        assert registry.find(python).artifact_key(cell_of(python)) == registry.find(twin).artifact_key(cell_of(twin)), twin


@pytest.mark.parametrize("runtime", list(native.DISTRIBUTIONS))
def test_another_release_than_the_python_package_is_refused(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    native.check_version(runtime, native.version_of(runtime))
    with pytest.raises(RuntimeError, match=rf"the runner loaded {runtime} 0\.1.*LD_LIBRARY_PATH"):
        native.check_version(runtime, "0.1")


def test_the_version_is_asserted_when_a_session_is_loaded(answers: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(Preparer(600).prepare(cell_of("cpp-ort")).artifact.path)
    native.built("onnxruntime")
    true_key = native.key("onnxruntime")
    monkeypatch.setattr(native, "key", lambda runtime: true_key)
    monkeypatch.setattr(native, "version_of", lambda runtime: "9.9.9")
    for backend in ("cpp-ort", "ctypes-ort"):
        with pytest.raises(RuntimeError, match=r"the Python package is 9\.9\.9"):
            registry.find(backend).load(folder, cell_of(backend))


@pytest.mark.parametrize("backend", ["cpp-ort", "cpp-openvino", "cpp-libtorch", "ctypes-ort", "ctypes-libtorch"])
def test_a_missing_compiler_is_unavailable_in_words(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    monkeypatch.setattr(native.sys, "executable", "/nowhere/python")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Refusal) as refused:
        Preparer(60).prepare(cell_of(backend))
    assert refused.value.reply.outcome == "unavailable"
    assert "cmake (pip install 'evenbench[cpp]') and a C++20 compiler" in refused.value.reply.reason


def test_a_program_that_is_killed_says_by_what() -> None:
    program = native.Program(native.built("onnxruntime") / native.PROGRAM)
    os.kill(program.process_id, signal.SIGSEGV)
    with pytest.raises(RuntimeError, match="ended by SIGSEGV"):
        program.ask("usage")
    program.close()
    program.close()


def test_what_the_program_cannot_do_is_said_and_it_goes_on() -> None:
    program = native.Program(native.built("onnxruntime") / native.PROGRAM)
    with pytest.raises(RuntimeError, match="unknown command dance"):
        program.ask("dance")
    library = native.library_of("onnxruntime")
    with pytest.raises(RuntimeError, match=r"no_such\.onnx"):
        program.ask("load", "model=/no_such.onnx", f"library={library}", "threads=1", "spinning=off")
    assert len(program.ask("usage")) == 5
    program.close()


def test_memory_and_cpu_time_are_the_programs_own() -> None:
    cell = cell_of("cpp-ort")
    prepared = Preparer(600).prepare(cell)
    session = registry.find("cpp-ort").load(Path(prepared.artifact.path), cell)
    before = session.usage()
    session.bind(inputs.load(Path(prepared.inputs.path), cell.model)[0])
    for _ in range(50):
        session.step()
    after = session.usage()
    session.close()
    assert before is not None
    assert after is not None
    assert after.cpu_ns > before.cpu_ns
    assert 1_000_000 < after.peak_rss_bytes < environment.peak_rss_bytes(), "a bare runtime needs less than this test process"


@given(hnp.arrays(st.sampled_from(["f4", "f8", "i8", "i4", "u1", "f2"]), hnp.array_shapes(max_dims=4, max_side=4)))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_npy_files_survive_the_round_trip(tmp_path: Path, array: np.ndarray[Any, Any]) -> None:
    """Read and written by the runners' own header, compiled into a program of a few lines."""
    program = _round_trip_program()
    np.save(tmp_path / "in.npy", array)
    subprocess.run([program, tmp_path / "in.npy", tmp_path / "out.npy"], check=True)
    found = np.load(tmp_path / "out.npy")
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@functools.cache
def _round_trip_program() -> str:
    folder = Path(tempfile.mkdtemp())
    source = '#include "array.hpp"\nint main(int, char** w) { evenbench::write_npy(w[2], evenbench::read_npy(w[1], "x")); }\n'
    (folder / "round.cpp").write_text(source)
    subprocess.run(["g++", "-std=c++20", f"-I{native.SOURCES}", str(folder / "round.cpp"), "-o", str(folder / "round")], check=True)
    return str(folder / "round")


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.asfortranarray(np.ones((2, 3))), "Fortran order"), (np.ones(2, ">f4"), "big endian")],
)
def test_npy_files_that_would_be_misread_are_refused(array: np.ndarray[Any, Any], message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", array)
    done = subprocess.run([_round_trip_program(), tmp_path / "in.npy", tmp_path / "out.npy"], capture_output=True, text=True, check=False)
    assert done.returncode
    assert message in done.stderr
