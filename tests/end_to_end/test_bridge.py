"""`evenbench upgrade` for real, on a runtime whose two releases are two environments that somebody
made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import work
from conftest import HERE, variables
from test_compare import BENCH

from evenbench.harness.environment import environment_names


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.alone
def test_an_upgrade_is_measured_in_pairs_and_recorded_as_a_bridge(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "bench_work.py").write_text(BENCH)
    source = (HERE / "work.py").read_text()
    (tmp_path / "work.py").write_text(
        source.replace(
            '    name = "work"\n', '    name = "work"\n    distributions = ("worker-runtime",)\n'
        )
    )
    files = [tmp_path / f"{version}.json" for version in ("1.0", "2.0")]
    for file in files:
        file.write_text(json.dumps({"requirements": {"worker-runtime": file.stem}}))
    given = {environment_names.variable_of(version): sys.executable for version in ("1.0", "2.0")}
    environment = {
        **variables(tmp_path),
        "EVENBENCH_BACKENDS": work.BACKENDS,
        "PYTHONPATH": str(HERE.parent.parent),
        **given,
    }
    words = ["bridge", *map(str, files), "--plan", "quick", "--pairs", "8", "--results", "results"]
    command = [sys.executable, "-m", "evenbench.harness.cli", *words]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (
        "worker-runtime 1.0 to 2.0: evenbench compare work@1.0 work@2.0 benchmarks --cell "
        in done.stdout
    ), done.stderr
    (file,) = (tmp_path / "results").glob("compare-*.json")
    found = json.loads(file.read_text())
    assert found["bridge"] == {"from": {"worker-runtime": "1.0"}, "to": {"worker-runtime": "2.0"}}
    assert (found["base"], found["head"]) == ("work@1.0", "work@2.0")
    cells = [cell for cell in found["cells"] if not cell["control"]]
    assert [(cell["failure"], len(cell["pairs"])) for cell in cells] == [("", 8)], done.stdout
    assert cells[0]["cell"] == "work-work-fp32-cpu-b1-t1", (
        "as recorded results name it, so that a history joins the two"
    )
    assert cells[0]["metrics"]["artifact"]["verdict"] == "equivalent"
    assert done.returncode == found["exit"]
