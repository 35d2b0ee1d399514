"""Agreement of a cell with the golden in terms of its task: classes, pixels, neighbours, objects.

Facts are recorded in `agreement` and decide nothing; `parity` has the verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.result_groups import Record


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
    "differing_values": ("discrete values that differ", _whole),
    "tied_indices": ("other indices of equal scores", _whole),
    "constant_outputs": ("outputs equal for every input", _whole),
}
"""Recorded facts in the order of the tasks: label and format."""


def described(record: Record) -> list[tuple[str, Any]]:
    """Return every fact as label and text; a fact unknown to this version keeps its recorded
    name."""
    agreement = record.get("agreement") or {}
    known = [
        (label, show(agreement[name]))
        for name, (label, show) in FACTS.items()
        if agreement.get(name) is not None
    ]
    return known + [(str(name), value) for name, value in agreement.items() if name not in FACTS]


def lead(record: Record) -> tuple[str, float | None]:
    """Return the main fact as text, and the share of agreement for sorting; otherwise a dash and
    None."""
    agreement = record.get("agreement") or {}
    if "detections" in agreement:
        return _objects(agreement)
    for name, unit in (("miou", "mIoU"), ("worst_cosine", "cosine"), ("top1_agreement", "top-1")):
        if agreement.get(name) is not None:
            return f"{unit} {_share(agreement[name])}", float(agreement[name])
    # Older records have the share in the parity of each output.
    outputs = (record.get("parity") or {}).get("outputs") or []
    older = [
        float(output["top1_agreement"])
        for output in outputs
        if output.get("top1_agreement") is not None
    ]
    return (f"top-1 {_share(min(older))}", min(older)) if older else (formatting.DASH, None)


def _objects(agreement: Record) -> tuple[str, float | None]:
    """`12 of 12 matched`, with the number of objects without a partner."""
    total, matched, unmatched = (
        int(agreement.get(name) or 0) for name in ("detections", "matched", "unmatched")
    )
    text = f"{matched} of {total} matched" + (
        f", {unmatched} without a partner" if unmatched else ""
    )
    objects = matched + unmatched
    return text, matched / objects if objects else 1.0
