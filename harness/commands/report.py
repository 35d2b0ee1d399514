"""asv's published site and the report link to each other, by relative addresses, so that both can
be moved together.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.commands import report as asv_site
from harness.core.errors import UsageError
from harness.core.record_types import OutcomeRecord
from harness.results import records

if TYPE_CHECKING:
    from reports.sections.related_runs import Companions

INDEX = "index.json"
"""What asv's pages read first; its `project_url` is where the project's name in their header leads.
"""


def address(asv: Path, report: Path) -> str:
    """asv's first page as seen from the report's folder. Raises UsageError where `asv publish` made
    no site in that folder.
    """
    _read(asv)
    return _relative(asv / "index.html", report)


def link_back(asv: Path, report: Path) -> None:
    """Have the project's name on asv's pages lead to the report in that folder; `asv publish`
    undoes it. Raises UsageError.
    """
    found = _read(asv)
    found["project_url"] = _relative(report / "index.html", asv)
    stage = asv / f"{INDEX}.new"
    stage.write_text(json.dumps(found))
    stage.replace(asv / INDEX)


def _relative(target: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix())


def _read(asv: Path) -> dict[str, object]:
    try:
        found = json.loads((asv / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--asv {asv}: no site of asv ({error}); run `asv publish`, and give its html folder, .asv/html"
        ) from error
    if not isinstance(found, dict) or "project_url" not in found:
        raise UsageError(
            f"--asv {asv}: {INDEX} is not asv's; run `asv publish`, and give its html folder, .asv/html"
        )
    return found


MARK = re.compile(r'<meta name="evenbench-load" content="([^"]+)">')
"""Near the top of a page of `evenbench load`: the run that it shows."""

HEAD_CHARACTERS = 2000
"""In which a page has the mark."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument(
        "paths",
        nargs="*",
        default=["results"],
        metavar="PATH",
        help="results files or folders (results)",
    )
    command.add_argument(
        "-o", "--output", default="site", metavar="DIR", help="where index.html is written (site)"
    )
    command.add_argument(
        "--markdown",
        action="store_true",
        help="print the tables of precisions and of bindings as Markdown instead",
    )
    command.add_argument(
        "--asv",
        metavar="DIR",
        help="the site that `asv publish` made: it and the report link to each other",
    )
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )


def run(options: argparse.Namespace) -> int:
    """Write the HTML report of everything under the paths, or print its tables as Markdown; returns
    the exit code.
    """
    if options.markdown:
        from reports import newest_records, results
        from reports.sections import binding_cost, precisions

        newest, _ = newest_records.newest(_outcomes(options.paths).lines)
        found = results.results(newest)
        print("\n".join(filter(None, (precisions.markdown(found), binding_cost.markdown(found)))))
        return 0
    site, reading = write(options.paths, options.output, options.asv)
    if options.json:
        print(
            json.dumps({"site": str(site), "outcomes": len(reading.lines), "notes": reading.notes})
        )
        return 0
    for note in reading.notes:
        print(f"note: {note}", file=sys.stderr)
    print(site)
    return 0


def write(
    paths: Sequence[str], folder: str, asv: str | None = None
) -> tuple[Path, records.Reading[records.Record]]:
    """The page, and what it was made from. Raises UsageError where there is nothing to report or
    the folder cannot be written.
    """
    from reports.pages import index
    from reports.sections import divergences

    outcomes = _outcomes(paths)
    beside, notes = _companions(paths, Path(folder))
    searches = records.read([Path(path) for path in paths if Path(path).is_dir()], records.DIFF)
    lines, more = divergences.attached(outcomes.lines, searches.lines)
    all_notes = (*outcomes.notes, *notes, *searches.notes, *more)
    reading = records.Reading[records.Record](tuple(lines), all_notes)
    try:
        there = asv_site.address(Path(asv), Path(folder)) if asv else ""
        written = index.write(reading.lines, Path(folder), reading.notes, there, beside)
        if asv:
            asv_site.link_back(Path(asv), Path(folder))
        return written, reading
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(
            f"report folder {folder} cannot be written ({error.strerror}); name another with -o"
        ) from error


def _companions(paths: Sequence[str], folder: Path) -> tuple[Companions, list[str]]:
    """Lines of load and of pipelines in the same folders or in that of the site, with their pages
    there; and the reader's notes.
    """
    from reports.sections import related_runs

    folders = [Path(path) for path in paths if Path(path).is_dir()]
    loads = records.read(folders, records.LOAD)
    notes, filmed = list(loads.notes), []
    there = [folder] if folder.is_dir() else []
    for file in dict.fromkeys(
        file.resolve() for file in records.files([*folders, *there], records.PIPELINE)
    ):
        reading = records.read([file], records.PIPELINE)
        notes += reading.notes
        filmed += [(line, _address(file.with_name("index.html"), folder)) for line in reading.lines]
    return related_runs.gather(loads.lines, _pages_of_load(folder), filmed), notes


def _pages_of_load(folder: Path) -> dict[str, str]:
    """The addresses of what `evenbench load --page` wrote into the site's folder, by run."""
    found = {}
    for page in sorted(folder.glob("*.html")):
        with page.open(encoding="utf-8", errors="replace") as stream:
            mark = MARK.search(stream.read(HEAD_CHARACTERS))
        if mark:
            found[mark[1]] = _address(page, folder)
    return found


def _address(page: Path, folder: Path) -> str:
    """Where the report finds a page that lies in its folder. Empty where the page lies elsewhere:
    it would not travel with the report.
    """
    inside = page.is_file() and page.resolve().is_relative_to(folder.resolve())
    return f"./{quote(page.resolve().relative_to(folder.resolve()).as_posix())}" if inside else ""


def _outcomes(paths: Sequence[str]) -> records.Reading[OutcomeRecord]:
    reading = records.read([Path(path) for path in paths])
    if not reading.lines:
        raise UsageError(
            f"{' '.join(paths)}: no outcomes to report; run `evenbench run` first, or name another folder"
        )
    return reading
