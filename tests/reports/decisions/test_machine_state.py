"""A busy machine is said first, and a ratio without evidence is not judged."""

import io

import synthetic
from rich.console import Console

from evenbench.reports import result_groups, verdict
from evenbench.reports.terminal import outcomes

STEADY, LOOSE = (9.0e6, 9.1e6, 8.9e6), (2.0e6, 40.0e6, 9.0e6)
BASE = (20.0e6, 20.1e6, 19.9e6)


def cell(backend, times, foreign=0.0, threads=2, cores=2):
    """A cell during which other processes used `foreign` cores."""
    made = synthetic.record(backend=backend, process_ns=times)
    made["cell"]["threads"] = threads
    made["environment"] = {**(made.get("environment") or {}), "cores": cores}
    for processes in made["blocks"].values():
        for process in processes:
            for block in process:
                block["machine_cpu_ns"] = block["cpu_ns"] + int(foreign * block["wall_ns"])
    return made


def group(*lines):
    (only,) = result_groups.groups(result_groups.results(lines))
    return only


def speedup_of(made, name="ort"):
    result = next(result for result in made.results if result.name == name)
    return verdict.speedup_texts(made, result)[0], verdict.stand(made, result)


def test_a_busy_machine_with_agreeing_processes_is_judged_and_said():
    made = group(cell("torch-eager", BASE, 1.7), cell("ort", STEADY, 1.6))
    assert speedup_of(made)[1] == "faster than torch-eager"
    assert verdict.machine_words([made]) == (
        "The machine was busy: other processes used 1.6 to 1.7 cores while 2 of 2 cells were timed."
    )


def test_processes_that_disagree_on_a_busy_machine_are_not_judged():
    made = group(cell("torch-eager", BASE, 1.7), cell("ort", LOOSE, 1.6))
    assert speedup_of(made) == (
        "not judged",
        "not judged: other processes used 1.7 cores, and the processes disagree",
    )
    assert verdict.tone(made, made.ranked[0]) != verdict.FASTER
    assert "1 comparison is not judged" in verdict.machine_words([made])


def test_one_process_on_a_busy_machine_has_no_speedup():
    made = group(cell("torch-eager", BASE[:1], 1.7), cell("ort", STEADY[:1], 1.6))
    assert speedup_of(made) == (
        "not judged",
        "not judged: other processes used 1.7 cores, and 1 process cannot show their share",
    )
    assert "not judged" in verdict.judge(made).words


def test_free_cores_for_every_thread_are_a_quiet_machine():
    lines = [
        cell(name, times[:1], 1.7, cores=8)
        for name, times in (("torch-eager", BASE), ("ort", STEADY))
    ]
    made = group(*lines)
    assert speedup_of(made)[0] == "2.21×"
    assert verdict.machine_words([made]) == ""


def test_withheld_comparisons_leave_every_cell_among_the_fastest():
    """A slower cell cannot be excluded by a ratio that does not count."""
    made = group(cell("torch-eager", BASE, 1.7), cell("ort", LOOSE, 1.6))
    assert {result.name for result in made.fastest} == {"torch-eager", "ort"}


def test_the_terminal_says_so_under_the_table():
    written = io.StringIO()
    lines = [cell("torch-eager", BASE[:1], 1.7), cell("ort", STEADY[:1], 1.6)]
    outcomes.show(lines, Console(file=written, width=200))
    assert "The machine was busy: other processes used 1.6 to 1.7 cores" in written.getvalue()


def test_lines_without_blocks_are_of_an_unknown_machine():
    made = synthetic.record(backend="ort")
    made.pop("blocks")
    (result,) = result_groups.results([made])
    assert result.busy_cores == 0.0
