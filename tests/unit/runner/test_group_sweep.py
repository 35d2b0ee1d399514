"""A sweep of a group: who is resident, who is awake, and what survives a member's failure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import MagicMock

import pytest

from evenbench.harness.core.plans import Plan
from evenbench.harness.environment import memory
from evenbench.harness.runner import group_sweep
from evenbench.harness.runner.group_sweep import GroupSweep, pin
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.resident_member import Member, Resident
from evenbench.harness.runner.sweep import Part
from evenbench.harness.runner.turn_rules import UntilPrecise
from tests.unit.builders import cell, plan

MIB = 2**20
FAILED = Reply(None, "failed", "sample", "sample was ended by SIGSEGV", signal="SIGSEGV")
KILLED = Reply(None, "failed", "load", "the kernel killed it", signal="SIGKILL")


@dataclass
class Machine:
    """The state of all workers: names in the order of events, and which are awake."""

    events: list[tuple[str, str]] = field(default_factory=list)
    awake: set[str] = field(default_factory=set)
    resident: set[str] = field(default_factory=set)


@dataclass
class ScriptedWorker:
    """A worker whose blocks take `ns`; it fails in the round `fails_in`, or to load."""

    name: str
    machine: Machine
    ns: float = 1e6
    fails_in: int | None = None
    load: list[Reply] = field(default_factory=list)
    """Replies of the first loads; afterwards loading works."""
    over_after: int = 10**9
    phases: int = 0
    process: Any = None
    rounds: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = MagicMock(timed_out=False)
        self.process.go.side_effect = lambda: self.machine.awake.add(self.name)
        self.process.stop.side_effect = lambda: self.machine.awake.discard(self.name)
        self.process.resident_bytes.return_value = 100 * MIB

    def advance(self) -> Any:
        """Two messages while loading: a phase, and the end."""
        assert self.name in self.machine.awake
        self.machine.events.append((f"{len(self.machine.awake)} awake", self.name))
        self.phases += 1
        if self.phases == 1:
            return None
        return self.load.pop(0) if self.load else {"loaded": True}

    def ask(self, command: Mapping[str, Any] | None = None) -> Any:
        assert self.machine.awake == {self.name}, "two processes run at once"
        if command is None:
            self.machine.events.append(("load", self.name))
            return self.load.pop(0) if self.load else {"ready": True}
        if command["do"] == "warm_up":
            self.machine.events.append(("warm up", self.name))
            return {"ready": True}
        number = command["number"]
        self.machine.events.append((f"turn {number}", self.name))
        if number == self.fails_in:
            return FAILED
        self.rounds.append(number)
        over = len(self.rounds) >= self.over_after
        times_ns = {"compute": self.ns, "host_to_host": self.ns}
        return {"times_ns": times_ns, "enough": number >= 4, "over": over, "stable": True}

    def finish(self) -> Reply:
        assert self.machine.awake == {self.name}
        turns = {"rounds": list(self.rounds), "untimed_laps": [1] * len(self.rounds)}
        return Reply({"interleaving": turns, "peak_rss_bytes": 200 * MIB})


class Bench:
    """Parts of a group, and the sweep over them."""

    def __init__(self, **workers: Mapping[str, Any]) -> None:
        self.machine = Machine()
        self.parts = {name: Part(cell(name)) for name in workers}
        self.workers = {
            name: ScriptedWorker(name, self.machine, **facts) for name, facts in workers.items()
        }

    @contextmanager
    def start(self, part: Part) -> Iterator[Resident]:
        name = part.cell.backend
        self.machine.awake.add(name)
        worker = self.workers[name]
        worker.rounds = []
        yield Resident(worker, advance=worker.advance)  # type: ignore[arg-type]

    def run(
        self, chosen: Plan | None = None, name: str = "2", slots: int = 1
    ) -> dict[str, list[Reply]]:
        sweep = GroupSweep(
            name,
            list(self.parts.values()),
            UntilPrecise(chosen or plan(most_rounds=8)),
            self.start,
            random.Random(0),
            slots=slots,
        )
        replies: dict[str, list[Reply]] = {part: [] for part in self.parts}
        for part, reply in sweep.run():
            replies[part.cell.backend].append(reply)
        return replies


def turns_of(replies: Mapping[str, list[Reply]], name: str) -> Mapping[str, Any]:
    (reply,) = replies[name]
    assert reply.value is not None, reply.reason
    turns: Mapping[str, Any] = reply.value["interleaving"]
    return turns


def test_all_members_are_loaded_first_and_one_is_awake_at_a_time() -> None:
    bench = Bench(product={}, twin={}, oneweight={})
    replies = bench.run()
    loads = [name for event, name in bench.machine.events if event == "load"]
    assert bench.machine.events[: len(loads)] == [("load", name) for name in loads]
    assert loads[0] == "product", "the reference comes first"
    assert sorted(loads) == ["oneweight", "product", "twin"]
    for name in bench.parts:
        turns = turns_of(replies, name)
        assert turns["sweep"] == "2"
        assert sorted(turns["members"]) == sorted(part.cell.id for part in bench.parts.values())
        assert turns["rounds"] == [0, 1, 2, 3, 4], "five rounds are enough"


@pytest.mark.parametrize("dies", [False, True])
def test_members_load_two_at_a_time_and_warm_up_one_by_one(
    dies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_sweep, "first_to_speak", lambda processes, deadline: processes[-1])
    bench = Bench(product={}, twin={"load": [FAILED] if dies else []}, oneweight={})
    for name, seconds in (("product", 2.0), ("twin", 1.0), ("oneweight", 3.0)):
        bench.parts[name].processes.append({"cold_start_seconds": seconds, "peak_rss_bytes": MIB})
    replies = bench.run(slots=2)
    loading = [event for event in bench.machine.events if event[0].endswith("awake")]
    assert [name for _, name in loading] == ["product"] * 2 + ["twin"] * 2 + ["oneweight"] * 2
    assert [awake for awake, _ in loading] == ["2 awake"] * 4 + ["1 awake"] * 2
    warm = [name for event, name in bench.machine.events if event == "warm up"]
    assert warm[0] == "product", "the reference comes first, whoever loaded first"
    assert sorted(warm) == sorted({"product", "twin", "oneweight"} - ({"twin"} if dies else set()))
    assert replies["twin"] == [FAILED] if dies else turns_of(replies, "twin")
    assert turns_of(replies, "product")["rounds"] == [0, 1, 2, 3, 4]


def test_a_process_that_hangs_while_loading_is_asked_at_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_sweep, "first_to_speak", lambda processes, deadline: None)
    bench = Bench(product={}, twin={"load": [FAILED]})
    assert bench.run(slots=2)["twin"] == [FAILED]


def test_rounds_go_on_until_ratios_are_precise_and_precise_members_leave() -> None:
    bench = Bench(product={}, twin={}, oneweight={"ns": 3e6})
    noisy, times = bench.workers["twin"], iter([1e6, 2e6] * 50)
    original = noisy.ask

    def ask(command: Mapping[str, Any] | None = None) -> Any:
        if command:
            noisy.ns = next(times)
        return original(command)

    noisy.ask = ask  # type: ignore[method-assign]
    replies = bench.run(plan(half_width=0.03, most_rounds=12))
    assert turns_of(replies, "oneweight")["rounds"] == [0, 1, 2, 3, 4]
    assert turns_of(replies, "twin")["rounds"] == list(range(12))
    assert turns_of(replies, "product")["rounds"] == list(range(12)), "the reference stays"


def test_a_reference_out_of_time_ends_the_sweep_at_the_minimum() -> None:
    bench = Bench(product={"over_after": 3}, twin={})
    replies = bench.run(plan(half_width=1e-9, most_rounds=50))
    assert turns_of(replies, "twin")["rounds"] == [0, 1, 2, 3, 4]


def test_a_member_that_dies_leaves_the_rounds_of_the_others() -> None:
    bench = Bench(product={}, twin={"fails_in": 2}, oneweight={})
    replies = bench.run()
    assert replies["twin"] == [FAILED]
    for name in ("product", "oneweight"):
        assert turns_of(replies, name)["rounds"] == [0, 1, 2, 3, 4]


def test_a_reference_that_dies_leaves_the_others() -> None:
    bench = Bench(product={"fails_in": 0}, twin={}, oneweight={})
    replies = bench.run()
    assert replies["product"] == [FAILED]
    assert turns_of(replies, "twin")["rounds"] == turns_of(replies, "oneweight")["rounds"]


def test_a_single_member_has_no_turns_on_record() -> None:
    bench = Bench(product={})
    (reply,) = bench.run()["product"]
    assert reply.value is not None
    assert reply.value["interleaving"] is None


def test_a_group_beyond_the_memory_is_split_with_the_reference_in_each_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 120 * MIB)
    monkeypatch.setattr(memory, "total_bytes", lambda: 1000 * MIB)
    bench = Bench(product={}, twin={}, oneweight={})
    bench.parts["twin"].processes.append({"peak_rss_bytes": 30 * MIB})
    bench.parts["oneweight"].processes.append({"peak_rss_bytes": 30 * MIB})
    replies = bench.run()
    sweeps = [reply.value["interleaving"]["sweep"] for reply in replies["product"] if reply.value]
    assert sweeps == ["2", "2.1"]
    others = sorted(turns_of(replies, name)["sweep"] for name in ("twin", "oneweight"))
    assert others == ["2", "2.1"]
    for name in ("twin", "oneweight"):
        assert bench.parts["product"].cell.id in turns_of(replies, name)["members"]


def test_a_group_beyond_the_memory_of_the_device_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process takes 30 of 100 MiB: three would leave less than a process and the reserve."""
    bench = Bench(product={}, twin={}, oneweight={})

    def free(device: str) -> tuple[int, int]:
        loads = sum(event == "load" for event, _ in bench.machine.events)
        return (100 - 30 * (loads % 3)) * MIB, 100 * MIB

    monkeypatch.setattr("evenbench.harness.environment.gpu.memory_bytes", free)
    replies = bench.run()
    others = sorted(turns_of(replies, name)["sweep"] for name in ("twin", "oneweight"))
    assert others == ["2", "2.1"]


def test_a_member_killed_beside_others_is_tried_once_more_beside_the_reference() -> None:
    bench = Bench(product={}, twin={"load": [KILLED]}, oneweight={})
    replies = bench.run()
    assert turns_of(replies, "twin")["sweep"] == "2.1"
    assert len(turns_of(replies, "twin")["members"]) == 2
    again = Bench(product={}, twin={"load": [KILLED, KILLED]}, oneweight={})
    assert again.run()["twin"] == [KILLED]


def test_members_share_random_cores_if_the_cells_leave_some_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3})
    pinned: set[tuple[int, ...]] = set()
    for seed in range(20):
        bench = Bench(product={}, twin={})
        members = [
            Member(part, Resident(bench.workers[name]))  # type: ignore[arg-type]
            for name, part in bench.parts.items()
        ]
        (core,) = pin(members, random.Random(seed))
        for worker in bench.workers.values():
            worker.process.keep_to.assert_called_once_with([core])
        pinned.add((core,))
    assert len(pinned) > 1, "the same core in every sweep"


@pytest.mark.parametrize(("cores", "names"), [(1, "product twin"), (4, "product")])
def test_nobody_is_pinned_without_free_cores_or_without_others(
    cores: int, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)))
    bench = Bench(**{name: {} for name in names.split()})
    members = [
        Member(part, Resident(bench.workers[name]))  # type: ignore[arg-type]
        for name, part in bench.parts.items()
    ]
    assert pin(members, random.Random(0)) == []


def test_a_refused_member_is_not_tried_again() -> None:
    refused = Reply(None, "unsupported", "load", "no such operator")
    bench = Bench(product={}, twin={"load": [refused]}, oneweight={})
    assert bench.run()["twin"] == [refused]
    assert [event for event in bench.machine.events if event == ("load", "twin")] == [
        ("load", "twin")
    ]


def test_a_group_of_refusals_has_no_round() -> None:
    refused = Reply(None, "unsupported", "load", "no such operator")
    bench = Bench(product={"load": [refused]}, twin={"load": [refused]})
    assert bench.run() == {"product": [refused], "twin": [refused]}
