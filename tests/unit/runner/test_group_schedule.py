"""Which group is swept next: the fewest sweeps of all groups first, then the widest ratio."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any, cast

import pytest

from evenbench.harness.core import registry
from evenbench.harness.core.plans import Plan
from evenbench.harness.runner import standing
from evenbench.harness.runner.group_schedule import WIDE, GroupSchedule
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.part_groups import PartGroup, groups_of
from evenbench.harness.runner.prepared import Prepared
from evenbench.harness.runner.sweep import Part
from tests.unit.builders import cell, plan

PRECISE = plan(processes=3, most_processes=8, half_width=0.03)
BASELINE = next(row.name for row in registry.rows().values() if row.baseline)


def process(sweep: int, *times_ns: float) -> dict[str, Any]:
    """The record of a process with one lap per round."""
    number = len(times_ns)
    return {
        "samples_ns": {"compute": list(times_ns)},
        "blocks": {"compute": [{"laps": 1}] * number},
        "interleaving": {"sweep": str(sweep), "rounds": list(range(number))},
    }


def part(backend: str, *levels_ns: float, batch: int = 1) -> Part:
    """A part with a process per level, five rounds each."""
    processes = [process(sweep, *[level] * 5) for sweep, level in enumerate(levels_ns)]
    return Part(cell(backend, batch=batch), cast("Prepared", object()), processes)


def schedule(*groups: list[Part], chosen: Plan = PRECISE) -> GroupSchedule:
    listed = [PartGroup(str(number), parts) for number, parts in enumerate(groups)]
    return GroupSchedule(listed, chosen, random.Random(0))


def names(step: tuple[PartGroup, list[Part]] | None) -> tuple[str, list[str]] | None:
    return step and (step[0].name, [member.cell.backend for member in step[1]])


def test_groups_share_all_axes_but_the_backend() -> None:
    parts = [Part(cell("product")), Part(cell("twin")), Part(cell("twin", batch=2))]
    assert [len(group.parts) for group in groups_of(parts)] == [2, 1]


def test_cells_with_requests_in_flight_stay_apart() -> None:
    parts = [
        Part(cell("product", options=(("hint", "throughput"), ("streams", number))))
        for number in (1, 2)
    ]
    assert [len(group.parts) for group in groups_of(parts)] == [1, 1]


def test_every_group_gets_a_first_sweep_however_short_the_budget() -> None:
    due = schedule([part(BASELINE), part("ort")], [part("ort", 1.0, 1.0)])
    assert names(due.next(0.0)) == ("0", [BASELINE, "ort"])


def test_the_least_swept_group_is_next_until_all_have_the_minimum() -> None:
    due = schedule(
        [part(BASELINE, 2.0, 2.0, 2.0), part("ort", 1.0, 1.0, 1.0)],
        [part(BASELINE, 2.0, 2.0), part("ort", 1.0, 1.0)],
    )
    assert names(due.next(math.inf)) == ("1", [BASELINE, "ort"])


def test_a_cell_that_lacks_a_process_is_swept_with_the_reference_only() -> None:
    due = schedule(
        [part(BASELINE, 2.0, 2.0, 2.0), part("ort", 1.0, 1.0), part("openvino", 1, 1, 1)]
    )
    assert names(due.next(math.inf)) == ("0", [BASELINE, "ort"])


def test_further_sweeps_go_to_the_widest_ratio_and_leave_decided_cells_out() -> None:
    due = schedule(
        [part(BASELINE, 2.0, 2.0, 2.0), part("ort", 1.0, 1.001, 1.0)],
        [
            part(BASELINE, 2.0, 2.0, 2.0),
            part("ort", 1.0, 1.1, 1.0),
            part("openvino", 1.5, 1.5, 1.501),
        ],
    )
    assert names(due.next(math.inf)) == ("1", [BASELINE, "ort"])
    assert due.is_finished(due.groups[0])
    assert not due.is_finished(due.groups[1])


def test_a_close_race_between_front_runners_counts_besides_the_baseline() -> None:
    """Both are precise against the baseline of many sweeps, but not against each other."""
    quiet = [10.0] * 3
    due = schedule(
        [part(BASELINE, *quiet), part("ort", 1.0, 1.02, 1.0), part("openvino", 1.01, 1, 1.02)]
    )
    races = [(race.slower.cell.backend, race.faster.cell.backend) for race in due.races()]
    assert (BASELINE, "ort") in races
    assert {("openvino", "ort"), ("ort", "openvino")} & set(races)


def test_a_decided_race_is_no_further_ratio() -> None:
    due = schedule(
        [part(BASELINE, 9, 9, 9), part("ort", 1.0, 1.001, 1.0), part("openvino", 3, 3, 3.003)]
    )
    races = [(race.slower.cell.backend, race.faster.cell.backend) for race in due.races()]
    assert sorted(races) == sorted([(BASELINE, "ort"), (BASELINE, "openvino")])


def test_a_sweep_that_does_not_fit_the_budget_is_not_begun() -> None:
    due = schedule([part(BASELINE, 2.0, 2.0), part("ort", 1.0, 1.3)])
    due.groups[0].seconds.append(10.0)
    assert due.next(9.0) is None
    assert names(due.next(11.0)) == ("0", [BASELINE, "ort"])


def test_the_process_limit_ends_a_group() -> None:
    noisy = [1.0, 1.4, 1.1, 1.3] * 2
    due = schedule([part(BASELINE, *[2.0] * 8), part("ort", *noisy)])
    assert due.next(math.inf) is None
    assert due.is_finished(due.groups[0])


def test_a_failed_baseline_is_no_reference() -> None:
    parts = [part(BASELINE, 2.0), part("ort", 1.0), part("openvino", 0.5)]
    parts[0].ended = Reply(None, "failed", "sample", "it crashed")
    due = schedule(parts)
    assert names(due.next(math.inf)) == ("0", ["openvino", "ort"])


def test_predictions_shrink_with_the_square_root_of_sweeps() -> None:
    due = schedule([part(BASELINE, 2.0, 2.0, 2.0, 2.0), part("ort", 1.0, 1.3, 1.0, 1.3)])
    (race,) = due.undecided()
    expected = math.ceil(4 * (race.half_width / 0.03) ** 2) - 4
    assert due.sweeps_left(due.undecided()) == {"0": expected}
    assert due.seconds_left() is None
    due.groups[0].seconds.append(5.0)
    due.next(math.inf)
    assert due.seconds_left() == 5.0 * min(expected, 8 - 4)


@pytest.mark.parametrize(
    ("levels", "half_width", "due"),
    [
        ((1.0, 1.015, 1.03), "sufficient", True),
        ((1.0, 1.03, 1.06), "insufficient", False),
        ((1.0, 1.3, 1.1), "wide", True),
    ],
)
def test_a_decided_ratio_is_due_while_sweeps_suffice_or_it_is_wide(
    levels: tuple[float, ...], half_width: str, due: bool
) -> None:
    made = schedule([part(BASELINE, 9.0, 9.0, 9.0), part("ort", *levels)])
    (race,) = made.undecided()
    after = race.half_width_after(PRECISE.process_limit)
    kind = "wide" if race.half_width > WIDE else "sufficient" if after <= 0.03 else "insufficient"
    assert (kind, race.is_close) == (half_width, False)
    assert (made.due() == [race], made.is_finished(made.groups[0])) == (due, not due)
    assert (made.next(math.inf) is not None) == due


def test_a_resumed_group_goes_on_after_its_last_sweep() -> None:
    resumed = part("ort")
    resumed.processes = [process(0, 1.0), process(4, 1.0)]
    assert PartGroup("g", [resumed]).sweeps == 5


def test_the_resolution_names_the_widest_ratio_and_what_would_resolve_it() -> None:
    due = schedule(
        [
            part(BASELINE, *[2.0] * 4),
            part("ort", 1.0, 1.05, 1.0, 1.05),
            part("openvino", *[1.5] * 4),
        ]
    )
    due.groups[0].seconds.append(60.0)
    text = standing.resolution(due)
    assert text.startswith("1 of 2 ratios within ±3 %; widest ±")
    assert f"ort over {BASELINE}, 0" in text
    assert "more sweeps" in text
    quick = replace(PRECISE, half_width=math.inf)
    assert standing.resolution(schedule([part(BASELINE, 1.0)], chosen=quick)) == ""


@pytest.mark.parametrize(
    ("sweeps", "budget", "flags"),
    [
        (8, 60.0, "--budget 3m"),
        (12, math.inf, "--half-width 3%"),
        (12, 60.0, "--half-width 3% --budget 3m"),
        (30, math.inf, "--plan thorough --half-width 3%"),
        (31, math.inf, "a quieter machine"),
    ],
)
def test_the_remedy_names_flags_that_allow_the_missing_sweeps(
    sweeps: int, budget: float, flags: str
) -> None:
    due = schedule([part(BASELINE, 1.0)], chosen=replace(PRECISE, budget_seconds=budget))
    assert standing._flags(due, sweeps, 100.0) == flags


@pytest.mark.parametrize(
    ("half", "text"), [(0.01, "±1 %"), (0.0296, "±3 %"), (math.inf, "unknown")]
)
def test_half_widths_are_percentages(half: float, text: str) -> None:
    assert standing.percent(half) == text


def test_the_standing_ranks_the_group_so_far() -> None:
    due = schedule(
        [part(BASELINE, 2.0, 2.0, 2.01), part("ort", 1, 1, 1), part("openvino", 4, 4, 4)]
    )
    text = standing.of(due.groups[0], due)
    assert text.startswith("; so far ort 2x, openvino 0.501x of ")
    assert BASELINE in text
    assert ", widest ±" in text


def test_controls_run_no_race() -> None:
    due = schedule([part(BASELINE, 2, 2, 2), part("ort", 1, 1, 1.001), part("null", 5, 9, 7)])
    assert [race.faster.cell.backend for race in due.races()] == ["ort"]
    assert due.is_finished(due.groups[0])
    assert "null" not in standing.of(due.groups[0], due)


def test_an_open_race_comes_before_a_wide_decided_one() -> None:
    due = schedule(
        [part(BASELINE, 9.0, 9.0, 9.0), part("ort", 1.0, 1.3, 1.1)],
        [part(BASELINE, 2.0, 2.0, 2.0), part("ort", 2.0, 2.1, 2.0)],
    )
    wide, close = due.races()
    assert wide.half_width > close.half_width > PRECISE.half_width
    assert (wide.is_close, close.is_close) == (False, True)
    step = due.next(math.inf)
    assert step is not None
    assert step[0].name == "1"


def test_ratios_are_computed_once_until_a_process_is_added_or_a_part_fails() -> None:
    due = schedule([part(BASELINE, 2, 2, 2), part("ort", 1, 1, 1.001), part("openvino", 1, 1, 1)])
    first, times = due.races(), due.groups[0].times
    assert due.races() is first
    assert due.groups[0].times is times
    due.groups[0].parts[1].processes.append(process(3, *[5.0] * 5))
    assert due.races() is not first
    again = due.races()
    due.groups[0].parts[1].ended = Reply(None, "failed", "sample", "it crashed")
    assert len(due.races()) < len(again)


def test_a_cell_and_its_other_side_are_a_race_whatever_the_baseline() -> None:
    base, here, there = part(BASELINE, 9, 9, 9), part("ort", 3, 3, 3), part("ort@1.24.1", 6, 6, 6)
    there.beside = here.cell.key
    races = [
        (race.slower.cell.backend, race.faster.cell.backend)
        for race in schedule([base, here, there]).races()
    ]
    assert sorted(races) == sorted(
        [(BASELINE, "ort"), (BASELINE, "ort@1.24.1"), ("ort@1.24.1", "ort")]
    )


def test_the_baseline_of_another_side_is_no_reference() -> None:
    here, there = part(BASELINE, 9, 9, 9), part(f"{BASELINE}@2.1", 6, 6, 6)
    there.beside = here.cell.key
    assert PartGroup("", [there, here]).reference is here
