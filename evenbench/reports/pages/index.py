"""The report page: a self-contained `index.html` from recorded results, without network access."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evenbench.reports import assets, constraints, formatting, newest_records, result_groups
from evenbench.reports.charts import parity, phases, speedups
from evenbench.reports.pages import history
from evenbench.reports.pages.templates import template
from evenbench.reports.result_groups import Group, Result
from evenbench.reports.sections import (
    binding_cost,
    cell_table,
    comparison,
    details,
    divergences,
    models,
    operators,
    overview,
    precisions,
    provenance,
    roofline,
    sides,
    trade_offs,
    tuning,
    warnings,
)
from evenbench.reports.sections.related_runs import Companions
from evenbench.reports.sections.tables import Table

NOTHING_ELSE = Companions()

BASELINES_FOR = 200
"""A page of more groups has no choice of baseline, which takes a ratio per pair of cells."""

NAMED = 5
"""Limit on named outcomes in a note about malformed outcomes."""


def write(
    lines: Sequence[Mapping[str, Any]],
    folder: Path,
    notes: Sequence[str] = (),
    asv: str = "",
    beside: Companions = NOTHING_ELSE,
) -> Path:
    """Write the report of `lines` (parsed records) into `folder` and return its index.html.

    Creates the folder if missing. `notes` are shown on top of the page, for example about
    unreadable lines; `asv` is the address of the asv site to link; `beside` has load scenarios and
    pipelines for a section of the page. Raises ValueError without lines.
    """
    if not lines:
        raise ValueError(
            "report: no recorded outcomes; expected at least one line; run `evenbench run` first"
        )
    with _uncollected():
        page = _page(lines, notes, asv, beside)
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "index.html"
    index.write_text(
        history.linked(page) if (folder / "history.html").is_file() else page, encoding="utf-8"
    )
    return index


def render(
    lines: Sequence[Mapping[str, Any]],
    notes: Sequence[str] = (),
    asv: str = "",
    beside: Companions = NOTHING_ELSE,
) -> str:
    """Return the page as HTML."""
    members = result_groups.results(lines)
    groups = result_groups.groups(members)
    return template("page.html.j2").render(
        **_context(groups, members, notes), asv=asv, companions=beside
    )


def _page(
    lines: Sequence[Mapping[str, Any]], notes: Sequence[str], asv: str, beside: Companions
) -> str:
    """The page of all well-formed lines.

    Lines are trusted until the page fails, because checking every line would slow down normal
    pages.
    """
    try:
        newest, replaced = newest_records.newest(lines)
        return render(newest, [*notes, *replaced], asv, beside)
    except ImportError:  # a fault of the installation, not of a line
        raise
    except Exception:  # a line edited by hand, or written by another program: any error is possible
        shown = _showable(lines)
        if not shown:
            raise ValueError(
                "report: every recorded outcome is malformed; docs/reference/results-file.md "
                "describes the format"
            ) from None
        if len(shown) == len(lines):
            raise
        left_out = [
            str((line.get("cell") or {}).get("id", "?"))
            for line in lines
            if not any(line is kept for kept in shown)
        ]
        more = ", ..." if len(left_out) > NAMED else ""
        note = (
            f"{formatting.count(len(left_out), 'malformed outcome')} left out, see "
            f"docs/reference/results-file.md: {', '.join(left_out[:NAMED])}{more}"
        )
        return _page(shown, [*notes, note], asv, beside)


def _showable(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The largest renderable subset of `lines`, by bisection.

    A malformed line costs a few attempts, a good file none.
    """
    if _shows(lines):
        return list(lines)
    if len(lines) == 1:
        return []
    middle = len(lines) // 2
    halves = [_showable(lines[:middle]), _showable(lines[middle:])]
    together = [*halves[0], *halves[1]]
    return together if not all(halves) or _shows(together) else max(halves, key=len)


def _shows(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these lines render without an error."""
    try:
        render(newest_records.newest(lines)[0])
    except ImportError:
        raise
    except Exception:  # any error is possible, as in `_page`
        return False
    return True


@contextmanager
def _uncollected() -> Iterator[None]:
    """Disable cyclic garbage collection.

    A page has a million small strings and no cycles; collection would take a third of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _context(
    groups: Sequence[Group], members: Sequence[Result], notes: Sequence[str]
) -> dict[str, Any]:
    table = cell_table.table(groups)
    cards = models.cards(members)
    return {
        "head": overview.head(groups, members, notes),
        "summary": overview.summary(groups),
        "glance": overview.glance(groups),
        "charts": {
            "overview": speedups.overview(groups),
            "cold_start": phases.cold_starts(groups),
            "correctness": parity.correctness(groups),
            "limit": roofline.drawn(groups),
            "tuning": tuning.drawn(members),
        },
        "trade_offs": trade_offs.rows(members),
        "precisions": precisions.families(members),
        "sides": sides.rows(groups),
        "tuning": tuning.rows(members),
        "binding": binding_cost.rows(members),
        "health": warnings.rows(members),
        "warned": warnings.kinds(members),
        "partings": divergences.rows(members),
        "profiles": operators.page_rows(members),
        "models": cards[: models.CARDS_SHOWN],
        "models_left_out": max(0, len(cards) - models.CARDS_SHOWN),
        "percentiles": overview.percentile_words(members),
        "choices": overview.choices(members),
        "limits": {"fields": constraints.FIELDS, "help": constraints.FIELDS_HELP},
        "group_titles": comparison.titles(groups),
        "runs": provenance.runs(members),
        "origins": provenance.origins(members),
        "table": table,
        "constant": overview.constant_setting(groups),
        "column_sets": cell_table.filled_sets(table),
        "packed": _packed(groups, table),
        "style": Markup(assets.own("page.css")),
        "scripts": [
            Markup(assets.own("theme.js")),
            Markup(assets.own("tables.js") + assets.own("views.js")),
            Markup(assets.own("charts.js")),
        ],
    }


def _packed(groups: Sequence[Group], table: Table) -> dict[str, str]:
    """Compressed data for the scripts on request, by id of the element.

    Readers never open most of a large report.
    """
    compared, described, shared = [], [], _Shared()
    choice = len(groups) <= BASELINES_FOR
    for first, group in comparison.first_indices(groups):
        compared.append(assets.dump(comparison.compare(group, first, choice)))
        members = (*group.ranked, *group.unranked)
        described += [
            assets.dump(shared.fold(details.describe(group, result))) for result in members
        ]
    texts = {
        "table-matrix": assets.dump(_plain(table)),
        "group-lines": "\n".join(compared),
        "cell-lines": "\n".join(described),
        "section-lines": "\n".join(shared.lines),
    }
    library = assets.packed_library(*assets.DATATABLES)
    packed = {name: assets.pack(text) for name, text in texts.items()}
    return {**packed, "datatables-source": library}


class _Shared:
    """Sections of all details without repetition.

    Most cells of a runtime have the same attestation.
    """

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    @property
    def lines(self) -> list[str]:
        """The sections in the order of their numbers."""
        return [assets.dump(section) for section in self._numbers]

    def fold(self, described: dict[str, Any]) -> dict[str, Any]:
        """Return `described` with every section replaced by the number of its line."""
        sections = [(title, tuple(facts)) for title, facts in described["sections"]]
        return {
            **described,
            "sections": [
                self._numbers.setdefault(section, len(self._numbers)) for section in sections
            ],
        }


def _plain(table: Table) -> dict[str, Any]:
    return {"columns": [asdict(column) for column in table.columns], "rows": table.rows}
