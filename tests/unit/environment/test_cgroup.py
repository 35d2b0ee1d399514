"""The control groups of a process: version 1, version 2, nested, and within a container."""

from __future__ import annotations

from pathlib import Path

from evenbench.harness.environment import cgroup


def listed(tmp_path: Path, membership: str, *folders: str) -> list[str]:
    """The groups of controller `cpu`, relative to the root."""
    root = tmp_path / "cgroup"
    for folder in folders:
        (root / folder).mkdir(parents=True)
    (tmp_path / "membership").write_text(membership)
    groups = cgroup.groups("cpu", root, tmp_path / "membership")
    return [group.relative_to(root).as_posix() for group in groups]


def test_nested_groups_of_version_2(tmp_path: Path) -> None:
    assert listed(tmp_path, "0::/slice/job\n", "slice/job") == ["slice/job", "slice", "."]


def test_a_group_of_version_1_lies_below_its_controller(tmp_path: Path) -> None:
    membership = "5:memory:/other\n4:cpu,cpuacct:/job\n0::/\n"
    assert listed(tmp_path, membership, "cpu,cpuacct/job") == [
        "cpu,cpuacct/job",
        "cpu,cpuacct",
        ".",
    ]
    assert listed(tmp_path, "4:cpu,cpuacct:/job\n", "cpu/job") == ["cpu/job", "cpu"]


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    assert listed(tmp_path, "4:cpu:/docker/0123abc\n", "cpu") == ["cpu"]
    assert listed(tmp_path, "4:cpu:/docker/0123abc/inner\n", "cpu/inner") == ["cpu/inner", "cpu"]


def test_without_a_listing_both_roots_count(tmp_path: Path) -> None:
    assert cgroup.groups("cpu", tmp_path, tmp_path / "absent") == [tmp_path, tmp_path / "cpu"]
