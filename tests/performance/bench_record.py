"""Measurements of several kinds, taken until there are enough: the command line and the record.

`bench_gate` and `bench_groups` append a line per measurement, and go on where they were stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import to_json


class Kind(Protocol):
    """One sort of measurement: how many are wanted, and the values of `KEYS` in its lines."""

    @property
    def wanted(self) -> int:
        """The number of measurements."""

    @property
    def key(self) -> tuple[str, str, float]:
        """Workload, condition and effect."""


KEYS = ("workload", "condition", "effect")

Sort = TypeVar("Sort", bound=Kind)


def parser(program: str, description: str | None, record: Path) -> argparse.ArgumentParser:
    """The flags of every bench; the numbers of measurements are added by each."""
    command = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    command.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="stop after so many; the same command goes on",
    )
    command.add_argument(
        "--record",
        type=Path,
        default=record,
        help=f"where measurements are appended (docs/data/{record.name})",
    )
    return command


def read(file: Path) -> list[dict[str, Any]]:
    """The record so far."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def left(
    lines: Sequence[Mapping[str, Any]], wanted: Sequence[Kind]
) -> dict[tuple[str, str, float], int]:
    """How many measurements of each kind the record still lacks."""
    taken = Counter(tuple(line[key] for key in KEYS) for line in lines)
    return {kind.key: max(0, kind.wanted - taken[kind.key]) for kind in wanted}


def fill(
    record: Path,
    wanted: Sequence[Sort],
    minutes: float,
    take: Callable[[Sort, int], Mapping[str, Any]],
    progress: Callable[[Mapping[str, Any]], str],
) -> None:
    """Take measurements until there are as many of each kind as wanted, or the time is over.

    The kind that lags most is next. `take` gets a kind and a seed, and returns a line.
    """
    begin, lot = time.monotonic(), random.Random()
    lacking = left(read(record), wanted)
    record.parent.mkdir(parents=True, exist_ok=True)
    while time.monotonic() - begin < 60 * minutes:
        lagging = [kind for kind in wanted if lacking[kind.key]]
        if not lagging:
            return
        kind = max(lagging, key=lambda each: (lacking[each.key] / each.wanted, lot.random()))
        line = take(kind, lot.randrange(1 << 30))
        with record.open("a") as out:
            out.write(json.dumps(to_json(line), separators=(",", ":")) + "\n")
        lacking[kind.key] -= 1
        print(f"{progress(line)}; {sum(lacking.values())} to go", flush=True)


def run(name: str, main: Callable[[], int]) -> None:
    """End the process with the command's exit code; a fault is no alarm, whatever Python says."""
    try:
        sys.exit(main())
    except UsageError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(exit_codes.USAGE)
    except Exception:  # Python's own 1 would be taken for an alarm
        traceback.print_exc()
        sys.exit(exit_codes.INTERNAL)
