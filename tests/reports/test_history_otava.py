"""Apache Otava as the detector of `evenbench history`, for real: in an environment of its own, as
its extra asks for it.
"""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from test_history import CELLS, past, slower

from evenbench.harness import cli
from evenbench.harness.core.errors import UsageError
from evenbench.harness.environment import installers
from evenbench.harness.statistics import change_points

ROOT = Path(__file__).parents[2]


def asked_for(extra):
    """What `evenbench[extra]` asks for, by pyproject.toml as it is, and not as it was when
    something was installed.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [
        str(Requirement(each))
        for each in project["dependencies"] + project["optional-dependencies"][extra]
    ]


@pytest.mark.slow
def test_otava_finds_the_step_that_asv_finds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    past.write(tmp_path / "results", 30, CELLS, slower)
    installer = installers.find()
    (tmp_path / "pinned.txt").write_text("\n".join(installer.resolve(asked_for("otava"))))
    installer.install(tmp_path / "environment", tmp_path / "pinned.txt")

    def told(*arguments):
        program = [
            str(tmp_path / "environment" / "bin" / "python"),
            "-m",
            "evenbench.harness.cli",
            "history",
            "--json",
            *arguments,
        ]
        ran = subprocess.run(
            program, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
        )
        return ran.returncode, json.loads(ran.stdout) if ran.stdout else ran.stderr

    code, by_otava = told("--detector", "otava")
    assert (code, by_otava["detector"]) == (1, "otava"), by_otava
    assert cli.main(["history", "--json"]) == 1
    by_asv = json.loads(capsys.readouterr().out)
    assert by_asv["detector"] == "asv"
    (alarm,), (same,) = by_otava["alarms"], by_asv["alarms"]
    for name in ("cell", "metric", "kind", "commit_before", "commit", "points"):
        assert alarm[name] == same[name]
    assert alarm["ratio"] == pytest.approx(same["ratio"], rel=0.005)
    code, words = told()
    assert (code, "pip install 'evenbench[asv]'" in words) == (4, True), (
        "asv is not in that environment"
    )


def test_a_detector_that_is_not_installed_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "otava.analysis", None)
    with pytest.raises(UsageError, match=r"separate environment.*evenbench\[otava\]"):
        change_points.levels([1.0] * 9, "otava")
