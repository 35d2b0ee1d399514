"""The recorded results of a model at one batch size, to rank or price cells."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evenbench.harness.core.errors import UsageError
from evenbench.harness.results.records import Record
from evenbench.reports import newest_records, result_groups
from evenbench.reports.result_groups import Result


@dataclass(frozen=True)
class Scope:
    """The results of a model at one batch size, and notes on the others."""

    batch: int
    members: Sequence[Result]
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def malformed_lines_named(paths: Sequence[str]) -> Iterator[None]:
    """Raise UsageError with the paths for a line of another form, perhaps edited by hand."""
    try:
        yield
    except UsageError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{' '.join(paths)}: malformed result line ({type(error).__name__}: {error}); "
            "`evenbench report` leaves such lines out and names them"
        ) from error


def scope(
    lines: Sequence[Record], paths: Sequence[str], model: str, device: str = "", batch: int = 0
) -> Scope:
    """Return the results of a model. Empty `device` is any, `batch` 0 is the smallest recorded.

    Raises UsageError with the recorded names when nothing is left.
    """
    newest, replaced = newest_records.newest(lines)
    members = result_groups.results(newest)
    where = " ".join(paths)
    for name, wanted in (("model", model), ("device", device)):
        members = _with(members, name, wanted, f"{where}: nothing is recorded", model)
    batches = sorted({_batch(result) for result in members})
    chosen = batch or batches[0]
    if chosen not in batches:
        raise UsageError(
            f"{where}: nothing is recorded of {model} at batch {chosen}; "
            f"recorded are {', '.join(map(str, batches))}"
        )
    others = ", ".join(str(other) for other in batches if other != chosen)
    notes = (f"batch {chosen}; batch {others} is recorded as well, see --batch",) if others else ()
    ids = {str(result.cell.get("id")) for result in members}
    kept = [result for result in members if _batch(result) == chosen]
    return Scope(
        chosen, kept, (*notes, *(note for note in replaced if note.partition(":")[0] in ids))
    )


def _with(
    members: Sequence[Result], name: str, wanted: str, nothing: str, model: str
) -> list[Result]:
    """Return the results with a value of a cell's field. Raises UsageError for an unknown value."""
    known = sorted({str(result.cell.get(name, "")) for result in members})
    if wanted and wanted not in known:
        of_model = f" of {model}" if name == "device" else ""
        hint = (
            f"recorded are {', '.join(known)}"
            if known
            else "no outcome is recorded there; run `evenbench run` first"
        )
        raise UsageError(f"{nothing}{of_model} with {name} {wanted!r}; {hint}")
    return [result for result in members if not wanted or result.cell.get(name) == wanted]


def _batch(result: Result) -> int:
    return int(result.cell.get("batch") or 0)
