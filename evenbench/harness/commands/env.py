"""`evenbench env`: list, lock, build and remove the environments of backends."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, registry
from evenbench.harness.core.errors import Unavailable, UsageError
from evenbench.harness.environment import environment_names, lockfiles, virtualenvs
from evenbench.harness.environment.environment_names import Request
from evenbench.harness.environment.installers import python_of
from evenbench.harness.environment.lockfiles import Lock
from evenbench.harness.environment.virtualenvs import Environment

EPILOG = """\
Examples:
  evenbench env
  evenbench env build ort@1.24.1
  evenbench env remove all
Docs: docs/how-to/two-releases.md
"""

EXIT_CODES = {exit_codes.PASS: "done"}

EVERY = "all"
"""Stands for every built environment in `remove`."""

ACTIONS = {
    "list": "show named and built environments",
    "lock": "resolve packages without installing",
    "build": "resolve packages and install",
    "remove": "delete built environments",
}


@dataclass(frozen=True)
class EnvOptions:
    """The options of `evenbench env`."""

    action: str = "list"
    names: tuple[str, ...] = ()
    fresh: bool = False
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the actions with their flags."""
    arguments.add_json_flag(command)
    actions = command.add_subparsers(
        dest="action",
        metavar="ACTION",
        title="actions",
        parser_class=Parser,
        prog=command.prog,
    )
    command.usage = "%(prog)s [OPTIONS] [ACTION ...]"
    for name, purpose in ACTIONS.items():
        action = actions.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
        if name != "list":
            everything = ", or all" if name == "remove" else ""
            action.add_argument(
                "names",
                nargs="+",
                metavar="BACKEND",
                help=f"backends, such as ort@1.24.1{everything}",
            )
        if name in ("lock", "build"):
            action.add_argument(
                "--fresh", action="store_true", help="resolve anew, ignoring the recorded lock"
            )
        # Without a default here, `--json` before the action stays in force.
        arguments.add_json_flag(action, default=argparse.SUPPRESS)


def run(options: EnvOptions) -> int:
    """List, lock, build or remove environments."""

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    value: Any
    if options.action == "lock":
        value = {name: list(lock(name, tell, options.fresh).packages) for name in options.names}
    elif options.action == "build":
        value = {name: build(name, tell, options.fresh).python for name in options.names}
    elif options.action == "remove":
        value = [", ".join(lock.requirements) for lock in remove(options.names)]
    else:
        value = known()
    print(json.dumps(value) if options.json else "\n".join(lines(value)))
    return exit_codes.PASS


def lines(value: Any) -> Iterator[str]:
    """Yield a line per environment, per backend with packages or a Python, or per removal."""
    if isinstance(value, dict):
        for backend, contents in value.items():
            text = contents if isinstance(contents, str) else " ".join(contents)
            yield f"{backend}  {text}"
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, str):
            yield f"removed  {entry}"
        else:
            contents = " ".join(entry["packages"] or entry["requirements"] or [entry["python"]])
            yield f"{entry['name']:<12}  {entry['state']:<9}  {entry['from']}: {contents}"


# -- the list --------------------------------------------------------------------------------------


def known() -> list[dict[str, Any]]:
    """Return named and other built environments as plain JSON. Starts no process.

    `state` is `built`, `not built`, `given` (the user's own Python), or the damage.
    """
    named = [_described(*environment) for environment in _named()]
    listed = {entry["sha256"] for entry in named}
    others = (lock for lock in lockfiles.built() if lock.sha256 not in listed)
    return [
        *named,
        *(
            {"name": lock.requirements[0], "from": "a version", "backend": "", **_locked(lock)}
            for lock in others
        ),
    ]


def _named() -> Iterator[tuple[Request, str, str]]:
    """Yield request, place of definition and example backend of every named environment."""
    given = sorted(name for name in os.environ if name.startswith(environment_names.VARIABLE))
    for variable in given:
        yield (
            Request(
                variable.removeprefix(environment_names.VARIABLE).lower(),
                python=os.environ[variable],
            ),
            variable,
            "",
        )
    for name, requirements in environment_names.declared().items():
        yield Request(name, environment_names.with_numpy(requirements)), "pyproject.toml", ""
    seen = set()
    for row in registry.rows().values():
        for name, requirements in _environments_of(row).items():
            # Backends with the same class, or around it, share its environments.
            if name and (name, requirements) not in seen:
                seen.add((name, requirements))
                yield (
                    Request(name, environment_names.with_numpy(requirements)),
                    f"backend {row.name}",
                    row.name if row.environment == name else f"{row.name}@{name}",
                )


def _environments_of(row: registry.Row) -> dict[str, tuple[str, ...]]:
    try:
        return dict(registry.find(row.name).environments)
    except UsageError:
        return {}  # the doctor reports a backend that does not import


def _described(request: Request, source: str, backend: str) -> dict[str, Any]:
    name = {"name": request.name, "from": source, "backend": backend}
    nothing: dict[str, Any] = {"requirements": [], "packages": [], "sha256": ""}
    if request.python:
        state = "given" if os.access(request.python, os.X_OK) else "has no such Python"
        return {**name, "state": state, "python": request.python, **nothing}
    lock = lockfiles.locked(request)
    if lock is None:
        requirements = list(request.requirements)
        return {
            **name,
            "state": "not built",
            "python": "",
            **nothing,
            "requirements": requirements,
        }
    return {**name, **_locked(lock)}


def _locked(lock: Lock) -> dict[str, Any]:
    damage = lockfiles.damage(lock)
    state = "built" if not damage else "not built" if damage == lockfiles.NOT_BUILT else damage
    return {
        "state": state,
        "python": "" if damage else str(python_of(lock.folder)),
        "requirements": list(lock.requirements),
        "packages": list(lock.packages),
        "sha256": lock.sha256,
    }


# -- actions ---------------------------------------------------------------------------------------


def build(backend: str, tell: Callable[[str], None], fresh: bool = False) -> Environment:
    """Return the environment of a backend (`ort@1.24.1`); `fresh` resolves and builds anew.

    Raises UsageError for a backend without environment, or a failed build.
    """
    request = _request(backend)
    try:
        if fresh and not request.python:
            virtualenvs.forget(request)
        return virtualenvs.ensure(request, tell)
    except Unavailable as error:
        raise UsageError(str(error)) from error


def lock(backend: str, tell: Callable[[str], None], fresh: bool = False) -> Lock:
    """Return the lock of a backend's environment, resolved if absent; installs nothing."""
    request = _request(backend)
    if request.python:
        raise UsageError(
            f"{backend} lives in {request.python}, which somebody else made; "
            "a lock is for environments that are built here"
        )
    try:
        return (None if fresh else lockfiles.locked(request)) or virtualenvs.resolve(request, tell)
    except Unavailable as error:
        raise UsageError(str(error)) from error


def remove(backends: Sequence[str]) -> list[Lock]:
    """Delete the environments of the named backends, or all; return their locks."""
    locks = lockfiles.built() if EVERY in backends else [_lock_of(backend) for backend in backends]
    for removed in locks:
        virtualenvs.remove(removed)
    return locks


def _lock_of(backend: str) -> Lock:
    locked = lockfiles.locked(_request(backend))
    if locked is None:
        raise UsageError(
            f"{backend}: nothing was built for it; `evenbench env` lists built environments"
        )
    return locked


def _request(backend: str) -> Request:
    try:
        request = environment_names.request(backend)
    except Unavailable as error:
        raise UsageError(str(error)) from error
    if request is None:
        raise UsageError(
            f"{backend} lives in this environment; name another one, such as {backend}@1.2.3"
        )
    return request
