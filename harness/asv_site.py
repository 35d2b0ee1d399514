"""asv's published site and the report link to each other, by relative addresses, so that both can be moved together."""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import quote

from harness.types import UsageError

INDEX = "index.json"
"""What asv's pages read first; its `project_url` is where the project's name in their header leads."""


def address(asv: Path, report: Path) -> str:
    """asv's first page as seen from the report's folder. Raises UsageError where `asv publish` made no site in that folder."""
    _read(asv)
    return _relative(asv / "index.html", report)


def link_back(asv: Path, report: Path) -> None:
    """Have the project's name on asv's pages lead to the report in that folder; `asv publish` undoes it. Raises UsageError."""
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
        raise UsageError(f"--asv {asv}: no site of asv ({error}); run `asv publish`, and give its html folder, .asv/html") from error
    if not isinstance(found, dict) or "project_url" not in found:
        raise UsageError(f"--asv {asv}: {INDEX} is not asv's; run `asv publish`, and give its html folder, .asv/html")
    return found
