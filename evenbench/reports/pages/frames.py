"""Judged frames of a pipeline: the golden's drawing, and each runtime's with its difference."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.pipeline_results import Line, name_of


def shots(lines: Sequence[Line], pictures: Mapping[str, Any], frames: Path) -> list[dict[str, Any]]:
    """Return the judged frames in order, with images as data addresses.

    `pictures` names JPEG files in the folder `frames`.
    """
    return [
        {
            "number": golden["frame"],
            "golden": _data_address(frames / golden["image"]),
            "drawn": [
                _drawing(line, pictures[line["cell"]["key"]][place], frames)
                for line in lines
                if line["cell"]["key"] in pictures
            ],
        }
        for place, golden in enumerate(pictures["golden"])
    ]


def _drawing(line: Line, picture: Mapping[str, Any], frames: Path) -> dict[str, str]:
    changed = 100 * picture["changed_share"]
    caption = "no pixel differs"
    if changed:
        levels = f"by up to {picture['largest_levels']} of 255"
        caption = f"{formatting.number(changed)}{formatting.SPACE}% of pixels differ, {levels}"
    caption += "" if picture.get("letters", True) else ", both without letters"
    # A difference of zero everywhere is a black picture, and wastes space.
    difference = _data_address(frames / picture["difference"]) if changed else ""
    return {
        "name": name_of(line),
        "outcome": line["outcome"],
        "caption": caption,
        "image": _data_address(frames / picture["image"]),
        "difference": difference,
    }


def _data_address(file: Path) -> str:
    """A JPEG file as a `data:` address, so that the page needs no network."""
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"
