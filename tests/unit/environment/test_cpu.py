"""Cores that this process may use: the affinity mask, cut by the cgroup's quota."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evenbench.harness.environment import cpu


@pytest.fixture(autouse=True)
def asked_again() -> Iterator[None]:
    cpu.cores.cache_clear()
    yield
    cpu.cores.cache_clear()


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000\n", 0.0),
        ("150000 100000", 1.5),
        ("400000 100000", 4.0),
        ("50000 100000", 0.5),
        ("nonsense", 0.0),
        ("", 0.0),
    ],
)
def test_a_quota_is_read_in_cores(text: str, cores: float, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu.quota([tmp_path]) == cores


def test_no_file_is_no_quota(tmp_path: Path) -> None:
    assert cpu.quota([tmp_path / "absent"]) == 0.0


@pytest.mark.parametrize(("quota", "cores"), [("50000", 0.5), ("300000", 3.0), ("-1", 0.0)])
def test_a_quota_of_cgroup_v1_counts(quota: str, cores: float, tmp_path: Path) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.quota([tmp_path]) == cores


def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "cpu.max").write_text("max 100000\n")
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert cpu.quota([own, tmp_path]) == 2.0


@pytest.mark.parametrize(("quota", "cores"), [(0.0, 8), (1.5, 1), (0.5, 1), (3.0, 3), (64.0, 8)])
def test_cores_are_the_lesser_of_mask_and_quota_and_never_none(
    quota: float, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(cpu, "quota", lambda: quota)
    assert cpu.cores() == cores
