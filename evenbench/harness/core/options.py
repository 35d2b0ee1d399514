"""Typed options: frozen dataclasses filled from the namespace of an argument parser."""

from __future__ import annotations

import dataclasses
from argparse import Namespace
from typing import Any, TypeVar, get_type_hints

Options = TypeVar("Options")


def parse(kind: type[Options], namespace: Namespace) -> Options:
    """Return the options of type `kind`; a field with a dataclass type is a group of options.

    Lists become tuples, so options are hashable and nobody changes a default.
    """
    types = get_type_hints(kind)
    values = {
        name: parse(types[name], namespace)
        if dataclasses.is_dataclass(types[name])
        else _frozen(getattr(namespace, name))
        for name in _names(kind)
    }
    return kind(**values)


def defaults(kind: type[Any]) -> dict[str, Any]:
    """Return the dataclass's defaults by name for `ArgumentParser.set_defaults`."""
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(types[field.name]):
            values |= defaults(types[field.name])
        elif field.default is not dataclasses.MISSING:
            # argparse appends to a copy of the default, so a tuple must be a list here.
            default = field.default
            values[field.name] = list(default) if isinstance(default, tuple) else default
    return values


def _names(kind: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
