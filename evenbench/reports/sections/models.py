"""Models and their artifacts: a card per model, a row per artifact, from facts recorded by
prepare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.reports import formatting
from evenbench.reports.result_groups import Result

OPERATORS_SHOWN = 5

CARDS_SHOWN = 40
"""Limit on cards, so that the page opens quickly.

Further models are counted; the details of their cells have the facts.
"""


@dataclass(frozen=True)
class ArtifactRow:
    """An artifact as texts.

    `operators` are the most frequent operators, `all_operators` all operators.
    """

    artifact: str
    format: str
    read_by: str
    size: str
    parameters: str
    flops: str
    computes_in: str
    operators: str
    all_operators: str
    changes: str


@dataclass(frozen=True)
class Card:
    """A model: its facts and its artifacts."""

    model: str
    facts: tuple[tuple[str, str], ...]
    artifacts: tuple[ArtifactRow, ...]


def cards(members: Iterable[Result]) -> list[Card]:
    """Return a card per model with an artifact, by name.

    An artifact shared by several cells is one row, identified by sha256.
    """
    artifacts: dict[str, dict[str, list[Result]]] = {}
    for result in members:
        if result.record.get("artifact") and not result.is_control:
            model, digest = (
                str(result.cell.get("model", "")),
                str(result.record.get("artifact_sha256") or ""),
            )
            artifacts.setdefault(model, {}).setdefault(digest, []).append(result)
    return [_card(model, artifacts[model]) for model in sorted(artifacts, key=str.casefold)]


def described(result: Result) -> list[tuple[str, str]]:
    """Return facts on the model inside an artifact, as label and text; empty without facts."""
    if not _model(result):
        return []
    artifact = _artifact_row("", [result])
    shown = ("parameters", "flops", "computes_in", "all_operators", "changes")
    labels = ("parameters", "work", "computes in", "operators", "precision changes")
    return [(label, getattr(artifact, name)) for label, name in zip(labels, shown, strict=True)]


def _card(model: str, artifacts: Mapping[str, Sequence[Result]]) -> Card:
    first = next(iter(artifacts.values()))[0].record
    described = [_model(results[0]) for results in artifacts.values()]
    counted = next(
        (model_facts["flops"] for model_facts in described if model_facts.get("flops")), None
    )
    weights = first.get("weights") or {}
    facts = [
        (
            "parameters",
            formatting.plain(weights.get("parameters")) if "parameters" in weights else "",
        ),
        ("work per step", _flops(counted) if counted else ""),
        ("weights", str(weights.get("note") or weights.get("source") or "")),
        ("inputs", str((first.get("inputs") or {}).get("recipe") or "")),
    ]
    rows = [_artifact_row(digest, results) for digest, results in artifacts.items()]
    return Card(model, tuple((name, value) for name, value in facts if value), tuple(rows))


def _model(result: Result) -> Mapping[str, Any]:
    """Facts on the model inside the artifact; empty without facts.

    A user's own file is its own artifact at fp32.
    """
    facts, weights = (
        (result.record.get("artifact") or {}).get("facts") or {},
        result.record.get("weights") or {},
    )
    original = (
        weights.get("model")
        if result.cell.get("precision") == "fp32" and facts.get("format") == "ONNX"
        else None
    )
    model = facts.get("model") or original
    return model if isinstance(model, Mapping) else {}


def _artifact_row(digest: str, results: Sequence[Result]) -> ArtifactRow:
    artifact, model = results[0].record["artifact"], _model(results[0])
    operators = model.get("operators") or {}
    changes = model.get("precision_changes")
    return ArtifactRow(
        artifact=digest[:12] or formatting.DASH,
        format=str((artifact.get("facts") or {}).get("format") or formatting.DASH),
        read_by=", ".join(
            dict.fromkeys(
                f"{result.name} {result.cell.get('precision', '')}".strip() for result in results
            )
        ),
        size=formatting.size(artifact.get("bytes")),
        parameters=_parameters(model),
        flops=_flops(model.get("flops"), model.get("flops_uncounted")),
        computes_in=str(model.get("computes_in") or formatting.DASH),
        operators=_counts(operators, OPERATORS_SHOWN),
        all_operators=_counts(operators, len(operators)),
        changes=formatting.DASH
        if changes is None
        else _counts(changes, len(changes))
        if changes
        else "nowhere",
    )


def _parameters(model: Mapping[str, Any]) -> str:
    if model.get("parameters") is None:
        return formatting.DASH
    sizes = ", ".join(
        f"{formatting.size(count)} {dtype}"
        for dtype, count in (model.get("parameter_bytes") or {}).items()
    )
    return f"{model['parameters']:,}" + (f" ({sizes})" if sizes else "")


def _flops(total: int | None, uncounted: Mapping[str, int] | None = None) -> str:
    if total is None:
        return formatting.DASH
    return formatting.amount(total, "FLOP") + (
        f", without {_counts(uncounted, len(uncounted))}" if uncounted else ""
    )


def _counts(counts: Mapping[str, int], shown: int) -> str:
    listed = [f"{count}{formatting.SPACE}{name}" for name, count in list(counts.items())[:shown]]
    rest = sum(list(counts.values())[shown:])
    return ", ".join([*listed, *([f"{rest} others"] if rest else [])]) or formatting.DASH
