"""Frames per second of whole pipelines as a page of their own: a row per runtime with its stages,
and the frames that each one drew.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from harness.core.pipeline_terms import (
    AFTER,
    HELD,
    HELD_PACED,
    INFERENCE,
    OVERLAPPED,
    PACED,
    SEQUENTIAL,
    STAGES,
)
from harness.statistics import estimates
from harness.statistics.estimates import Estimate
from reports import assets, formatting
from reports.pages.templates import template

if TYPE_CHECKING:
    from rich.console import Console

    Line = Mapping[str, Any]
from reports.pipeline_results import (
    COVERED,
    ORDER,
    after,
    delay_ns,
    dropped,
    has_held,
    name_of,
    rate,
    stage_ns,
)

SOURCES = {
    "photographs": "made of packaged photographs",
    "file": "a file",
    "camera": "recorded from a camera",
}

STOLEN = 0.01
"""The share of a passage's time that a hypervisor took away, from which on the page says so."""

UNEVEN = 1.5
"""How many times the middle frame the mean one may take, until the page says that something
disturbed it.
"""

TICK_NS = 10_000_000
"""Of the kernel's clock, in which stolen time is counted."""


def write(
    lines: Sequence[Line], pictures: Mapping[str, Any] | None, frames: Path, folder: Path
) -> Path:
    """Write the page of one run into `folder` and return it. `pictures` names JPEG files in
    `frames`, which are packed into the page.
    """
    page = folder / "index.html"
    page.write_text(render(lines, pictures, frames), encoding="utf-8")
    return page


def render(lines: Sequence[Line], pictures: Mapping[str, Any] | None, frames: Path) -> str:
    """The page as text. Raises ValueError where there is no line."""
    if not lines:
        raise ValueError("pipeline: no outcomes; expected one line per runtime")
    return template("pipeline.html.j2").render(
        head=head(lines),
        rows=rows(lines),
        stages=STAGES,
        target=lines[0]["target_per_second"],
        in_flight=lines[0]["in_flight"],
        held=has_held(lines),
        notes=notes(lines),
        shots=shots(lines, pictures, frames) if pictures else [],
        golden=pictures["kind"] if pictures else "",
        gain=pictures["gain"] if pictures else 0,
        facts=facts(lines),
        style=Markup(assets.own("page.css") + assets.own("pipeline.css")),
        script=Markup(assets.own("theme.js")),
    )


def rows(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """One row per runtime: the fastest whole pipeline first, then what gets frames decoded,
    inference alone, and what has no numbers.
    """
    longest = max(
        (sum(stage_ns(line, stage) or 0.0 for stage in STAGES) for line in lines), default=0.0
    )
    return [_row(line, longest) for line in sorted(lines, key=_order)]


def _order(line: Line) -> tuple[int, float]:
    best = rate(line, OVERLAPPED) or rate(line, AFTER) or rate(line, INFERENCE)
    return (len(ORDER), 0.0) if best is None else (ORDER[line["covers"]], -best.value)


def _row(line: Line, longest: float) -> dict[str, Any]:
    taken = {stage: stage_ns(line, stage) for stage in STAGES}
    parity = line["parity"] or {}
    bars = [
        {"stage": stage, "percent": f"{100 * value / longest:.2f}"}
        for stage, value in taken.items()
        if value and longest
    ]
    return {
        "name": name_of(line),
        "options": ", ".join(f"{key} {value}" for key, value in line["cell"]["options"].items()),
        "outcome": line["outcome"],
        "reason": line["reason"],
        "covered": COVERED.get(line["covers"], ""),
        "after": _rate(after(line)),
        "held": _rate(rate(line, HELD)),
        "sequential": _rate(rate(line, INFERENCE if line["covers"] == INFERENCE else SEQUENTIAL)),
        "overlapped": _rate(rate(line, OVERLAPPED)),
        "gain": _gain(line),
        "dropped": _dropped(line, PACED),
        "held_dropped": _dropped(line, HELD_PACED),
        "stages": {stage: formatting.duration(value) for stage, value in taken.items()},
        "total": formatting.duration(sum(value or 0.0 for value in taken.values()) or None),
        "bars": bars,
        "words": ", ".join(
            f"{stage} {formatting.duration(value)}" for stage, value in taken.items() if value
        ),
        "needed": formatting.number(parity.get("needed")) if line["outcome"] == "ok" else "",
    }


def _rate(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return formatting.DASH, ""
    if estimate.low is None or estimate.high is None:
        return formatting.number(estimate.value), ""  # a note says that there was one process
    return formatting.number(
        estimate.value
    ), f"{formatting.number(estimate.low)} to {formatting.number(estimate.high)}"


def _dropped(line: Line, way: str) -> tuple[str, str]:
    """How many of how many, and how late the others are."""
    lost, delay = dropped(line, way), delay_ns(line, way)
    return (
        f"{lost[0]} of {lost[1]}" if lost else formatting.DASH,
        f"{formatting.duration(delay)} late" if delay else "",
    )


def _gain(line: Line) -> str:
    """What overlapping brings."""
    one, many = rate(line, SEQUENTIAL), rate(line, OVERLAPPED)
    return f"{many.value / one.value:.2f}×" if one and many else ""


def head(lines: Sequence[Line]) -> dict[str, str]:
    """The page's first words."""
    first, video = lines[0], lines[0]["video"]
    programs = any(line["covers"] == AFTER and rate(line, HELD) for line in lines)
    size = f"{video['width_pixels']}×{video['height_pixels']}"
    frames = formatting.count(first_frames(lines), "frame")
    return {
        "model": first["cell"]["model"],
        "sentence": _best(lines, OVERLAPPED) or "No whole pipeline has a number",
        "after": f"After decoding, with {first['in_flight']} in flight, {_best(lines, HELD)}."
        if programs
        else "",
        "counts": f"{first['cell']['model']}, {first['cell']['precision']}, {first['cell']['device']}, "
        f"{formatting.count(first['cell']['threads'], 'thread')}",
        "video": f"{frames} of {size} pixels ({video['codec']}), {SOURCES[video['source']]}",
    }


def _best(lines: Sequence[Line], way: str) -> str:
    """Who draws most frames per second that way, and who cannot be told from it; empty where nobody
    does.
    """
    rates = [(found.value, line) for line in lines if (found := rate(line, way))]
    ranked = [line for _, line in sorted(rates, key=lambda pair: -pair[0])]
    if not ranked:
        return ""
    alike = [name_of(line) for line in ranked[1:] if not _apart(ranked[0], line, way)]
    said = f"{name_of(ranked[0])} draws {_rate(rate(ranked[0], way))[0]} frames per second"
    return said + (f"; {formatting.listing(alike)} cannot be told from it" if alike else "")


def _apart(best: Line, line: Line, way: str) -> bool:
    """Whether the best is faster beyond chance: the interval of the ratio of their wall times over
    sweeps lies above 1.
    """
    sweeps = [
        (its[way], ours[way])
        for its, ours in zip(line["passages"], best["passages"], strict=False)
        if way in its and way in ours
    ]
    if not sweeps:
        return False
    slower, faster = (
        [passage["wall_ns"] for passage in each] for each in zip(*sweeps, strict=True)
    )
    ratio = estimates.speedup(slower, faster)
    return ratio.low is not None and ratio.low > 1


def first_frames(lines: Sequence[Line]) -> int:
    """How many frames went through; what the video has of them where nothing did."""
    filmed = [
        line for line in lines if line["covers"] != INFERENCE
    ]  # that goes through the judged frames again and again
    passages = [
        passage for line in filmed for process in line["passages"] for passage in process.values()
    ]
    return max(
        (passage["frames"] for passage in passages), default=int(lines[0]["video"]["frames"])
    )


def notes(lines: Sequence[Line]) -> list[str]:
    """What a reader must know before believing a number; what holds of several runtimes is said
    once.
    """
    found: dict[str, list[str]] = {}
    for line in lines:
        for said in _notes_of(line):
            found.setdefault(said, []).append(name_of(line))
    told = [f"{formatting.listing(names)}: {said}" for said, names in found.items()]
    if any(len(line["passages"]) == 1 for line in lines):
        told.append(
            "One process each: differences between runtimes may be chance. --plan default takes three."
        )
    return told


def _notes_of(line: Line) -> Iterator[str]:
    blocks = [passage["block"] for process in line["passages"] for passage in process.values()]
    wall = sum(block["wall_ns"] for block in blocks)
    stolen = sum(block["steal_ticks"] for block in blocks) * TICK_NS
    if wall and stolen > STOLEN * wall:
        yield f"the hypervisor took {100 * stolen / wall:.0f} % of a core's time meanwhile."
    one, middle = rate(line, SEQUENTIAL), sum(stage_ns(line, stage) or 0.0 for stage in STAGES)
    if one and 1e9 / one.value > UNEVEN * middle:
        yield (
            f"a frame took {1e9 / one.value / middle:.1f} times the middle one on average: something disturbed it, or it stalls; its rates "
            "are those of this run."
        )
    if line["outcome"] != "ok":
        return
    if line["covers"] == INFERENCE and line.get("alone_because"):
        yield f"inference and fetching alone: {line['alone_because']}."
    if line["covers"] == AFTER:
        yield (
            "frames come decoded, and pass in a program of its own: compare by frames per second after decoding, and by no others. Names "
            "and scores are left out of what it draws."
        )
    if line.get("not_held_because"):
        yield f"after decoding nothing is in flight: {line['not_held_because']}."


def facts(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Where the numbers are from."""
    line, video = lines[0], lines[0]["video"]
    environment = line["environment"]
    packages = {
        name: version
        for each in lines
        for name, version in (each["environment"].get("packages") or {}).items()
    }
    return [
        ("Command", line["reproduce"]),
        ("Video", f"{video['name']}, sha256 {video['sha256'][:16]}…"),
        ("Recipe", line["recipe"]),
        (
            "Processes",
            f"{line['run']['processes']} each, plan {line['run']['plan']}, started {line['run']['started']}",
        ),
        (
            "Machine",
            f"{environment['cpu']}, {formatting.count(environment['cores'], 'core')}, {environment['os']}",
        ),
        ("Python", environment["python"]),
        ("Packages", ", ".join(f"{name} {version}" for name, version in sorted(packages.items()))),
    ]


# -- frames ----------------------------------------------------------------------------------------


def shots(lines: Sequence[Line], pictures: Mapping[str, Any], frames: Path) -> list[dict[str, Any]]:
    """The judged frames in order: the golden's, and each runtime's with its difference."""
    found = []
    for place, golden in enumerate(pictures["golden"]):
        drawn = [
            _drawn(line, pictures[line["cell"]["key"]][place], frames)
            for line in lines
            if line["cell"]["key"] in pictures
        ]
        found.append(
            {"number": golden["frame"], "golden": _packed(frames / golden["image"]), "drawn": drawn}
        )
    return found


def _drawn(line: Line, picture: Mapping[str, Any], frames: Path) -> dict[str, str]:
    share = 100 * picture["changed_share"]
    levels = f"by up to {picture['largest_levels']} of 255"
    said = (
        f"{formatting.number(share)}{formatting.SPACE}% of pixels differ, {levels}"
        if share
        else "no pixel differs"
    )
    said += "" if picture.get("letters", True) else ", both without letters"
    difference = (
        _packed(frames / picture["difference"]) if share else ""
    )  # nobody needs to see black
    image = _packed(frames / picture["image"])
    return {
        "name": name_of(line),
        "outcome": line["outcome"],
        "said": said,
        "image": image,
        "difference": difference,
    }


def _packed(file: Path) -> str:
    """A JPEG file as an address that needs no network."""
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"


# -- the terminal ----------------------------------------------------------------------------------


def show(lines: Sequence[Line], console: Console) -> None:
    """A row per runtime, then why others have no numbers, then the notes."""
    from rich.table import Table
    from rich.text import Text

    found = rows(lines)
    table = Table(box=None, pad_edge=False, header_style="dim")
    wanted = lines[0]["target_per_second"]
    flying = f"FPS, {lines[0]['in_flight']} in flight"
    rates = {"sequential": "FPS", "overlapped": flying, "after": "FPS after decoding"}
    lost = {"dropped": f"dropped at {wanted:g}"} if wanted else {}
    if has_held(lines):
        rates["held"] = f"after decoding, {lines[0]['in_flight']} in flight"
        lost |= {"held_dropped": "dropped after decoding"} if wanted else {}
    columns = ["backend", *rates.values(), *lost.values(), *STAGES, ""]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in found:
        cells = [
            row["name"],
            *(formatting.with_interval(*row[way]) for way in rates),
            *(row[way][0] for way in lost),
        ]
        said = row["covered"] if row["outcome"] == "ok" else row["outcome"]
        table.add_row(
            *map(Text, [*cells, *row["stages"].values()]), Text(said, "yellow" if said else "")
        )
    console.print(table)
    for row in found:
        if row["outcome"] != "ok":
            console.print(
                Text(f"{row['name']}: {row['outcome']}: {row['reason']}", "yellow"), soft_wrap=True
            )
    for note in notes(lines):
        console.print(Text(f"note: {note}", "dim"), soft_wrap=True)
