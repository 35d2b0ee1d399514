"""Detectors in C++: as many rows as there are objects, none among them, lap by lap, and alike to
what Python answers.
"""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import detection
from evenbench.backends.cpp import build, libtorch, toolchain
from evenbench.harness import PLANS, Cell, Session, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.types import BOUNDARIES
from evenbench.harness.environment import cpu
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.runner.schedule import Run
from tests.contract.bright import BRIGHT, COUNTS, OPTIONS

pytestmark = pytest.mark.skipif(bool(toolchain.lacks()), reason=toolchain.lacks() or "all is here")

TWINS = {
    "cpp-ort": "ort",
    "ctypes-ort": "ort",
    "cpp-openvino": "openvino",
    "cpp-libtorch": "torch-script",
    "ctypes-libtorch": "torch-script",
}
"""Each backend in C++, and the one in Python that reads the same file."""

NIGHTLY = {
    name: pytest.param(name, marks=pytest.mark.nightly)
    for name in ("cpp-openvino", "cpp-libtorch", "ctypes-libtorch")
}
"""Backends with the slowest programs to compile; those of ONNX Runtime share their code."""


def cell_of(backend: str) -> Cell:
    (options,) = OPTIONS.get(backend, ({},))
    return Cell(BRIGHT, backend, threads=cpu.cores(), options=tuple(sorted(options.items())))


@cache
def prepared(backend: str) -> Prepared:
    return Preparer(600).prepare(cell_of(backend))


def batches(backend: str) -> list[dict[str, Any]]:
    return inputs.load(Path(prepared(backend).inputs.path), BRIGHT)


def loaded(backend: str) -> Session:
    return registry.find(backend).load(Path(prepared(backend).artifact.path), cell_of(backend))


@cache
def answers(backend: str) -> list[dict[str, Any]]:
    """What a session in Python says of each image."""
    session, found = loaded(backend), []
    try:
        for batch in batches(backend):
            session.bind(batch)
            session.step()
            found.append({name: np.array(values) for name, values in session.fetch().items()})
    finally:
        session.close()
    return found


def assert_alike(found: Any, wanted: Any) -> None:
    assert {name: (values.shape, values.dtype) for name, values in found.items()} == {
        name: (values.shape, values.dtype) for name, values in wanted.items()
    }
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("backend", [NIGHTLY.get(name, name) for name in TWINS])
def test_every_image_has_as_many_rows_as_objects_and_one_has_none(backend: str) -> None:
    session, wanted = loaded(backend), answers(TWINS[backend])
    assert [len(each["scores"]) for each in wanted] == list(COUNTS)
    assert wanted[COUNTS.index(0)]["masks"].shape[0] == 0
    try:
        for at in (*range(len(COUNTS)), COUNTS.index(0), 0):
            session.bind(batches(backend)[at])
            session.step()
            assert_alike(session.fetch(), wanted[at])
        session.bind(batches(backend)[COUNTS.index(0)])
        session.step()
        attested = session.attest()
    finally:
        session.close()
    assert (attested.precision, attested.device, attested.threads) == ("fp32", "cpu", cpu.cores())


@pytest.mark.parametrize(
    "backend", [NIGHTLY.get(name, name) for name in TWINS if name.startswith("cpp")]
)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_kept_laps_have_their_own_numbers_of_rows(backend: str, boundary: str) -> None:
    session, wanted = loaded(backend), answers(TWINS[backend])
    keep = range(3, 11)
    try:
        laps = session.laps(batches(backend), 12, boundary, keep)
    finally:
        session.close()
    assert len(laps.laps_ns) == 12
    assert sorted(laps.kept) == list(keep)
    for lap, found in laps.kept.items():
        assert_alike(found, wanted[lap % len(COUNTS)])


def test_ahead_of_time_libtorch_is_refused_in_words() -> None:
    refused = registry.find("cpp-libtorch").supports(
        replace(cell_of("cpp-libtorch"), options=(("artifact", "aot"),))
    )
    assert refused == (
        "torch-aot needs fixed output sizes, but the number of boxes of bright depends on the data"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "backends",
    [
        pytest.param([name for name in TWINS if name not in NIGHTLY], id="ort"),
        pytest.param(list(TWINS), id="all", marks=pytest.mark.nightly),
    ],
)
def test_they_are_measured_and_proved_right(tmp_path: Path, backends: list[str]) -> None:
    entries = [Entry(cell_of(name), "tests") for name in backends]
    run = Run(
        entries,
        replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1),
        tmp_path,
        fresh=True,
    )
    lines = {line["cell"]["backend"]: line for line in run.measure(entries)}
    run.finish()
    assert {name: line["outcome"] for name, line in lines.items()} == dict.fromkeys(
        backends, "ok"
    ), [line["reason"] for line in lines.values()]
    for line in lines.values():
        seen = line["agreement"]
        assert (seen["detections"], seen["matched"], seen["unmatched"]) == (
            sum(COUNTS),
            sum(COUNTS),
            0,
        )
        assert seen["worst_mask_iou"] > 0.99


@pytest.mark.slow
def test_operators_of_torchvision_are_opened_or_it_is_said_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a program, which has none of the libraries that this process may have opened."""
    pytest.importorskip("torchvision")
    cell = Cell(detection.FASTER_RCNN, "cpp-libtorch", threads=cpu.cores())
    artifact = Path(Preparer(600).prepare(cell).artifact.path)
    text = tmp_path / "no_library.so"
    text.write_text("text")
    for file, said in (
        (None, "Unknown builtin op: torchvision::"),
        (text, r"cannot be loaded: .*no_library\.so"),
    ):
        monkeypatch.setattr(libtorch, "operators", lambda file=file: file)
        with pytest.raises(
            Unsupported,
            match=rf"calls torchvision's operators, and C\+\+ cannot load these here \(.*{said}",
        ):
            registry.find("cpp-libtorch").load(artifact, cell)
    monkeypatch.undo()
    registry.find("cpp-libtorch").load(artifact, cell).close()


@pytest.mark.nightly
@pytest.mark.slow
def test_a_file_that_openvino_does_not_convert_is_unsupported_in_cpp_too() -> None:
    pytest.importorskip("torchvision")
    cell = Cell(
        detection.MASK_RCNN,
        "cpp-openvino",
        threads=cpu.cores(),
        options=tuple(sorted(detection.TRACED.items())),
    )
    artifact = Path(Preparer(600).prepare(cell).artifact.path)
    with pytest.raises(
        Unsupported, match=r"OpenVINO's ONNX frontend cannot convert it .*frontend='pytorch'"
    ):
        registry.find("cpp-openvino").load(artifact, cell)


# -- what a shipped program leaves -----------------------------------------------------------------

ARCHIVE = """
#include <cstdio>
#include "archive.hpp"
int main(int count, char** words) {
  std::vector<evenbench::Array> arrays;
  for (int at = 2; at < count; ++at) arrays.push_back(evenbench::read_npy(words[at], ""));
  try {
    evenbench::write_npz(words[1], arrays);
  } catch (const std::exception& error) {
    return std::puts(error.what()), 1;
  }
}
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Writes arrays into an archive as a shipped program does. Compiled once, without a warning."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "archive.cpp").write_text(ARCHIVE)
    flags = ["-std=c++20", "-Wall", "-Wextra", "-Werror", f"-I{build.SOURCES}"]
    done = subprocess.run(
        [*toolchain.compiler(), *flags, str(folder / "archive.cpp"), "-o", str(folder / "archive")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    def write(file: Path, *arrays: Path) -> str:
        ran = subprocess.run([folder / "archive", file, *arrays], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout
        return ran.stdout

    return write


def test_an_archive_is_what_numpy_reads(archive: Callable[..., str], tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = [
        generator.random((3, 4), np.float32),
        np.zeros((0, 4), np.float32),
        np.arange(7),
        generator.random((2, 1, 9, 9)) > 0.5,
    ]
    for at, array in enumerate(arrays):
        np.save(tmp_path / f"{at}.npy", array)
    archive(tmp_path / "out.npz", *(tmp_path / f"{at}.npy" for at in range(len(arrays))))
    with zipfile.ZipFile(tmp_path / "out.npz") as opened:
        assert opened.testzip() is None, "a checksum is wrong"
    with np.load(tmp_path / "out.npz") as found:
        assert found.files == [f"arr_{at}" for at in range(len(arrays))]
        for name, array in zip(found.files, arrays, strict=True):
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_an_archive_of_nothing_is_one_and_where_none_can_be_written_is_said(
    archive: Callable[..., str], tmp_path: Path
) -> None:
    archive(tmp_path / "none.npz")
    with np.load(tmp_path / "none.npz") as found:
        assert found.files == []
    with pytest.raises(AssertionError, match=r"nowhere/out\.npz could not be written"):
        archive(tmp_path / "nowhere" / "out.npz")
