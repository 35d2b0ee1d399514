"""Backends whose preparation is a real build with child processes, around the null backend."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenbench.backends.cpp import build
from evenbench.harness import Cell, Session, Source
from tests.fault_injection.broken import Named, StepSession


class BuildsProgram(Named):
    """Builds the native runner of ONNX Runtime by CMake, a build tool and a compiler."""

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        build.build_runner("onnxruntime")
        return {}


class CompilesPool(Named):
    """Compiles a network by torch.compile, which starts a pool of compiler processes."""

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        import torch
        from torch import nn

        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
        network = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 2))
        torch.compile(network)(torch.zeros(2, 4))
        return {}


class PreparesLong(Named):
    """Sleeps in preparation, beside a child in a group of its own and a child of the child."""

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        sleep = "import time; time.sleep(600)"
        child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}])"
        subprocess.Popen([sys.executable, "-c", child])
        time.sleep(600)
        return {}


class MeasuresLong(Named):
    """Takes 10 ms for a step, so that a group is measured for a while."""

    def load(self, folder: Path, cell: Cell) -> Session:
        return StepSession(cell, lambda: time.sleep(0.01))


class MeasuresLonger(MeasuresLong):
    """A second member of the group."""
