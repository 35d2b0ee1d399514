"""Texts on a cell, shared by tables, the comparison and the terminal."""

from __future__ import annotations

from reports import formatting, verdict
from reports.result_groups import Group, Result


def parity_text(result: Result) -> str:
    """Return tolerance needed and allowed, such as `0.03 / 1`.

    `degenerate` if the comparison proves nothing; a dash without a comparison.
    """
    parity = result.record.get("parity")
    if not parity:
        return formatting.DASH
    if parity.get("verdict") == "degenerate":
        return "degenerate"
    needed = formatting.number(parity.get("needed"), 2)
    return f"{needed} / {formatting.number(parity.get('allowed'), 1)}"


def reason(group: Group, result: Result) -> str:
    """Return the reason of an outcome; for a ranked cell its standing. Counts warnings."""
    given = str(result.record.get("reason") or "")
    if result.outcome != "ok":
        hint = str(result.record.get("hint") or "")
        return f"{given}; {hint}" if hint and hint not in given else given
    judged = verdict.stand(group, result) if result.ranks else "no time recorded"
    words = "control, never ranked" if result.is_control else judged
    warnings = len(result.record.get("warnings") or [])
    return (
        f"{given or words}; {formatting.count(warnings, 'warning')}" if warnings else given or words
    )
