"""The tables of `make aa-run`: counted right, and the page shows those of the record."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenbench.harness.core import registry
from evenbench.harness.core.types import COMPUTE, to_json
from evenbench.harness.statistics.group_verdicts import EQUIVALENT, FASTER, INCONCLUSIVE, SLOWER
from tests.performance import (
    bench_gate,
    bench_groups,
    bench_record,
    group_records,
    group_tables,
    workloads,
)
from tests.performance.bench_groups import WORKLOADS, Kind
from tests.performance.group_records import Pair

ROUNDS = 12


def outcome(rng: np.random.Generator, log: float, sweeps: int, spread: float) -> dict[str, Any]:
    """A result line of a cell around 5 ms, `log` slower, two laps per block."""
    levels = [5e6 * math.exp(log + spread * rng.standard_normal()) for _ in range(sweeps)]
    laps = [[int(t * math.exp(0.002 * rng.standard_normal())) for _ in range(24)] for t in levels]
    return {
        "samples_ns": {COMPUTE: laps},
        "blocks": {COMPUTE: [[{"laps": 2}] * ROUNDS] * sweeps},
        "interleaving": [
            {"sweep": str(sweep), "rounds": list(range(ROUNDS))} for sweep in range(sweeps)
        ],
    }


def line(effect: float = 0.0, seed: int = 0, spread: float = 0.004, **more: Any) -> dict[str, Any]:
    """A line of the record, of three sweeps."""
    rng = np.random.default_rng(seed)
    kind = Kind(WORKLOADS[0], bench_gate.QUIET, effect, 1)
    logs = [0.0, 0.0, 0.0, math.log1p(effect)]
    lines = {
        name: outcome(rng, log, 3, spread) for name, log in zip(kind.backends, logs, strict=True)
    }
    facts = {"date": "2026-01-01", "machine": "a CPU, 2 cores, Python 3.11.7", "load": 0.5}
    return {**bench_groups.line_of(kind, lines, seed, 12.0), **facts, **more}


def pair(word: str, truth: float = 0.0, within: float | None = None) -> Pair:
    return Pair("a", "b", truth, 0.01, 0.02, word, within)


@pytest.mark.parametrize(
    ("word", "truth", "within", "false", "right"),
    [
        (FASTER, 0.0, None, True, False),
        (SLOWER, 0.0, None, True, False),
        (INCONCLUSIVE, 0.0, None, False, False),
        (EQUIVALENT, 0.0, 0.01, False, False),
        (FASTER, 0.05, None, False, True),
        (SLOWER, 0.05, None, True, False),
        (SLOWER, -0.05, None, False, True),
        (EQUIVALENT, math.log1p(0.05), 0.04, True, False),
        (EQUIVALENT, math.log1p(0.05), 0.05, False, False),
    ],
)
def test_a_word_is_false_against_the_truth(
    word: str, truth: float, within: float | None, false: bool, right: bool
) -> None:
    judged = pair(word, truth, within)
    assert (judged.is_false, judged.is_right) == (false, right)


def test_an_interval_covers_the_truth_within_its_half_width() -> None:
    assert pair(INCONCLUSIVE).is_covered
    assert not pair(INCONCLUSIVE, truth=0.04).is_covered
    assert not Pair("a", "b", 0.0, 0.0, math.inf, INCONCLUSIVE).is_covered


def test_blocks_and_process_medians_are_kept_to_a_thousandth_of_a_percent() -> None:
    rng = np.random.default_rng(0)
    lines = {name: outcome(rng, 0.3, 4, 0.01) for name in ("x", "y")}
    packed = group_records.packed(lines)
    group = group_records.group_of(packed)
    assert list(group["x"]) == ["0", "1", "2", "3"]
    laps = lines["y"]["samples_ns"][COMPUTE][2]
    assert group["y"]["2"][5] == pytest.approx((laps[10] + laps[11]) / 2, rel=1e-5)
    level = math.exp(group_records.UNIT * packed["medians"]["y"]["2"]) * packed["level_ns"]
    assert level == pytest.approx(float(np.median(laps)), rel=1e-5)


def test_a_round_without_a_block_stays_out() -> None:
    kept = {"level_ns": 1000, "blocks": {"x": {"0": [0, None, 100]}}}
    assert list(group_records.group_of(kept)["x"]["0"]) == [0, 2]


def test_more_work_is_called_slower_by_both_rules_and_identical_cells_are_not() -> None:
    record = line(effect=0.3)
    (pairs,) = group_records.present([record])
    assert group_records.is_excluded(pairs, "gemm-x130")
    assert not any(pair.is_false for pair in pairs)
    assert [pair.is_right for pair in pairs if pair.truth] == [True] * 3
    assert group_records.is_excluded(group_records.former(record), "gemm-x130")
    assert not group_records.is_excluded(pairs, "gemm-a")


def test_the_former_rule_has_more_false_words_on_the_same_laps() -> None:
    lines = [line(seed=seed, spread=0.02) for seed in range(40)]
    now = sum(any(pair.is_false for pair in group_tables.alone(each)) for each in lines)
    before = sum(any(pair.is_false for pair in group_records.former(each)) for each in lines)
    assert now <= 4
    assert before > now
    table = group_tables.false_words(lines)
    assert f"| as found: all | 40 | {now} ({now / 40:.1%}) |" in table
    assert f"| {before} ({before / 40:.1%}) |" in table


def test_a_cell_without_a_sweep_in_common_has_no_word() -> None:
    record = line()
    (first, *_) = record["medians"]
    record["medians"][first] = {"9": 0}
    record["blocks"][first] = {"9": [0, 0]}
    words = [pair.word for pair in group_records.former(record) if first in (pair.first,)]
    assert words == [INCONCLUSIVE] * 3
    assert not any(pair.is_covered for pair in group_tables.alone(record) if pair.first == first)


def test_batches_are_of_one_condition_and_incomplete_batches_are_left_out() -> None:
    lines = [line(seed=seed) for seed in range(7)]
    lines += [line(seed=seed, condition="noisy neighbour") for seed in range(4)]
    table = group_tables.batches(lines)
    assert "| as found | 1 |" in table
    assert "noisy neighbour" not in table
    assert "| all of them | 2 |" in table


def test_power_counts_groups_and_pairs() -> None:
    table = group_tables.power([line(effect=0.3), line(effect=0.3, seed=1), line()])
    (row,) = table.splitlines()[2:]
    assert row.startswith("| as found: GEMM 128, numpy, 1 thread | 30% | 2 of 2 | 100% | 0 |")
    assert row.endswith("| 12 s |")


def test_only_surely_too_many_false_words_are_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line()] * 20
    assert not group_tables.is_alarm([])
    assert not group_tables.is_alarm(lines)
    monkeypatch.setattr(group_tables, "alone", lambda each: [pair(FASTER)])
    assert group_tables.is_alarm(lines)


def test_the_groups_are_those_that_are_promised() -> None:
    wanted = bench_groups.kinds(bench_groups.GROUPS, bench_groups.TRIALS)
    assert sum(kind.wanted for kind in wanted if not kind.effect) >= 200
    assert {kind.effect for kind in wanted} == {0.0, 0.02, 0.05, 0.1, 0.3}
    known = {row.partition("=")[0] for row in workloads.GROUP_BACKENDS.split(",")}
    assert {name for kind in wanted for name in kind.backends} <= known
    assert all(len(set(kind.backends)) == 4 for kind in wanted)


def test_identical_cells_share_an_artifact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(registry.VARIABLE, workloads.GROUP_BACKENDS)
    monkeypatch.setattr(registry, "rows", registry.rows.__wrapped__)
    monkeypatch.setattr(registry, "find", registry.find.__wrapped__)
    for workload in WORKLOADS:
        backends = [registry.find(name) for name in workload.identical]
        assert len({type(backend) for backend in backends}) == 1
        cells = [bench_groups.cell_of(name) for name in (*workload.identical, workload.more(0.3))]
        keys = [registry.find(cell.backend).artifact_key(cell) for cell in cells]
        assert all(key == keys[0] for key in keys)
        assert len({cell.group for cell in cells}) == 1


def test_a_record_says_how_much_is_to_come(tmp_path: Path) -> None:
    wanted = bench_groups.kinds(bench_groups.GROUPS, bench_groups.TRIALS)
    every = sum(kind.wanted for kind in wanted)
    assert f"1 groups of 4 cells; {every - 1} more are to come" in group_tables.heading([line()])
    assert group_tables.everything([]) == group_tables.NONE
    assert bench_record.read(tmp_path / "none.jsonl") == []


def test_a_fault_has_another_exit_code_than_an_alarm(tmp_path: Path) -> None:
    record = tmp_path / "groups.jsonl"
    command = [sys.executable, "-m", "tests.performance.bench_groups", "--minutes", "0"]
    command += ["--record", str(record)]
    codes = []
    for text in ("", '{"workload": "GEMM 128', json.dumps(to_json(line())) + "\n"):
        record.write_text(text)
        done = subprocess.run(command, cwd=group_tables.ROOT, capture_output=True, check=False)
        codes.append(done.returncode)
    assert codes == [0, 3, 0]


def test_the_page_shows_the_record() -> None:
    page = group_tables.page(bench_record.read(bench_groups.RECORD))
    assert group_tables.PAGE.read_text(encoding="utf-8") == page, (
        "docs/explanation/statistics.md does not show the record: run `make aa-run`"
    )
