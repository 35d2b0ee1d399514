"""`evenbench report`: the HTML report of recorded results, with links to asv's site."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.records.outcome import OutcomeRecord
from evenbench.harness.results import operator_profiles, records
from evenbench.harness.results.operator_profiles import RecordedProfile

if TYPE_CHECKING:
    from evenbench.reports.sections.related_runs import Companions

EPILOG = """\
Examples:
  evenbench report                          read results/, write site/index.html
  evenbench report a.jsonl b.jsonl -o page
Docs: docs/reference/results-file.md
"""

EXIT_CODES = {exit_codes.PASS: "the report is written"}

FORMATS = ("html", "markdown", "csv", "parquet")

INDEX = "index.json"
"""The first file for asv's pages; `project_url` is the link of the project's name."""

ASV_HINT = "run `asv publish`, and give its html folder, .asv/html"

MARK = re.compile(r'<meta name="evenbench-load" content="([^"]+)">')
"""The run's id near the top of a page of `evenbench load`."""

HEAD_CHARACTERS = 2000
"""The mark lies within this many characters of a page."""


@dataclass(frozen=True)
class ReportOptions:
    """The options of `evenbench report`."""

    paths: tuple[str, ...] = ()
    results: str = "results"
    output: str = "site"
    format: str = "html"
    markdown: bool = False
    asv: str = ""
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    arguments.add_results_paths(command)
    arguments.add_output(command, "DIR", "folder for index.html [default: %(default)s]")
    command.add_argument(
        "--format",
        choices=FORMATS,
        metavar="FORMAT",
        help="html, or of all cells csv, parquet, markdown [default: html]",
    )
    command.add_argument("--markdown", action="store_true", help=argparse.SUPPRESS)
    command.add_argument(
        "--asv", metavar="DIR", help="site of `asv publish` to link with [default: none]"
    )
    arguments.add_json_flag(command)


def run(options: ReportOptions) -> int:
    """Write the report, or print the tables as Markdown; return the exit code."""
    paths = options.paths or (options.results,)
    chosen = "markdown" if options.markdown else options.format
    if chosen != "html":
        _print_cells(paths, chosen, Path(options.output))
        return exit_codes.PASS
    page, reading = write(paths, options.output, options.asv)
    if options.json:
        facts = {"site": str(page), "outcomes": len(reading.lines), "notes": reading.notes}
        print(json.dumps(facts))
        return exit_codes.PASS
    for note in reading.notes:
        print(f"note: {note}", file=sys.stderr)
    print(page)
    return exit_codes.PASS


def _print_cells(paths: Sequence[str], chosen: str, folder: Path) -> None:
    """Print the newest outcome of every cell as CSV or Markdown, or write a Parquet file."""
    from evenbench.reports import newest_records, result_groups
    from evenbench.reports.pages import notebook
    from evenbench.reports.sections import binding_cost, precisions

    newest, _ = newest_records.newest(_outcomes(paths).lines)
    if chosen == "markdown":
        members = result_groups.results(newest)
        tables = (precisions.markdown(members), binding_cost.markdown(members))
        print("\n".join(filter(None, tables)))
    elif chosen == "csv":
        print(notebook.Table(newest).to_csv(), end="")
    else:
        records.folder(folder)
        file = folder / "cells.parquet"
        notebook.Table(newest).write_parquet(file)
        print(file)


def write(
    paths: Sequence[str], folder: str, asv: str = ""
) -> tuple[Path, records.Reading[records.Record]]:
    """Write the report and return the page with the reading of the results.

    Raises UsageError for results without outcomes, and for a folder without write permission.
    """
    from evenbench.reports.pages import index
    from evenbench.reports.sections import divergences, operators

    outcomes = _outcomes(paths)
    related, notes = _related_runs(paths, Path(folder))
    searches = records.read([Path(path) for path in paths if Path(path).is_dir()], records.DIFF)
    lines, more = divergences.attached(outcomes.lines, searches.lines)
    profiles, unreadable = operator_profiles.read(Path(path) for path in paths)
    lines, others = operators.attached(lines, profiles)
    all_notes = (*outcomes.notes, *notes, *searches.notes, *more, *unreadable, *others)
    reading = records.Reading[records.Record](tuple(lines), all_notes)
    try:
        link = address(Path(asv), Path(folder)) if asv else ""
        page = index.write(reading.lines, Path(folder), reading.notes, link, related)
        _copy_traces(operators.files(lines), Path(folder))
        if asv:
            link_back(Path(asv), Path(folder))
        return page, reading
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(
            f"report folder {folder} cannot be written ({error.strerror}); name another with -o"
        ) from error


def _copy_traces(profiles: Sequence[RecordedProfile], folder: Path) -> None:
    """Copy the traces of the page's cells beside the page, for the links of the page."""
    for profile in profiles:
        target = folder / operator_profiles.FOLDER / profile.file.name
        target.parent.mkdir(exist_ok=True)
        if not (target.exists() and target.samefile(profile.file)):
            shutil.copyfile(profile.file, target)


def _outcomes(paths: Sequence[str]) -> records.Reading[OutcomeRecord]:
    reading = records.read([Path(path) for path in paths])
    if not reading.lines:
        raise UsageError(
            f"{' '.join(paths)}: no outcomes to report; "
            "run `evenbench run` first, or name another folder"
        )
    return reading


# -- runs of load and pipelines --------------------------------------------------------------------


def _related_runs(paths: Sequence[str], folder: Path) -> tuple[Companions, list[str]]:
    """Return runs of load and of pipelines with their pages, and the reader's notes.

    The runs lie in the same results folders, or in the folder of the report.
    """
    from evenbench.reports.sections import related_runs

    folders = [Path(path) for path in paths if Path(path).is_dir()]
    loads = records.read(folders, records.LOAD)
    notes, filmed = list(loads.notes), []
    site = [folder] if folder.is_dir() else []
    for file in dict.fromkeys(
        file.resolve() for file in records.files([*folders, *site], records.PIPELINE)
    ):
        reading = records.read([file], records.PIPELINE)
        notes += reading.notes
        page = _page_address(file.with_name("index.html"), folder)
        filmed += [(line, page) for line in reading.lines]
    return related_runs.gather(loads.lines, _pages_of_load(folder), filmed), notes


def _pages_of_load(folder: Path) -> dict[str, str]:
    """Return the addresses of pages of `evenbench load` in the report's folder, by run."""
    addresses = {}
    for page in sorted(folder.glob("*.html")):
        with page.open(encoding="utf-8", errors="replace") as stream:
            mark = MARK.search(stream.read(HEAD_CHARACTERS))
        if mark:
            addresses[mark[1]] = _page_address(page, folder)
    return addresses


def _page_address(page: Path, folder: Path) -> str:
    """Return a page's address relative to the report; empty for a page outside the report's folder.

    Pages outside would not travel with the report.
    """
    inside = page.is_file() and page.resolve().is_relative_to(folder.resolve())
    return f"./{quote(page.resolve().relative_to(folder.resolve()).as_posix())}" if inside else ""


# -- asv's site ------------------------------------------------------------------------------------


def address(asv: Path, report: Path) -> str:
    """Return the address of asv's first page, relative to the report's folder.

    Relative addresses let both sites move together. Raises UsageError for a folder without a site
    of `asv publish`.
    """
    _read_index(asv)
    return _relative(asv / "index.html", report)


def link_back(asv: Path, report: Path) -> None:
    """Link the project's name on asv's pages to the report; `asv publish` undoes the link.

    Raises UsageError for a folder without a site of `asv publish`.
    """
    index = _read_index(asv)
    index["project_url"] = _relative(report / "index.html", asv)
    stage = asv / f"{INDEX}.new"
    stage.write_text(json.dumps(index))
    stage.replace(asv / INDEX)


def _relative(target: Path, folder: Path) -> str:
    return quote(Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix())


def _read_index(asv: Path) -> dict[str, object]:
    try:
        index = json.loads((asv / INDEX).read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"--asv {asv}: no site of asv ({error}); {ASV_HINT}") from error
    if not isinstance(index, dict) or "project_url" not in index:
        raise UsageError(f"--asv {asv}: {INDEX} is not asv's; {ASV_HINT}")
    return index
