"""Run ONNX's operator tests on the runtimes: `python -m tests.operators --out records.jsonl`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.operators import cases, pool


def _progress(count: int) -> Callable[[int], None]:
    """A line of progress for every hundred cases."""

    def tell(done: int) -> None:
        if done % 100 == 0 or done == count:
            print(f"{done} of {count} cases", file=sys.stderr, flush=True)

    return tell


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.operators", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the records, as JSON lines")
    parser.add_argument("--made-up", action="store_true", help="inputs made up from the file")
    parser.add_argument("--count", type=int, default=0, help="a stratified part of the tests")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    flags = parser.parse_args()
    chosen = cases.collect()
    if flags.count:
        chosen = cases.stratified(chosen, flags.count)
    records = pool.run(
        chosen,
        flags.made_up,
        flags.processes,
        _progress(len(chosen)),
    )
    flags.out.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    for runtime, ending, count in pool.numbers(records):
        print(f"{runtime:10s} {ending:12s} {count}")


if __name__ == "__main__":
    main()
