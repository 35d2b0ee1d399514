"""Expansion of a `Case` into all its cells in a fixed order, and selection by expression."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from evenbench.harness.core import registry
from evenbench.harness.core.cases import ALL, Case
from evenbench.harness.core.errors import UsageError
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.environment import cpu
from evenbench.harness.inputs import preprocessors

FOREIGN = re.compile(r"[^\w\s()+\-.:/\[\]\\]")
"""Characters of ids outside pytest's grammar: `@` of an environment, `=` of an option, and more in
an option's value.
"""


def expand(case: Case) -> list[Cell]:
    """Every cell of a case. Raises UsageError for an unknown backend, and for options of a backend
    outside the case.
    """
    backends = _backends(case)
    strangers = sorted(set(case.options) - set(backends))
    if strangers:
        raise UsageError(
            f"Case: options name {', '.join(strangers)}, which the case does not run; it runs "
            f"{', '.join(backends)}"
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
    """The case's models, once per preprocessing library."""
    return [
        preprocessors.implemented(model, library)
        for model in case.models
        for library in case.preprocessing
    ]


def _option_sets(case: Case, backend: str) -> list[tuple[tuple[str, object], ...]]:
    return [tuple(sorted(options.items())) for options in case.options.get(backend, ({},))]


def unique(cells: Iterable[Cell]) -> list[Cell]:
    """The cells without repeats, in order, since two cases may declare equal cells."""
    return list({cell.key: cell for cell in cells}.values())


def select(cells: Sequence[Cell], expression: str) -> list[Cell]:
    """The cells with an id matching `expression`; see `matcher`."""
    matches = matcher(expression)
    return [cell for cell in cells if matches(cell.id)]


def matcher(expression: str) -> Callable[[str], bool]:
    """A predicate for ids, from words joined by `and`, `or`, `not` and brackets, as in pytest's -k;
    an empty expression matches all ids. Raises UsageError for an invalid expression.
    """
    if not expression.strip():
        return lambda identity: True
    from _pytest.mark.expression import Expression

    try:
        # Ids have no backslash, so backslashes can delimit the code of a foreign character.
        escaped = FOREIGN.sub(lambda match: f"\\{ord(match.group()):x}\\", expression)
        compiled = Expression.compile(escaped)
    except SyntaxError as error:
        raise UsageError(
            f"-k {expression!r} does not parse: {_restored(str(error))}; write words joined by "
            "and, or, not, or give a whole id with --cell"
        ) from error

    def matches(identity: str) -> bool:
        return compiled.evaluate(lambda word, /, **_: _restored(word).lower() in identity.lower())

    return matches


def _restored(word: str) -> str:
    return re.sub(r"\\([0-9a-f]+)\\", lambda match: chr(int(match.group(1), 16)), word)
