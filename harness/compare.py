"""`evenbench compare BASE HEAD`: what the two sides are, and where their sources come from.

A side is a commit (or `.`, the working folder as it is), a backend with or without an environment and options
(`ort`, `ort@1.24.1`, `ort:spinning=off`), or a recorded results file.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import alerts, arm, conversation, gate, planner, registry, results, targets
from harness.arm import Change
from harness.conversation import Side
from harness.ending import Ending, change_words, ending, show
from harness.paired import Progress, Session
from harness.types import PLANS, Plan, UsageError, to_json

if TYPE_CHECKING:
    from rich.console import Console

HERE = "."


class NothingToCompare(UsageError):
    """No cell that both sides have."""


@dataclass(frozen=True)
class Pair:
    """Both sides, and the cells they share: the id shown to the declared id. `notes` say what could not be compared."""

    base: Side
    head: Side
    cells: Mapping[str, str]
    notes: tuple[str, ...] = ()


def is_recorded(text: str) -> bool:
    """Whether a side names a results file, or a folder of them."""
    path = Path(text)
    return path.suffix == ".jsonl" or (path.is_dir() and any(path.glob("*.jsonl")))


def backend_of(text: str) -> Change | None:
    """The change that `backend[@environment][:option=value,...]` stands for, or None where no backend has that name.

    Raises UsageError for options that are no `name=value`.
    """
    name, _, listed = text.partition(":")
    if name.partition("@")[0] not in registry.rows():
        return None
    options = []
    for word in filter(None, listed.split(",")):
        option, equals, value = word.partition("=")
        if not equals or not option:
            raise UsageError(f"{text}: {word!r} is no option; write {name}:option=value")
        options.append((option, _plain(value)))
    return Change(name, tuple(sorted(options)))


def _plain(value: str) -> Any:
    """A number or boolean where it reads as one, as options are declared."""
    with contextlib.suppress(ValueError):
        return json.loads(value)
    return {"True": True, "False": False}.get(value, value)


@contextlib.contextmanager
def sides(base: str, head: str, words: Sequence[str], plan: Plan) -> Iterator[Pair]:
    """Both sides ready to be run: commits checked out into folders that are removed afterwards.

    Raises UsageError where a side is neither a backend nor a commit, the two are of different kinds, or they share no cell.
    """
    changes = backend_of(base), backend_of(head)
    if all(changes):
        yield _backends(base, head, changes[0] or Change(), changes[1] or Change(), words)
        return
    if any(changes):
        raise UsageError(f"{base} and {head}: one is a backend and the other is not; compare two backends or two commits")
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(_commit(text)) for text in (base, head)]
        yield _commits(made[0], made[1], words, plan)


def _backends(base: str, head: str, one: Change, other: Change, words: Sequence[str]) -> Pair:
    """One cell for each group that the words choose, with either backend put in."""
    if base == head:
        raise UsageError(f"{base} is compared with itself; that is what the null control of every comparison does")
    groups: dict[str, str] = {}
    for name, cell in arm.chosen(words).items():
        groups.setdefault(cell.group, name)
    return Pair(Side(base, one), Side(head, other), groups)


@contextlib.contextmanager
def _commit(text: str) -> Iterator[Side]:
    if text == HERE:
        yield Side("working folder")
        return
    found = _git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
    if found is None:
        raise UsageError(f"{text} is neither a registered backend nor a commit here; {_why_no_commit()}")
    with tempfile.TemporaryDirectory(prefix="evenbench-") as folder:
        root = Path(folder).resolve() / found[:12]
        if _git("worktree", "add", "--detach", "--quiet", str(root), found) is None:
            raise UsageError(f"{text}: git could not check out {found[:12]} into a worktree; `git worktree prune` may help")
        try:
            here = Path(_git("rev-parse", "--show-prefix") or "")
            yield Side(text if text == found else f"{text} ({found[:8]})", root=root / here)
        finally:
            _git("worktree", "remove", "--force", str(root))


def _why_no_commit() -> str:
    if _git("rev-parse", "--git-dir") is None:
        return "this folder is in no git repository"
    if _git("rev-parse", "--is-shallow-repository") == "true":
        return "the clone is shallow and may lack it: `git fetch --unshallow`, or a checkout with its full history"
    return "`git fetch` may bring it; `evenbench doctor` lists the backends"


def _git(*words: str) -> str | None:
    """What git answered, or None where it failed or is not there."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _commits(base: Side, head: Side, words: Sequence[str], plan: Plan) -> Pair:
    """The cells that both commits declare."""
    declared = [_declared(side, words, plan) for side in (base, head)]
    shared = [name for name in declared[1] if name in set(declared[0])]
    notes = [
        f"only in {side.name}: {', '.join(lone[:5])}{f' and {len(lone) - 5} more' if len(lone) > 5 else ''}"
        for side, names in ((base, declared[0]), (head, declared[1]))
        if (lone := [name for name in names if name not in shared])
    ]
    if head.root is not None and _git("status", "--porcelain", "--untracked-files=no"):
        notes.append(f"the working folder has changes that are not in {head.name}; compare with `.` to measure them")
    if not shared:
        raise NothingToCompare(f"{base.name} and {head.name} share no cell; {'; '.join(notes)}")
    return Pair(base, head, {name: name for name in shared}, tuple(notes))


def _declared(side: Side, words: Sequence[str], plan: Plan) -> list[str]:
    spec = replace(side.spec(words, "", plan), task="cells")
    try:
        with conversation.process(side, spec) as asked:
            names: list[str] = asked.ask()["value"]
    except conversation.ArmFailed as error:
        raise UsageError(f"{error}; a side must declare benchmarks that can be listed") from None
    return names


def run(options: argparse.Namespace, console: Console, notes: Console) -> int:
    """The command: a paired session over all cells, written to the results folder, shown, and ended with its exit code."""
    plan = PLANS[options.plan]
    rule = gate.Rule(margin=options.margin, most=options.pairs, least=min(gate.FEWEST_PAIRS, options.pairs))
    seconds = seconds_of(options.budget)
    with sides(options.base, options.head, words_of(options), plan) as pair:
        for note in pair.notes:
            notes.print(f"note: {note}", soft_wrap=True)
        with _listener(notes) as listen:
            known = planner.pasts(earlier(Path(options.results)))
            session = Session(pair.base, pair.head, words_of(options), pair.cells, rule, plan, options.seed, seconds, known, listen)
            found = session.run()
    end = ending(found, options.require_conclusive)
    file = write(Path(options.results), pair, rule, options.seed, found, end)
    comparison = json.loads(file.read_text())
    asked = {kind: getattr(options, kind) for kind in ("junit", "sarif", "summary")}
    alerts.write(comparison, {kind: path for kind, path in asked.items() if path})
    if options.github:
        print("\n".join(alerts.workflow_commands(comparison)))
    if options.json:
        print(json.dumps(comparison))
    else:
        show(found, end, console)
        console.print(f"{pair.base.name} against {pair.head.name}, seed {options.seed}: {file}", soft_wrap=True)
    return end.code


@contextlib.contextmanager
def _listener(console: Console) -> Iterator[Callable[[Progress], None]]:
    """One line that changes on a terminal; a line now and then elsewhere."""
    if not console.is_terminal:
        told = 0.0

        def tell(progress: Progress) -> None:
            nonlocal told
            if time.monotonic() - told > 15:
                told = time.monotonic()
                console.print(progress.text, soft_wrap=True)

        yield tell
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    # Nothing wakes up by itself: the line changes between pairs, never while one is timed.
    bar = Bar(BarColumn(bar_width=24), TextColumn("{task.description}"), console=console, auto_refresh=False, transient=True)
    with bar:
        task = bar.add_task("")
        yield lambda progress: bar.update(
            task, description=progress.text, completed=progress.done, total=progress.most or None, refresh=True
        )


def words_of(options: argparse.Namespace) -> list[str]:
    """The words that choose cells, for the processes of both sides, as they would be written on their command lines."""
    words = [*options.targets]
    for flag, values in (("-k", [options.expression] if options.expression else []), ("--cell", options.cell)):
        for value in values:
            words += [flag, value]
    return [*words, *targets.given(options)]


def seconds_of(budget: str) -> float:
    """Seconds in `90s`, `5m` or `1h`; infinite for none. Raises UsageError for anything else."""
    if not budget:
        return math.inf
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        found = float(budget[:-1]) * units[budget[-1]]
    except (KeyError, ValueError):
        found = math.nan
    if not 0 < found < math.inf:
        raise UsageError(f"--budget {budget}: expected a time such as 90s, 5m or 1h")
    return found


REMEMBERED = 20
"""Earlier comparisons that are read for what they say of the cells."""


def earlier(folder: Path) -> list[dict[str, Any]]:
    """The latest comparisons in a results folder, oldest first; a file that cannot be read says nothing."""
    found = []
    for file in sorted(folder.glob("compare-*.json"))[-REMEMBERED:]:
        with contextlib.suppress(OSError, ValueError):
            value = json.loads(file.read_text())
            if isinstance(value, dict) and value.get("compare") == 1:
                found.append(value)
    return found


def write(folder: Path, pair: Pair, rule: gate.Rule, seed: int, found: Sequence[Mapping[str, Any]], end: Ending) -> Path:
    """The comparison with every sample, as one JSON file in the results folder."""
    stamp = results.timestamp()
    file = results.folder(folder) / f"compare-{stamp.replace(':', '-')}.json"
    value = {
        "compare": 1,
        "time": stamp,
        "base": pair.base.name,
        "head": pair.head.name,
        "rule": to_json(rule),
        "seed": seed,
        "notes": pair.notes,
        "exit": end.code,
        "words": end.words,
        "cells": found,
    }
    file.write_text(json.dumps(to_json(value)))
    return file


# -- recorded runs ---------------------------------------------------------------------------------------------------

MATTERS = ("cpu", "cpu_flags", "cores", "arch", "governor", "turbo_off", "smt", "python", "memory_bytes")
"""The facts of the environment in which two recorded runs must agree; the packages are compared as well."""


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In words, what of the machine and its packages differs between two results' environments."""
    found = [f"{name}: {one.get(name)} against {other.get(name)}" for name in MATTERS if one.get(name) != other.get(name)]
    packages = [found.get("packages") or {} for found in (one, other)]
    return found + [
        f"{name} {packages[0].get(name, 'absent')} against {packages[1].get(name, 'absent')}"
        for name in sorted({*packages[0], *packages[1]})
        if name != "evenbench" and packages[0].get(name) != packages[1].get(name)
    ]


def recorded(base: str, head: str, anyway: bool = False) -> list[dict[str, Any]]:
    """Cell by cell, the ratio of two recorded runs' levels, without a verdict that pairs alone could give.

    Welch's interval of the difference of mean log medians over processes, at 99 %. Raises UsageError where nothing matches, or
    where the environments differ and `anyway` does not say to go on.
    """
    lines = [results.latest(results.read([Path(text)]).lines) for text in (base, head)]
    shared = [key for key in lines[1] if key in lines[0]]
    if not shared:
        raise NothingToCompare(f"{base} and {head} share no cell; were they measured from other models or options?")
    found = []
    for key in shared:
        one, other = lines[0][key], lines[1][key]
        differ = differences(one["environment"], other["environment"])
        if differ and not anyway:
            raise UsageError(
                f"{base} and {head} were not measured alike ({'; '.join(differ[:4])}); compare the commits in pairs, "
                "or see both side by side with --anyway"
            )
        found.append({"cell": one["cell"]["id"], "outcomes": [one["outcome"], other["outcome"]], "differ": differ, **_unpaired(one, other)})
    return found


def _unpaired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    from harness.statistics import process_values
    from harness.types import COMPUTE

    values = [process_values(line["samples_ns"].get(COMPUTE, [])) for line in (one, other)]
    if any(line["outcome"] != "ok" for line in (one, other)) or min(map(len, values)) < 2:
        return {"ratio": None, "low": None, "high": None, "processes": [len(each) for each in values]}
    from scipy import stats

    logs = [[math.log(value) for value in each] for each in values]
    test = stats.ttest_ind(logs[1], logs[0], equal_var=False)
    interval = test.confidence_interval(0.99)
    centre = sum(logs[1]) / len(logs[1]) - sum(logs[0]) / len(logs[0])
    low, high = (math.exp(min(bound, 50.0)) for bound in interval)
    return {"ratio": math.exp(centre), "low": low, "high": high, "processes": [len(each) for each in values]}


def show_recorded(found: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The levels' ratios, and what they are worth."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("cell", "head over base, 99 %, unpaired", "processes", "measured alike"):
        table.add_column(column, overflow="fold")
    for cell in found:
        change = "-" if cell["ratio"] is None else change_words(cell)
        table.add_row(cell["cell"], change, " and ".join(map(str, cell["processes"])), "; ".join(cell["differ"]) or "yes")
    console.print(table)
    console.print(
        "Two recorded runs were not measured side by side: whatever drifted between them is in the ratio, and the interval cannot "
        "see it. No verdict is given; `evenbench compare` of the commits, in pairs, gives one.",
        soft_wrap=True,
    )
