"""`run --profile` and `evenbench profile`: own processes, a trace beside the page, a table."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HERE, REPOSITORY, Ran, Repository, variables

DECLARATION = 'latency = Case(models=(TINY,), backends=("tiny", "wrong", "late", "crash"))'


def evenbench(repository: Repository, *words: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "evenbench", *words],
        cwd=repository.folder,
        env=variables(repository.folder)
        | {"PYTHONPATH": os.pathsep.join(map(str, (HERE, REPOSITORY)))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(done.returncode, done.stdout + done.stderr)


def packed(page: str, name: str) -> list[dict]:
    text = re.search(rf'id="{name}">([^<]*)<', page)[1]
    return [json.loads(line) for line in gzip.decompress(base64.b64decode(text)).splitlines()]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Ran]:
    repository = Repository(tmp_path_factory.mktemp("profiled"))
    repository.write("benchmarks/bench_tiny.py", DECLARATION)
    done = evenbench(repository, "run", "--plan", "quick", "--profile", "-o", "site")
    return repository, done


def test_measured_cells_are_profiled_in_processes_of_their_own(ran: tuple[Repository, Ran]):
    repository, done = ran
    assert "profiles results/profiles" in done.text
    traces = [json.loads(file.read_text()) for file in traces_of(repository, "results")]
    assert [trace["otherData"]["cell"]["backend"] for trace in traces] == ["tiny", "wrong"]
    assert not re.search(r"no profile of tiny-(late|crash)", done.text), "they were not measured"
    profilers = {trace["otherData"]["profiler"] for trace in traces}
    assert len(profilers) == 2, "a process per profile"


def test_the_page_has_the_table_and_the_trace_beside_it(ran: tuple[Repository, Ran]):
    repository, _ = ran
    page = (repository.folder / "site" / "index.html").read_text()
    (tiny,) = (
        line["profile"] for line in packed(page, "cell-lines") if line["id"].startswith("tiny-tiny")
    )
    assert tiny["rows"] == [["MatMul", "1", "900\xa0ns", "100\xa0%"]]
    assert (repository.folder / "site" / tiny["trace"]).is_file()
    assert f'href="{tiny["trace"]}"' in page
    assert len(traces_of(repository, "site")) == 2


def test_a_cell_is_profiled_alone_without_a_new_outcome(ran: tuple[Repository, Ran]):
    repository, _ = ran
    before = repository.lines()
    done = evenbench(repository, "profile", "tiny-tiny-fp32-cpu-b1", "--json")
    facts = json.loads(done.text.splitlines()[0])
    assert done.code == 0
    assert facts["operators"] == [{"type": "MatMul", "calls": 1, "self_ns": 900.0}]
    assert Path(facts["trace"]).name in {file.name for file in traces_of(repository, "results")}
    assert repository.lines() == before


def test_a_runtime_without_profiler_says_so(ran: tuple[Repository, Ran]):
    done = evenbench(ran[0], "profile", "tiny-crash-fp32-cpu-b1")
    assert done.code == 1
    assert "no profile of tiny-crash-fp32-cpu-b1: crash has no profile per operator" in done.text


def traces_of(repository: Repository, folder: str) -> list[Path]:
    return sorted((repository.folder / folder / "profiles").glob("*.trace.json"))
