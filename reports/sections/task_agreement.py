"""What a cell's task makes of its answer beside the numbers, as ready strings: best classes,
pixels, neighbours, objects found.

These facts are recorded in `agreement` and decide nothing; the verdict is in `parity`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from reports import formatting
from reports.results import Record


def _share(value: float) -> str:
    return formatting.number(value, 6)


def _pixels(value: float) -> str:
    return f"{formatting.number(value)}{formatting.SPACE}pixels"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


FACTS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "top1_agreement": ("same best class", _share),
    "top5_overlap": ("of the golden's five best classes", _share),
    "pixel_agreement": ("pixels of the same class", _share),
    "miou": ("mean IoU", _share),
    "classes_seen": ("classes seen", _whole),
    "worst_cosine": ("lowest cosine", _share),
    "sentences": ("sentences", _whole),
    "nearest_agreement": ("same nearest neighbour", _share),
    "order_agreement": ("neighbours in the same order", _share),
    "detections": ("objects of the golden", _whole),
    "matched": ("matched objects", _whole),
    "unmatched": ("objects without a partner", _whole),
    "on_threshold": ("without one near the score threshold, not counted", _whole),
    "worst_box_pixels": ("largest error of a box", _pixels),
    "worst_box_iou": ("lowest overlap of boxes", _share),
    "worst_score_difference": ("largest difference of scores", formatting.number),
    "worst_mask_iou": ("lowest overlap of masks", _share),
}
"""What is recorded, in the order of the tasks: its label, and how its number is written."""


def described(record: Record) -> list[tuple[str, Any]]:
    """Every recorded fact as label and text; a fact that this version does not know keeps its own
    name.
    """
    found = record.get("agreement") or {}
    known = [
        (label, show(found[name]))
        for name, (label, show) in FACTS.items()
        if found.get(name) is not None
    ]
    return known + [(str(name), value) for name, value in found.items() if name not in FACTS]


def lead(record: Record) -> tuple[str, float | None]:
    """The one fact that says most, in words, and the share of agreement that it sorts by; a dash
    and None where there is none.
    """
    found = record.get("agreement") or {}
    if "detections" in found:
        return _objects(found)
    for name, unit in (("miou", "mIoU"), ("worst_cosine", "cosine"), ("top1_agreement", "top-1")):
        if found.get(name) is not None:
            return f"{unit} {_share(found[name])}", float(found[name])
    outputs = (record.get("parity") or {}).get(
        "outputs"
    ) or []  # where lines had it before they had an agreement
    older = [
        float(output["top1_agreement"])
        for output in outputs
        if output.get("top1_agreement") is not None
    ]
    return (f"top-1 {_share(min(older))}", min(older)) if older else (formatting.DASH, None)


def _objects(found: Record) -> tuple[str, float | None]:
    """`12 of 12 matched`, and how many of the other side found no partner."""
    total, matched, unmatched = (
        int(found.get(name) or 0) for name in ("detections", "matched", "unmatched")
    )
    told = f"{matched} of {total} matched" + (
        f", {unmatched} without a partner" if unmatched else ""
    )
    everything = matched + unmatched
    return told, matched / everything if everything else 1.0
