"""From a `Case` to its cells, in a fixed order; nothing is imported and nothing is left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from harness.core import registry
from harness.core.cases import ALL, Case
from harness.core.errors import UsageError
from harness.core.types import Cell, Model
from harness.environment import cpu
from harness.inputs import preprocessors

FOREIGN = re.compile(r"[^\w\s()+\-.:/\[\]\\]")
"""What ids hold and pytest's grammar does not: `@` of an environment, `=` of an option, and what
stands in an option's value.
"""


def expand(case: Case) -> list[Cell]:
    """Every cell of a case. Raises UsageError for an unknown backend or for options of a backend
    that is not in the case.
    """
    backends = _backends(case)
    strangers = sorted(set(case.options) - set(backends))
    if strangers:
        raise UsageError(
            f"Case: options name {', '.join(strangers)}, which the case does not run; it runs {', '.join(backends)}"
        )
    available = cpu.cores()
    return [
        Cell(
            model,
            backend,
            precision,
            device,
            batch,
            threads or available,
            options,
            threads in (0, available),
        )
        for model in _models(case)
        for precision in case.precisions
        for device in case.devices
        for batch in case.batch
        for threads in case.threads
        for backend in backends
        for options in _option_sets(case, backend)
    ]


def _backends(case: Case) -> list[str]:
    named = registry.runtimes() if tuple(case.backends) == ALL else case.backends
    for name in named:
        registry.row(name)
    return list(named)


def _models(case: Case) -> list[Model]:
    """The case's models, each once per library that does its recipe."""
    return [
        preprocessors.implemented(model, library)
        for model in case.models
        for library in case.preprocessing
    ]


def _option_sets(case: Case, backend: str) -> list[tuple[tuple[str, object], ...]]:
    return [tuple(sorted(options.items())) for options in case.options.get(backend, ({},))]


def unique(cells: Iterable[Cell]) -> list[Cell]:
    """The cells without repeats, in order: two cases may declare the same square, which is measured
    once.
    """
    return list({cell.key: cell for cell in cells}.values())


def select(cells: Sequence[Cell], expression: str) -> list[Cell]:
    """The cells whose id matches `expression`; see `matcher`."""
    matches = matcher(expression)
    return [cell for cell in cells if matches(cell.id)]


def matcher(expression: str) -> Callable[[str], bool]:
    """Whether an id matches `expression`: words joined by `and`, `or`, `not` and brackets, as
    pytest's -k; an empty one matches all.

    Raises UsageError on an expression that does not parse.
    """
    if not expression.strip():
        return lambda identity: True
    from _pytest.mark.expression import Expression

    try:
        # No id has a backslash, so that each such character can stand between two of them while the
        # expression is parsed.
        compiled = Expression.compile(
            FOREIGN.sub(lambda found: f"\\{ord(found.group()):x}\\", expression)
        )
    except SyntaxError as error:
        raise UsageError(
            f"-k {expression!r} does not parse: {_restored(str(error))}; write words joined by and, or, not, or give a whole id with --cell"
        ) from error

    def matches(identity: str) -> bool:
        return compiled.evaluate(lambda word, /, **_: _restored(word).lower() in identity.lower())

    return matches


def _restored(word: str) -> str:
    return re.sub(r"\\([0-9a-f]+)\\", lambda found: chr(int(found.group(1), 16)), word)
