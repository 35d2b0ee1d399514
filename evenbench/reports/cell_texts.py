"""Texts on a cell, shared by tables, the comparison and the terminal."""

from __future__ import annotations

from evenbench.reports import formatting, verdict
from evenbench.reports.result_groups import Group, Result

IN_TURN, ALONE = "calls made in turn with other runtimes", "calls of one runtime alone"


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


def calls(result: Result) -> str:
    """Return the kind of calls behind the percentiles of a result."""
    return IN_TURN if any(result.record.get("interleaving") or ()) else ALONE


def reason(group: Group, result: Result) -> str:
    """Return the reason of an outcome; for a ranked cell its standing.

    Names stalled processes, and counts warnings.
    """
    given = str(result.record.get("reason") or "")
    if result.outcome != "ok":
        hint = str(result.record.get("hint") or "")
        return f"{given}; {hint}" if hint and hint not in given else given
    judged = verdict.stand(group, result) if result.ranks else "no time recorded"
    words = "control, never ranked" if result.is_control else judged
    apart = [f"{process.name} stands apart" for process in result.apart]
    warnings = len(result.record.get("warnings") or [])
    counted = [formatting.count(warnings, "warning")] if warnings else []
    return "; ".join([given or words, *apart, *counted])
