"""Typed options: defaults live in the dataclass, groups are nested, lists become tuples."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

from evenbench.harness.core import options


@dataclass(frozen=True)
class Group:
    names: tuple[str, ...] = ("all",)


@dataclass(frozen=True)
class Options:
    target: str
    group: Group = field(default_factory=Group)
    count: int = 3


def parsed(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--count", type=int)
    parser.set_defaults(**options.defaults(Options))
    return options.parse(Options, parser.parse_args(words))


def test_defaults_are_those_of_the_dataclass() -> None:
    assert options.defaults(Options) == {"names": ["all"], "count": 3}
    assert parsed("x") == Options("x")


def test_given_values_fill_nested_groups_as_tuples() -> None:
    assert parsed("x", "--names", "a", "b", "--count", "5") == Options("x", Group(("a", "b")), 5)
    assert hash(parsed("x", "--names", "a")) == hash(Options("x", Group(("a",))))
