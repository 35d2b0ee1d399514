"""A user's repository with the parts of a network in several places, and a commit per part that
makes the network three times as slow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import mynet_runtime
from conftest import HERE, REPOSITORY, variables
from test_compare import git

from tests.unit.runner.test_module_origins import install

CELL = "net-matrices-fp32-cpu-b1"
PACKAGE = "src/mynet"
FILES = {
    "benchmarks/network.py": """
from importlib import resources
import numpy as np
import helper
from mynet import layers
TIMES = 1
def build():
    count = int((resources.files("mynet") / "count.txt").read_text())
    count *= TIMES * helper.TIMES * layers.TIMES
    return np.random.default_rng(0).standard_normal((count, 512, 512)) / 16
""",
    "benchmarks/helper.py": "TIMES = 1\n",
    f"{PACKAGE}/__init__.py": "",
    f"{PACKAGE}/layers.py": "TIMES = 1\n",
    f"{PACKAGE}/count.txt": "2",
    "benchmarks/bench_net.py": """
from harness import BATCH, Case, Model, TensorSpec
SPEC = (BATCH, 512)
NET = Model("net", "network.py:build", (TensorSpec("x", SPEC),), (TensorSpec("y", SPEC),),
            inputs_from="harness.inputs:standard_normal", task="regression")
latency = Case((NET,), backends=("matrices",), threads=(1,))
""",
    "pyproject.toml": '[project]\nname = "mynet"\nversion = "1.0"\n',
}
CHANGES = {
    "base": ("README.md", "", "words"),
    "unchanged": ("README.md", "words", "other words"),
    "model": ("benchmarks/network.py", "TIMES = 1", "TIMES = 3"),
    "helper": ("benchmarks/helper.py", "TIMES = 1", "TIMES = 3"),
    "package": (f"{PACKAGE}/layers.py", "TIMES = 1", "TIMES = 3"),
    "data": (f"{PACKAGE}/count.txt", "2", "6"),
}
"""What each commit changes: nothing that counts, or three times the layers. Every slow commit
follows `unchanged`, and `unchanged` follows `base`.
"""
SLOW = tuple(CHANGES)[2:]
ORIGINS = {name for name in FILES if name.endswith(".py") and "bench_net" not in name}
"""The files of the modules that a build imports."""


def repository(folder: Path) -> Path:
    """The repository with a tag per commit of `CHANGES`."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".gitignore").write_text("__pycache__/\nresults/\n")
    (folder / "README.md").touch()
    git(folder, "init", "-q", "-b", "main")
    for commit, (name, old, new) in CHANGES.items():
        if commit in SLOW:
            git(folder, "checkout", "-q", "unchanged")
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(old, new, 1) if old else new)
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", commit)
        git(folder, "tag", commit)
    git(folder, "checkout", "-q", "main")
    return folder


def python_with(how: str, project: Path, folder: Path) -> Path:
    """A virtual environment with the project as `pip install .` or `pip install -e .` leaves it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "outer.pth").write_text(sysconfig.get_path("purelib"))
    if how == "editable":
        (site / "mynet.pth").write_text(str(project / "src"))
    else:
        shutil.copytree(project / PACKAGE, site / "mynet")
        install(site, project)
    return folder / "bin" / "python"


def run(python: Path, project: Path, where: str, tmp_path: Path, *words: str) -> Any:
    path = os.pathsep.join([str(REPOSITORY), str(HERE)])
    more = {"EVENBENCH_BACKENDS": mynet_runtime.BACKENDS, "PYTHONPATH": path}
    return subprocess.run(
        [str(python), *words],
        cwd=project / where,
        env={**variables(tmp_path), **more},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
