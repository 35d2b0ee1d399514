"""`evenbench report`: recorded results as one HTML page, or its tables as Markdown."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import asv_site, results
from harness.types import UsageError


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("paths", nargs="*", default=["results"], metavar="PATH", help="results files or folders (results)")
    command.add_argument("-o", "--output", default="site", metavar="DIR", help="where index.html is written (site)")
    command.add_argument("--markdown", action="store_true", help="print the tables of precisions and of bindings as Markdown instead")
    command.add_argument("--asv", metavar="DIR", help="the site that `asv publish` made: it and the report link to each other")
    command.add_argument("--json", action="store_true", help="one JSON value on standard output instead of text")


def run(options: argparse.Namespace) -> int:
    """Write the HTML report of everything under the paths, or print its tables as Markdown; returns the exit code."""
    if options.markdown:
        from reports import binding, precisions, shape

        newest, _ = shape.newest(_outcomes(options.paths).lines)
        found = shape.results(newest)
        print("\n".join(filter(None, (precisions.markdown(found), binding.markdown(found)))))
        return 0
    site, reading = write(options.paths, options.output, options.asv)
    if options.json:
        print(json.dumps({"site": str(site), "outcomes": len(reading.lines), "notes": reading.notes}))
        return 0
    for note in reading.notes:
        print(f"note: {note}", file=sys.stderr)
    print(site)
    return 0


def write(paths: Sequence[str], folder: str, asv: str | None = None) -> tuple[Path, results.Reading]:
    """The page, and what it was made from. Raises UsageError where there is nothing to report or the folder cannot be written."""
    from reports import site

    reading = _outcomes(paths)
    try:
        there = asv_site.address(Path(asv), Path(folder)) if asv else ""
        written = site.write(reading.lines, Path(folder), reading.notes, there)
        if asv:
            asv_site.link_back(Path(asv), Path(folder))
        return written, reading
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"report folder {folder} cannot be written ({error.strerror}); name another with -o") from error


def _outcomes(paths: Sequence[str]) -> results.Reading:
    reading = results.read([Path(path) for path in paths])
    if not reading.lines:
        raise UsageError(f"{' '.join(paths)}: no outcomes to report; run `evenbench run` first, or name another folder")
    return reading
