"""Run ONNX's operator tests on the runtimes: `python -m tests.operators`, for
docs/results/operators.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from evenbench.harness.environment import cpu, system_info
from evenbench.harness.inputs import batches
from tests.operators import cases, judged, pool, table

NAMES = {"onnx": "onnx", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.operators", description=__doc__)
    parser.add_argument("--records", type=Path, help="also write the records, as JSON lines")
    parser.add_argument("--read", type=Path, nargs="*", help="write the page from such files")
    parser.add_argument("--made-up", action="store_true", help="only inputs made up from the file")
    parser.add_argument("--count", type=int, default=0, help="a stratified part; writes no page")
    parser.add_argument("--processes", type=int, default=cpu.cores())
    flags = parser.parse_args()
    if flags.read:
        _write_page([json.loads(line) for file in flags.read for line in file.open()])
        return
    chosen = cases.collect()
    if flags.count:
        chosen = cases.stratified(chosen, flags.count)
    records = []
    for inputs in ("made-up",) if flags.made_up else ("given", "made-up"):
        tell = _progress(inputs, len(chosen))
        found = pool.run(chosen, inputs == "made-up", flags.processes, tell)
        records += [{**record, "inputs": inputs} for record in found]
        for runtime in judged.RUNTIMES:
            counts = {name: len(rows) for name, rows in table.by_class(found, runtime).items()}
            print(f"{runtime}, {inputs} inputs: {counts}; {table.share(found, runtime):.1%} right")
    if flags.records:
        flags.records.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    if not flags.count and not flags.made_up:
        _write_page(records)


def _progress(inputs: str, count: int) -> Callable[[int], None]:
    """A line of progress for every hundred tests."""

    def tell(done: int) -> None:
        if done % 100 == 0 or done == count:
            print(f"{done} of {count} tests, {inputs} inputs", file=sys.stderr, flush=True)

    return tell


def _write_page(records: list[judged.Record]) -> None:
    given = [record for record in records if record["inputs"] == "given"]
    made_up = [record for record in records if record["inputs"] == "made-up"]
    versions = ", ".join(f"{title} {batches.version_of(name)}" for name, title in NAMES.items())
    heading = (
        f"`make operators` on {datetime.date.today()}, {system_info.cpu_model()}, "
        f"{cpu.cores()} cores, Python {platform.python_version()}, {versions}; "
        f"{len(given) // len(judged.RUNTIMES)} tests."
    )
    page = table.PAGE.read_text()
    before, _, rest = page.partition(table.BEGIN)
    _, _, after = rest.partition(table.END)
    text = table.whole(given, made_up, heading)
    table.PAGE.write_text(f"{before}{table.BEGIN}{text}{table.END}{after}")


if __name__ == "__main__":
    main()
