"""The source of a model's weights, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from harness.core import import_strings


@dataclass(frozen=True)
class Weights:
    """Where a model's numbers come from. Made with `pretrained`, `seeded`, `trained` or `own`."""

    source: Literal["pretrained", "seeded", "trained", "own", "file"]
    seed: int = 0
    url: str = ""
    sha256: str = ""
    train: str = ""


def pretrained(url: str, sha256: str) -> Weights:
    """A state dict downloaded once into the cache and checked; `unavailable` when offline and not
    cached.
    """
    return Weights("pretrained", url=url, sha256=sha256)


def seeded(seed: int = 0) -> Weights:
    """Random initialisation from `seed`, then batch-norm statistics recalibrated on the model's own
    input images.
    """
    return Weights("seeded", seed=seed)


def trained(train: Callable[..., Any] | str, seed: int = 0) -> Weights:
    """`train(module, seed)` is called once, deterministically, when the weights are first needed."""
    return Weights("trained", seed=seed, train=import_strings.name_of(train))


def own() -> Weights:
    """The weights that `build` returns are used as they are."""
    return Weights("own")
