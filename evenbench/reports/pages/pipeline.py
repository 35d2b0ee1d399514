"""The page of pipelines: frames per second, stages of a frame, and the frames as drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evenbench.harness.core.pipeline_terms import AFTER_DECODING, OVERLAPPED, PREDECODED, STAGES
from evenbench.reports import assets, formatting
from evenbench.reports.pages import frames as judged_frames
from evenbench.reports.pages import run_facts
from evenbench.reports.pages.templates import template
from evenbench.reports.pipeline_notes import notes
from evenbench.reports.pipeline_results import Line, frame_count, has_predecoded, rate
from evenbench.reports.pipeline_rows import fastest, rows

SOURCES = {
    "photographs": "made of packaged photographs",
    "file": "a file",
    "camera": "recorded from a camera",
}


def write(
    lines: Sequence[Line], pictures: Mapping[str, Any] | None, frames: Path, folder: Path
) -> Path:
    """Write the page of a run into `folder` and return the file.

    `pictures` names JPEG files in the folder `frames`; the page includes their bytes.
    """
    page = folder / "index.html"
    page.write_text(render(lines, pictures, frames), encoding="utf-8")
    return page


def render(lines: Sequence[Line], pictures: Mapping[str, Any] | None, frames: Path) -> str:
    """Return the page as HTML. Raises ValueError without lines."""
    if not lines:
        raise ValueError("pipeline: no outcomes; expected one line per runtime")
    return template("pipeline.html.j2").render(
        head=head(lines),
        rows=rows(lines),
        stages=STAGES,
        target=lines[0]["target_per_second"],
        in_flight=lines[0]["in_flight"],
        held=has_predecoded(lines),
        notes=notes(lines),
        shots=judged_frames.shots(lines, pictures, frames) if pictures else [],
        golden=pictures["kind"] if pictures else "",
        gain=pictures["gain"] if pictures else 0,
        facts=facts(lines),
        style=Markup(assets.own("page.css") + assets.own("pipeline.css")),
        script=Markup(assets.own("theme.js")),
    )


def head(lines: Sequence[Line]) -> dict[str, str]:
    """Return the texts at the top of the page."""
    cell, video = lines[0]["cell"], lines[0]["video"]
    programs = any(line["covers"] == AFTER_DECODING and rate(line, PREDECODED) for line in lines)
    in_flight = f"with {lines[0]['in_flight']} in flight"
    size = f"{video['width_pixels']}×{video['height_pixels']}"
    frames = formatting.count(frame_count(lines), "frame")
    threads = formatting.count(cell["threads"], "thread")
    return {
        "model": cell["model"],
        "sentence": fastest(lines, OVERLAPPED) or "No whole pipeline has a number",
        "after": f"After decoding, {in_flight}, {fastest(lines, PREDECODED)}." if programs else "",
        "counts": f"{cell['model']}, {cell['precision']}, {cell['device']}, {threads}",
        "video": f"{frames} of {size} pixels ({video['codec']}), {SOURCES[video['source']]}",
    }


def facts(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Return the origin of the numbers, as label and text."""
    line, video = lines[0], lines[0]["video"]
    return [
        ("Command", line["reproduce"]),
        ("Video", f"{video['name']}, sha256 {video['sha256'][:16]}…"),
        ("Recipe", line["recipe"]),
        run_facts.processes(line),
        *run_facts.machine(lines),
    ]
