"""Lists, locks, builds and removes the environments that backends live in: `evenbench
environments`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from harness.core import registry
from harness.core.errors import Unavailable, UsageError
from harness.environment import environment_names, lockfiles, virtualenvs
from harness.environment.environment_names import Request
from harness.environment.installers import python_of
from harness.environment.lockfiles import Lock
from harness.environment.virtualenvs import Environment

EVERY = "all"
"""Stands for every environment that was built, in `remove`."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The actions of the command, each with its flags."""
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )
    command.set_defaults(action="list")
    actions = command.add_subparsers(dest="action", metavar="ACTION", help="list (without one)")
    told = {
        "lock": "resolve, and show what it would hold",
        "build": "resolve, and install",
        "remove": "delete what was built",
    }
    for name, words in told.items():
        action = actions.add_parser(name, help=words)
        action.add_argument(
            "names",
            nargs="+",
            metavar="BACKEND",
            help="such as ort@1.24.1" + (", or all" if name == "remove" else ""),
        )
        action.add_argument(
            "--json",
            action="store_true",
            default=argparse.SUPPRESS,
            help="one JSON value on standard output",
        )
        if name != "remove":
            action.add_argument(
                "--fresh", action="store_true", help="resolve anew what was resolved before"
            )
    actions.add_parser("list", help="those that have a name here, or are built").add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS,
        help="one JSON value on standard output",
    )


def run(options: argparse.Namespace) -> int:
    """List the environments of backends, or lock, build or remove those of the named ones."""

    def tell(words: str) -> None:
        print(words, file=sys.stderr)

    if options.action == "lock":
        found: Any = {
            name: list(lock(name, tell, options.fresh).packages) for name in options.names
        }
    elif options.action == "build":
        found = {name: build(name, tell, options.fresh).python for name in options.names}
    elif options.action == "remove":
        found = [", ".join(lock.requirements) for lock in remove(options.names)]
    else:
        found = known()
    print(json.dumps(found) if options.json else "\n".join(in_words(found)))
    return 0


def known() -> list[dict[str, Any]]:
    """Every environment that has a name here, and every other that was built, as plain JSON. Starts
    no process.

    `state` is `built`, `not built`, `given` (somebody else's Python), or what is wrong with it, in
    words.
    """
    found = [_described(asked, source, backend) for asked, source, backend in _named()]
    listed = {entry["sha256"] for entry in found}
    others = (lock for lock in lockfiles.built() if lock.sha256 not in listed)
    return [
        *found,
        *(
            {"name": lock.requirements[0], "from": "a version", "backend": "", **_locked(lock)}
            for lock in others
        ),
    ]


def _named() -> Iterator[tuple[Request, str, str]]:
    """What a name asks for, where it has its meaning from, and a backend that has it."""
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
    told = set()
    for row in registry.rows().values():
        for name, requirements in _of(row).items():
            if (
                name and (name, requirements) not in told
            ):  # backends that share a class, or wrap one, share its environments
                told.add((name, requirements))
                yield (
                    Request(name, environment_names.with_numpy(requirements)),
                    f"backend {row.name}",
                    _spelled(row, name),
                )


def _of(row: registry.Row) -> dict[str, tuple[str, ...]]:
    try:
        return dict(registry.find(row.name).environments)
    except UsageError:
        return {}  # a backend that does not import is the doctor's to tell


def _spelled(row: registry.Row, name: str) -> str:
    return row.name if row.environment == name else f"{row.name}@{name}"


def _described(asked: Request, source: str, backend: str) -> dict[str, Any]:
    known = {"name": asked.name, "from": source, "backend": backend}
    if asked.python:
        state = "given" if os.access(asked.python, os.X_OK) else "has no such Python"
        return {
            **known,
            "state": state,
            "python": asked.python,
            "requirements": [],
            "packages": [],
            "sha256": "",
        }
    lock = lockfiles.locked(asked)
    if lock is None:
        return {
            **known,
            "state": "not built",
            "python": "",
            "requirements": list(asked.requirements),
            "packages": [],
            "sha256": "",
        }
    return {**known, **_locked(lock)}


def _locked(lock: Lock) -> dict[str, Any]:
    wrong = lockfiles.damage(lock)
    state = "built" if not wrong else "not built" if wrong == lockfiles.NOT_BUILT else wrong
    python = "" if wrong else str(python_of(lock.folder))
    kept = {
        "requirements": list(lock.requirements),
        "packages": list(lock.packages),
        "sha256": lock.sha256,
    }
    return {"state": state, "python": python, **kept}


def build(backend: str, tell: Callable[[str], None], fresh: bool = False) -> Environment:
    """The environment of a backend's name such as `ort@1.24.1`; with `fresh` it is resolved and
    built anew.

    Raises UsageError where there is no such environment, or where it cannot be had.
    """
    asked = _asked(backend)
    try:
        if fresh and not asked.python:
            virtualenvs.forget(asked)
        return virtualenvs.ensure(asked, tell)
    except Unavailable as error:
        raise UsageError(str(error)) from error


def lock(backend: str, tell: Callable[[str], None], fresh: bool = False) -> Lock:
    """What the environment of a backend's name would hold, resolved where it was not yet; nothing
    is installed.
    """
    asked = _asked(backend)
    if asked.python:
        raise UsageError(
            f"{backend} lives in {asked.python}, which somebody else made; a lock is for environments that are built here"
        )
    try:
        return (None if fresh else lockfiles.locked(asked)) or virtualenvs.resolve(asked, tell)
    except Unavailable as error:
        raise UsageError(str(error)) from error


def remove(backends: Sequence[str]) -> list[Lock]:
    """Delete what was built for these names, or all of it; returns the locks that are gone."""
    wanted = (
        lockfiles.built() if EVERY in backends else [_locked_of(backend) for backend in backends]
    )
    for each in wanted:
        virtualenvs.remove(each)
    return wanted


def _locked_of(backend: str) -> Lock:
    found = lockfiles.locked(_asked(backend))
    if found is None:
        raise UsageError(
            f"{backend}: nothing was built for it; `evenbench environments` lists what was"
        )
    return found


def in_words(found: Any) -> Iterator[str]:
    """What the command found, one thing per line: environments, packages or Pythons by backend, or
    what was removed.
    """
    if isinstance(found, dict):
        for backend, value in found.items():
            yield f"{backend}  {value if isinstance(value, str) else ' '.join(value)}"
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, str):
            yield f"removed  {entry}"
        else:
            what = " ".join(entry["packages"] or entry["requirements"] or [entry["python"]])
            yield f"{entry['name']:<12}  {entry['state']:<9}  {entry['from']}: {what}"


def _asked(backend: str) -> Request:
    try:
        asked = environment_names.request(backend)
    except Unavailable as error:
        raise UsageError(str(error)) from error
    if asked is None:
        raise UsageError(
            f"{backend} lives in this environment; name another one, such as {backend}@1.2.3"
        )
    return asked
