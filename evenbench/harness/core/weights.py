"""The source of a model's weights, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from evenbench.harness.core import import_strings


@dataclass(frozen=True)
class Weights:
    """The source of a model's weights. Created by `pretrained`, `seeded`, `trained` or `own`."""

    source: Literal["pretrained", "seeded", "trained", "own", "file"]
    seed: int = 0
    url: str = ""
    sha256: str = ""
    train: str = ""
    offsets: bool = False


def pretrained(url: str, sha256: str) -> Weights:
    """A state dict, downloaded once and checked. Cells without a copy are `unavailable` offline."""
    return Weights("pretrained", url=url, sha256=sha256)


def seeded(seed: int = 0, offsets: bool = False) -> Weights:
    """Random weights from `seed`, with batch-norm statistics recalibrated on the model's inputs.

    With `offsets`, parameters that a new module fills with one number (biases of 0, scales of 1,
    shifts of 0) are drawn around that number. Otherwise a runtime that ignores such a parameter
    gives the right outputs.
    """
    return Weights("seeded", seed=seed, offsets=offsets)


def trained(train: Callable[..., Any] | str, seed: int = 0) -> Weights:
    """Weights from one deterministic call of `train(module, seed)`, made at the first use."""
    return Weights("trained", seed=seed, train=import_strings.name_of(train))


def own() -> Weights:
    """The weights returned by `build`, unchanged."""
    return Weights("own")
