"""Available memory is that of the machine, or what the control group leaves."""

from __future__ import annotations

from pathlib import Path

import psutil

from evenbench.harness.environment import memory

GIB = 2**30


def cgroup(folder: Path, limit: str, used: int, inactive: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon {used - inactive}\ninactive_file {inactive}\n")
    return folder


def test_a_control_group_limits_both(tmp_path: Path) -> None:
    limited = cgroup(tmp_path, str(GIB), GIB // 2, GIB // 8)
    assert memory.total_bytes([limited]) == GIB
    assert memory.available_bytes([limited]) == GIB - GIB // 2 + GIB // 8


def test_a_control_group_of_version_1_limits_both(tmp_path: Path) -> None:
    (tmp_path / "memory.limit_in_bytes").write_text(f"{GIB}\n")
    (tmp_path / "memory.usage_in_bytes").write_text(f"{GIB // 2}\n")
    stat = f"inactive_file 1\ntotal_inactive_file {GIB // 8}\n"
    (tmp_path / "memory.stat").write_text(stat)
    assert memory.total_bytes([tmp_path]) == GIB
    assert memory.available_bytes([tmp_path]) == GIB - GIB // 2 + GIB // 8
    (tmp_path / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory.total_bytes([tmp_path]) == psutil.virtual_memory().total
    assert memory.available_bytes([tmp_path]) <= psutil.virtual_memory().total


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    free = cgroup(tmp_path, "max", GIB, 0)
    for folder in (free, tmp_path / "absent"):
        assert memory.total_bytes([folder]) == psutil.virtual_memory().total
        assert 0 < memory.available_bytes([folder]) <= psutil.virtual_memory().total
