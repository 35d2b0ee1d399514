"""The recorded results of a model at one batch size, to rank or price cells."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evenbench.harness.core.errors import UsageError
from evenbench.harness.results.records import Record
from evenbench.reports import input_shapes, newest_records, result_groups
from evenbench.reports.result_groups import Result


@dataclass(frozen=True)
class Scope:
    """The results of a model at one batch size and input shape, and notes on the others.

    `shape` is the shape of a sample, as `input_shapes.of`; empty if not recorded.
    """

    batch: int
    shape: str
    members: Sequence[Result]
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> dict[str, int | str]:
        """Batch and shape as JSON values."""
        return {"batch": self.batch, "shape": self.shape}

    @property
    def words(self) -> list[str]:
        """Batch, and the shape if recorded, as words of a heading."""
        return [f"batch {self.batch}", *([f"shape {self.shape}"] if self.shape else [])]


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
    lines: Sequence[Record],
    paths: Sequence[str],
    model: str,
    device: str = "",
    batch: int = 0,
    shape: str = "",
) -> Scope:
    """Return the results of a model. Empty `device` is any, `batch` 0 is the smallest recorded.

    An empty `shape` is the shape measured last. Of several declarations with one id, such as a
    model file before and after an export, the newest counts, with a note.

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
    kept, only, note = _of_shape(kept, shape, f"{where}: nothing is recorded of {model}")
    kept, older = _one_per_id(kept)
    replaced = [note for note in replaced if note.partition(":")[0] in ids]
    return Scope(chosen, only, kept, (*notes, *filter(None, (note, *older)), *replaced))


def _of_shape(
    members: Sequence[Result], wanted: str, nothing: str
) -> tuple[list[Result], str, str]:
    """Return the results of one input shape, the shape, and a note on other shapes.

    Results without a recorded shape belong to every shape.
    """
    newest_first = sorted(members, key=_time, reverse=True)
    shapes = dict.fromkeys(input_shapes.of(result.cell) for result in newest_first)
    known = [shape for shape in shapes if shape]
    as_given = {_with_batch(shape): shape for shape in known}
    plain = wanted.replace(",", "+")
    last = known[0] if known else ""
    shape = as_given.get(plain, plain if plain in known else "") if wanted else last
    if wanted and not shape:
        recorded_are = f"recorded are {', '.join(sorted(known))}" if known else "none is recorded"
        raise UsageError(f"{nothing} at shape {wanted}; {recorded_are}")
    others = ", ".join(sorted(other for other in known if other != shape))
    kept = [result for result in members if input_shapes.of(result.cell) in ("", shape)]
    note = f"shape {shape}; shape {others} is recorded as well, see --shape" if others else ""
    return kept, shape, note


def _with_batch(shape: str) -> str:
    """Return the shape of one sample as on the command line of `run`."""
    return "+".join(f"1x{sample}" for sample in shape.split("+"))


def _one_per_id(members: Sequence[Result]) -> tuple[list[Result], list[str]]:
    """Return the newest result of each id, and a note on every other declaration of the id."""
    newest: dict[str, Result] = {}
    for result in sorted(members, key=_time):
        newest[str(result.cell.get("id"))] = result
    older = Counter(
        str(result.cell.get("id"))
        for result in members
        if newest[str(result.cell.get("id"))] is not result
    )
    notes = [
        f"{name}: {count + 1} different declarations have this id, such as a model before and "
        f"after an edit; run {newest[name].run} has the newest"
        for name, count in older.items()
    ]
    return [result for result in members if newest[str(result.cell.get("id"))] is result], notes


def _time(result: Result) -> str:
    return str(result.record.get("time") or "")


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
