"""Selects the cells of `evenbench pipeline`: batch 1, a cell per runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evenbench.harness.collection import matrix, model_reader, selection, user_models
from evenbench.harness.collection.selection_flags import Selection
from evenbench.harness.core import registry
from evenbench.harness.core.cases import Case
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.environment import cpu


@dataclass(frozen=True)
class PipelineModel:
    """The options of `evenbench pipeline` for model and cells; empty means not given."""

    thing: str
    declared: str = "benchmarks"
    backends: tuple[str, ...] = ()
    cell: tuple[str, ...] = ()
    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 0
    input: tuple[str, ...] = ()
    recipe: str = ""
    shape: str = ""
    task: str = ""
    option: tuple[str, ...] = ()


def chosen(options: PipelineModel) -> list[Cell]:
    """Return a cell of batch 1 per runtime. Raises UsageError for an unknown model."""
    if user_models.is_model(options.thing):
        return _checked(_undeclared(options))
    _refuse_model_flags(options)
    target, cells, model = _declared_model(options)
    precision = selection.precision_for(model, options.precision)
    by_backend: dict[str, Cell] = {}
    for cell in cells:
        if (cell.model.name, cell.precision, cell.batch) == (model.name, precision, 1):
            by_backend.setdefault(cell.backend, _on_device(cell, options))
    by_backend |= _named_cells(target, model, precision, options)
    runtimes = [name for name in by_backend if registry.row(name).role == "runtime"]
    selected = [
        by_backend.get(name) or _on_device(_new(model, name, precision), options)
        for name in options.backends or runtimes
    ]
    if not selected:
        raise UsageError(
            f"{model.name} is declared with no runtime at {precision} and batch 1; "
            "name some with --backends"
        )
    return _checked(selected)


def _undeclared(options: PipelineModel) -> list[Cell]:
    """Return the cells of a model file or function."""
    if options.cell:
        raise UsageError(
            f"--cell chooses between declared cells, and {options.thing} is a model of your own; "
            "choose with --backends"
        )
    model_reader.check_single_shape(options.shape)
    return _selected(
        Selection(
            (options.thing,),
            input=options.input,
            recipe=options.recipe,
            shape=options.shape,
            backends=options.backends,
            precision=(options.precision,),
            device=(options.device,),
            threads=(options.threads,) if options.threads else (),
            task=options.task,
            option=options.option,
        )
    )


def _refuse_model_flags(options: PipelineModel) -> None:
    if options.input or options.recipe or options.shape or options.task or options.option:
        raise UsageError(
            "--input, --recipe, --shape, --task and --option are for a model of your own, "
            f"such as model.onnx; {options.thing} is declared"
        )


def _declared_model(options: PipelineModel) -> tuple[str, list[Cell], Model]:
    """Return target, cells and model. Raises UsageError with the known names."""
    thing = options.thing
    is_target = "::" in thing or Path(thing).exists()
    target = thing if is_target else options.declared
    cells = _selected(Selection((target,)))
    models = {cell.model.name: cell.model for cell in cells}
    names = ", ".join(sorted(models))
    if is_target and len(models) > 1:
        raise UsageError(f"{thing} declares {names}; name one of them, with --declared {thing}")
    model = next(iter(models.values())) if is_target else models.get(thing)
    if model is None:
        raise UsageError(f"{options.declared} declares no model {thing!r}; models are {names}")
    return target, cells, model


def _named_cells(
    target: str, model: Model, precision: str, options: PipelineModel
) -> dict[str, Cell]:
    """Return the cells of --cell by backend, with their declared threads unless --threads is given.

    Raises UsageError for an undeclared id, a cell against other flags, and two cells of a backend.
    """
    named: dict[str, Cell] = {}
    for cell in _selected(Selection((target,), cell=options.cell)) if options.cell else ():
        properties = (cell.model.name, cell.precision, cell.device, cell.batch)
        if properties != (model.name, precision, options.device, 1):
            raise UsageError(
                f"--cell {cell.id}: expected a cell of {model.name} at {precision} and batch 1 "
                f"on {options.device}; --precision and --device say what is filmed"
            )
        if cell.backend in named:
            raise UsageError(
                f"--cell {named[cell.backend].id} and --cell {cell.id} "
                f"are both of {cell.backend}; name one of them"
            )
        named[cell.backend] = _with_threads(cell, options.threads or cell.threads)
    return named


def _new(model: Model, backend: str, precision: str) -> Cell:
    """Return an undeclared cell."""
    return matrix.expand(Case((model,), (backend,), (precision,), batch=(1,)))[0]


def _on_device(cell: Cell, options: PipelineModel) -> Cell:
    """Return the cell with the device and threads of the command line."""
    return _with_threads(replace(cell, device=options.device), options.threads or cpu.cores())


def _with_threads(cell: Cell, threads: int) -> Cell:
    return replace(cell, threads=threads, default_threads=threads == cpu.cores())


def _selected(wanted: Selection) -> list[Cell]:
    return [entry.cell for entry in selection.select(wanted)]


def _checked(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells without duplicates. Raises UsageError for a cell unable to show frames."""
    for cell in cells:
        if registry.row(cell.backend).role == "control":
            raise UsageError(f"{cell.backend} is a control without outputs to draw; name runtimes")
        if cell.interpreter_name:
            raise UsageError(
                f"{cell.backend} lives in an environment that cannot read and draw frames; "
                f"name {cell.backend_name}"
            )
        if cell.batch != 1:
            raise UsageError(
                f"{cell.model.name} takes {cell.batch} pictures at once; "
                "frames come one by one: export it for a batch of 1"
            )
    return matrix.unique(cells)
