"""The C++ runners and their ctypes twins under the contract, and against their Python twins."""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from evenbench.backends.contract_model import TINY_CNN
from evenbench.backends.cpp import build, library_session, program, toolchain, wheel_libraries
from evenbench.backends.cpp import onnxruntime as cpp_onnxruntime
from evenbench.backends.onnxruntime import session_options
from evenbench.harness import Attestation, Unsupported
from evenbench.harness.core import artifact_store, registry
from evenbench.harness.core.measurements import Block, Samples
from evenbench.harness.core.session import ProgramEnded
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import cpu, system_info
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.measurement import judging, sampling
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Refusal
from evenbench.harness.testing import BackendContract


class TestCppOrt(BackendContract):
    name = "cpp-ort"


class TestCtypesOrt(BackendContract):
    name = "ctypes-ort"


@pytest.mark.nightly
class TestCppOpenVino(BackendContract):
    name = "cpp-openvino"


@pytest.mark.nightly
class TestCppLibtorch(BackendContract):
    name = "cpp-libtorch"


@pytest.mark.nightly
class TestCtypesLibtorch(BackendContract):
    name = "ctypes-libtorch"


def cell_of(backend: str, **changed: Any) -> Cell:
    return Cell(TINY_CNN, backend, threads=cpu.cores(), **changed)


@pytest.fixture(scope="module")
def answers() -> Callable[[str], dict[str, Any]]:
    """The answers of a backend to every input batch, from the artifact that it shares with its
    counterparts.
    """
    preparer = Preparer(600)

    def of(backend: str, **changed: Any) -> dict[str, Any]:
        cell = cell_of(backend, **changed)
        prepared = preparer.prepare(cell)
        session = registry.find(backend).load(Path(prepared.artifact.path), cell)
        try:
            made: dict[str, Any] = judging.once(
                session, inputs.load(Path(prepared.inputs.path), cell.model)
            )
        finally:
            session.close()
        return made

    return of


@pytest.fixture(scope="module")
def loaded() -> Callable[[Cell], Attestation]:
    """What a cell's session attests after one step."""
    preparer = Preparer(600)

    def of(cell: Cell) -> Attestation:
        prepared = preparer.prepare(cell)
        session = registry.find(cell.backend).load(Path(prepared.artifact.path), cell)
        try:
            session.bind(inputs.load(Path(prepared.inputs.path), cell.model)[0])
            session.step()
            return session.attest()
        finally:
            session.close()

    return of


@pytest.mark.parametrize(
    ("python", "native_twins"),
    [
        ("ort", ("cpp-ort", "ctypes-ort")),
        ("openvino", ("cpp-openvino",)),
        ("torch-script", ("cpp-libtorch", "ctypes-libtorch")),
    ],
)
def test_the_same_library_answers_alike_from_both_languages(
    python: str, native_twins: tuple[str, ...], answers: Callable[[str], dict[str, Any]]
) -> None:
    wanted = answers(python)["logits"]
    for twin in native_twins:
        found = answers(twin)["logits"]
        assert found.dtype == wanted.dtype
        # The same kernels on the same bytes: bit for bit, but for a sum that threads may add up in
        # another order.
        np.testing.assert_allclose(
            found,
            wanted,
            rtol=0,
            atol=4 * np.finfo(np.float32).eps * np.abs(wanted).max(),
            err_msg=twin,
        )


def test_the_aot_package_is_loaded_in_cpp(answers: Callable[..., dict[str, Any]]) -> None:
    found = answers("cpp-libtorch", options=(("artifact", "aot"),))["logits"]
    np.testing.assert_allclose(found, answers("torch-eager")["logits"], rtol=1e-4, atol=1e-5)


def test_they_share_the_artifact_of_their_counterpart() -> None:
    for python, twin in (
        ("ort", "cpp-ort"),
        ("ort", "ctypes-ort"),
        ("openvino", "cpp-openvino"),
        ("torch-script", "cpp-libtorch"),
    ):
        assert registry.find(python).artifact_key(cell_of(python)) == registry.find(
            twin
        ).artifact_key(cell_of(twin)), twin


@pytest.mark.parametrize("runtime", list(wheel_libraries.DISTRIBUTIONS))
def test_another_release_than_the_python_package_is_refused(runtime: str) -> None:
    installed, file = (
        wheel_libraries.version_of(runtime).partition("+")[0],
        str(wheel_libraries.library_of(runtime)),
    )
    wheel_libraries.check_library(runtime, {"version": f"{installed}-1234-abc", "library": file})
    for other in ("0.1", installed + "1", installed + ".1"):
        with pytest.raises(
            RuntimeError, match=rf"the runner loaded {runtime} {other}.*LD_LIBRARY_PATH"
        ):
            wheel_libraries.check_library(runtime, {"version": other, "library": file})


@pytest.mark.parametrize("backend", ["cpp-ort", "ctypes-ort"])
def test_the_version_is_asserted_when_a_session_is_loaded(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(Preparer(600).prepare(cell_of(backend)).artifact.path)
    true_key = build.build_key("onnxruntime")
    monkeypatch.setattr(build, "build_key", lambda runtime: true_key)
    monkeypatch.setattr(wheel_libraries, "version_of", lambda runtime: "9.9.9")
    with pytest.raises(RuntimeError, match=r"the Python package is 9\.9\.9"):
        registry.find(backend).load(folder, cell_of(backend))


def test_a_library_path_that_leads_elsewhere_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same release from another place: a copy of the library, which the loader prefers."""
    folder = Path(Preparer(600).prepare(cell_of("cpp-openvino")).artifact.path)
    original = wheel_libraries.library_of("openvino")
    shutil.copy2(original, tmp_path / original.name)
    build.build_runner("openvino")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:{original.parent}")
    with pytest.raises(RuntimeError, match=rf"loaded openvino from {tmp_path}.*LD_LIBRARY_PATH"):
        registry.find("cpp-openvino").load(folder, cell_of("cpp-openvino"))


# -- what runs, read back --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backend", ["cpp-ort", "ctypes-ort", "cpp-openvino", "cpp-libtorch", "ctypes-libtorch"]
)
@pytest.mark.parametrize(
    "threads", [1, pytest.param(cpu.cores(), id="all", marks=pytest.mark.alone)]
)
def test_threads_are_those_of_the_runtime(
    backend: str, threads: int, loaded: Callable[..., Attestation]
) -> None:
    assert loaded(replace(cell_of(backend), threads=threads)).threads == threads


def test_threads_of_onnx_runtime_are_counted_not_repeated(
    monkeypatch: pytest.MonkeyPatch, loaded: Callable[..., Attestation]
) -> None:
    options_of = cpp_onnxruntime.ort_options
    monkeypatch.setattr(
        cpp_onnxruntime.OrtFileSession,
        "options_of",
        staticmethod(lambda file, cell: {**options_of(file, cell), "threads": 3}),
    )
    assert loaded(replace(cell_of("cpp-ort"), threads=1)).threads == 3


@pytest.mark.parametrize("backend", ["cpp-ort", "ctypes-ort"])
def test_spinning_and_denormals_of_onnx_runtime_are_read_back(
    backend: str, monkeypatch: pytest.MonkeyPatch, loaded: Callable[..., Attestation]
) -> None:
    assert loaded(cell_of(backend)).spinning == "on"
    assert loaded(cell_of(backend, options=(("spinning", "off"),))).spinning == "off"
    monkeypatch.setattr(
        session_options,
        "CONFIG_ENTRIES",
        {**session_options.CONFIG_ENTRIES, "session.set_denormal_as_zero": "1"},
    )
    assert loaded(cell_of(backend)).denormals == "flushed"


@pytest.mark.parametrize(
    ("python", "twin", "precision", "options"),
    [
        ("ort", "cpp-ort", "fp16", ()),
        ("ort", "ctypes-ort", "int8-static", ()),
        ("openvino", "cpp-openvino", "fp16", ()),
        ("openvino", "cpp-openvino", "int8-static", ()),
        ("torch-script", "cpp-libtorch", "bf16", ()),
        ("torch-aot", "ctypes-libtorch", "fp32", (("artifact", "aot"),)),
    ],
)
def test_what_ran_is_attested_as_the_counterpart_attests_it(
    python: str, twin: str, precision: str, options: Any, loaded: Callable[..., Attestation]
) -> None:
    wanted = loaded(cell_of(python, precision=precision))
    found = loaded(cell_of(twin, precision=precision, options=options))
    for name in (
        "runtime",
        "device",
        "precision",
        "threads",
        "denormals",
        "spinning",
        "providers",
        "emulated",
        "labels",
    ):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("nodes_after", "operators_after", "nodes_before", "fused", "added", "removed"):
        assert found.details.get("graph", {}).get(name) == wanted.details.get("graph", {}).get(
            name
        ), name
    assert found.details.get("compute_nodes") == wanted.details.get("compute_nodes")


def test_a_precision_without_kernels_is_unsupported_in_words(
    loaded: Callable[..., Attestation],
) -> None:
    with pytest.raises(
        Unsupported, match=r"CPUExecutionProvider has no kernel for Conv .* at bf16"
    ):
        loaded(cell_of("cpp-ort", precision="bf16"))


def test_nothing_of_the_runtime_is_imported_here() -> None:
    """What calls a runner needs the runtime's library only, so its import is no part of the cell's
    times.
    """
    for backend in ("cpp-ort", "cpp-openvino", "cpp-libtorch", "ctypes-ort", "ctypes-libtorch"):
        assert registry.find(backend).requires == ()


def test_a_runtime_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(wheel_libraries.DISTRIBUTIONS, "onnxruntime", "no_such_runtime")
    assert registry.find("cpp-ort").missing() == ("no_such_runtime",)


# -- building --------------------------------------------------------------------------------------


def test_it_is_built_once_and_what_changes_it_builds_it_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path))
    with ThreadPoolExecutor(3) as pool:  # three at once, as workers may be
        folders = set(pool.map(build.build_runner, ["onnxruntime"] * 3))
    assert len(folders) == 1
    made = (folders.pop() / build.PROGRAM).stat().st_mtime_ns
    assert (build.build_runner("onnxruntime") / build.PROGRAM).stat().st_mtime_ns == made
    before = artifact_store.key_of(build.build_key("onnxruntime"))
    monkeypatch.setattr(wheel_libraries, "version_of", lambda runtime: "9.9.9")
    assert artifact_store.key_of(build.build_key("onnxruntime")) != before


def test_a_build_that_fails_says_what_the_compiler_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(artifact_store.VARIABLE, str(tmp_path / "cache"))
    broken = tmp_path / "cpp"
    shutil.copytree(build.SOURCES, broken)
    (broken / "onnxruntime.cpp").write_text("int broken = no_such_name;\n")
    monkeypatch.setattr(build, "SOURCES", broken)
    with pytest.raises(
        RuntimeError, match=r"(?s)building the onnxruntime runner failed:.*no_such_name"
    ):
        build.build_runner("onnxruntime")
    assert not list((tmp_path / "cache" / "native").glob(".stage-*")), (
        "what was half built is removed"
    )


def test_a_compiler_that_cxx_names_and_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler -m64")
    assert "the compiler that CXX names (no-such-compiler -m64)" in toolchain.lacks()


@pytest.mark.parametrize(
    "backend", ["cpp-ort", "cpp-openvino", "cpp-libtorch", "ctypes-ort", "ctypes-libtorch"]
)
def test_a_missing_compiler_is_unavailable_in_words(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: None)
    monkeypatch.setattr(toolchain.sys, "executable", "/nowhere/python")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(Refusal) as refused:
        Preparer(60).prepare(cell_of(backend))
    assert refused.value.reply.outcome == "unavailable"
    assert "cmake (pip install 'evenbench[cpp]') and a C++20 compiler" in refused.value.reply.reason


def test_a_program_that_is_killed_says_by_what() -> None:
    running = program.Program(build.build_runner("onnxruntime") / build.PROGRAM)
    os.kill(running.process_id, signal.SIGSEGV)
    with pytest.raises(ProgramEnded, match="ended by SIGSEGV") as ended:
        running.ask("usage")
    assert ended.value.signal == "SIGSEGV"
    running.close()
    running.close()


def test_what_the_program_cannot_do_is_said_and_it_goes_on() -> None:
    running = program.Program(build.build_runner("onnxruntime") / build.PROGRAM)
    with pytest.raises(RuntimeError, match="step needs a loaded network"):
        running.ask("step")
    library = wheel_libraries.library_of("onnxruntime")
    with pytest.raises(RuntimeError, match=r"no_such\.onnx"):
        running.ask(
            "load", "model=/no_such.onnx", f"library={library}", "threads=1", "spinning=off"
        )
    assert len(running.ask("usage")) == 5
    running.close()


def test_a_runner_ends_with_whoever_started_it() -> None:
    """The parent is killed, and so cannot tell it."""
    file = build.build_runner("onnxruntime") / build.PROGRAM
    code = (
        "import time\nfrom pathlib import Path\nfrom backends.cpp import program\n"
        f"runner = program.Program(Path({str(file)!r}))\n"
        "runner.ask('usage')\nprint(runner.process_id, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        runner = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        try:
            state = Path(f"/proc/{runner}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":  # ended, and waits for somebody to notice
            return
        time.sleep(0.05)
    pytest.fail("the runner outlived its parent by 5 s")


def test_batches_that_change_in_place_are_read_again(
    answers: Callable[[str], dict[str, Any]],
) -> None:
    cell = cell_of("cpp-ort")
    prepared = Preparer(600).prepare(cell)
    session = registry.find("cpp-ort").load(Path(prepared.artifact.path), cell)
    wanted = answers("ort")["logits"]
    batches = inputs.load(Path(prepared.inputs.path), cell.model)
    name = cell.model.inputs[0].name
    mine = np.array(batches[0][name])
    try:
        for at in (0, 1, 0):
            mine[:] = batches[at][name]
            kept = session.laps([{name: mine}], 1, "compute", [0]).kept
            np.testing.assert_allclose(kept[0]["logits"], wanted[at], rtol=1e-5, atol=1e-5)
            session.bind({name: mine})
            session.step()
            np.testing.assert_allclose(session.fetch()["logits"], wanted[at], rtol=1e-5, atol=1e-5)
    finally:
        session.close()


@pytest.fixture
def library() -> Iterator[library_session.LibrarySession]:
    """A session behind ctypes, with something bound."""
    cell = cell_of("ctypes-ort")
    prepared = Preparer(600).prepare(cell)
    session = registry.find("ctypes-ort").load(Path(prepared.artifact.path), cell)
    assert isinstance(session, library_session.LibrarySession)
    session.bind(inputs.load(Path(prepared.inputs.path), cell.model)[0])
    yield session
    session.close()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda array: array[..., :-1],
        lambda array: array.astype("f8"),
        lambda array: array.astype(array.dtype.newbyteorder()),
        np.asfortranarray,
    ],
    ids=["shape", "type", "byte order", "memory order"],
)
def test_arrays_that_ctypes_would_misread_are_refused_and_what_is_bound_stays(
    wrong: Callable[[Any], Any], library: library_session.LibrarySession
) -> None:
    name = TINY_CNN.inputs[0].name
    library.step()
    before = library.fetch()["logits"]
    with pytest.raises(ValueError, match=rf"{name} is .*; expected float32\[1, .*\] in C order"):
        library.bind({name: wrong(np.array(library.bound[0]) + 1)})
    library.step()
    np.testing.assert_array_equal(library.fetch()["logits"], before)


def test_an_output_without_elements_is_fetched(
    library: library_session.LibrarySession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A detector that finds nothing: its output has no memory, and so no address."""
    sizes = (ctypes.c_int64 * 2)(0, 4)

    def nothing(handle: Any, at: int, kind: Any, shape: Any, rank: Any) -> None:
        kind._obj.value, rank._obj.value = b"f4", 2
        shape._obj.contents = ctypes.c_int64.from_buffer(sizes)

    monkeypatch.setattr(
        library,
        "library",
        SimpleNamespace(evenbench_fetch=lambda handle: 1, evenbench_output=nothing),
    )
    found = library.fetch()["logits"]
    monkeypatch.undo()
    assert (found.shape, str(found.dtype)) == ((0, 4), "float32")


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
    assert 1_000_000 < after.peak_rss_bytes < system_info.peak_rss_bytes(), (
        "a bare runtime needs less than this test process"
    )


def test_handing_over_kept_outputs_is_no_part_of_what_a_call_costs() -> None:
    session = cpp_onnxruntime.OrtProgram.__new__(
        cpp_onnxruntime.OrtProgram
    )  # which loops by itself; nothing is run
    walls = (
        5_000,
        1_020,
        1_040,
        1_030,
    )  # of blocks of ten laps of 100 ns; outputs were kept in the first
    blocks = tuple(Block(10, wall, 0, 0, 0, 0, 0, 0) for wall in walls)
    samples = {
        "host_to_host": Samples("host_to_host", program.CLOCK, (100,) * 40, "stable", blocks)
    }
    assert sampling.binding(samples, session, fetching={0}) == 3.0
    assert sampling.binding(samples, session, fetching={0, 1, 2, 3}) == 3.5, (
        "all blocks, where there is none without"
    )


@given(
    hnp.arrays(
        st.sampled_from(["f4", "f8", "i8", "i4", "u1", "f2"]),
        hnp.array_shapes(max_dims=4, max_side=4),
    )
)
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
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
    source = (
        '#include "array.hpp"\n'
        'int main(int, char** w) { evenbench::write_npy(w[2], evenbench::read_npy(w[1], "x")); }\n'
    )
    (folder / "round.cpp").write_text(source)
    command = [
        *toolchain.compiler(),
        "-std=c++20",
        f"-I{build.SOURCES}",
        str(folder / "round.cpp"),
        "-o",
        str(folder / "round"),
    ]
    subprocess.run(command, check=True)
    return str(folder / "round")


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.asfortranarray(np.ones((2, 3))), "Fortran order"), (np.ones(2, ">f4"), "big endian")],
)
def test_npy_files_that_would_be_misread_are_refused(
    array: np.ndarray[Any, Any], message: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "in.npy", array)
    done = subprocess.run(
        [_round_trip_program(), tmp_path / "in.npy", tmp_path / "out.npy"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert message in done.stderr
