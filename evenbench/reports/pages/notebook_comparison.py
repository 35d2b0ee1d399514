"""A comparison of two commits, releases or backends as the table of a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evenbench.reports.pages import notebook


class ComparisonTable:
    """Rows of a comparison: ratio of head over base with a 99 % interval, and the verdict.

    `base` and `head` name the sides; `exit_code` and `words`, its last lines, are the command's.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], comparison: Mapping[str, Any]) -> None:
        self.rows = [dict(row) for row in rows]
        self.base = str(comparison["base"])
        self.head = str(comparison["head"])
        self.exit_code = int(comparison["exit"])
        self.words = tuple(map(str, comparison.get("words", ())))

    def __len__(self) -> int:
        return len(self.rows)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row per cell and metric."""
        return notebook.imported("pandas").DataFrame(self.rows)

    def __repr__(self) -> str:
        return f"<ComparisonTable: {self.base} against {self.head}, exit code {self.exit_code}>"

    def _repr_html_(self) -> str:
        """The table of a notebook, with the sides and the summary above."""
        from evenbench.reports.pages import templates

        shown = [
            {
                "cell": f"{row['cell']} (control)" if row["control"] else row["cell"],
                "metric": row["metric"] or "",
                f"{self.head} over {self.base}, 99 %": _ratio(row),
                "verdict": row["verdict"],
                "reason": row["reason"] or "",
            }
            for row in self.rows
        ]
        return templates.template("notebook.html.j2").render(
            rows=shown, caption="; ".join([f"{self.base} against {self.head}", *self.words])
        )


def _ratio(row: Mapping[str, Any]) -> str:
    if row["ratio"] is None:
        return ""
    return f"{row['ratio']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
