"""Groups of cells with known ratios and known noise, measured in sweeps and rounds.

The target of a ratio's interval is the ratio of the cells' levels, which is the median ratio of two
processes for each kind of noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Group = Mapping[str, Mapping[str, Mapping[int, float]]]

PROCESS_DEVIATION = 0.015
"""Standard deviation between processes of a cell, in log time."""

ROUND_DEVIATION = 0.03
"""Standard deviation between blocks of a process, in log time."""

ROUNDS = 15
LEVEL_NS = 1e6


@dataclass(frozen=True)
class Noise:
    """A kind of noise. The defaults are normal noise of the deviations above."""

    name: str
    heavy: bool = False
    """Student's t with three degrees of freedom, at the same standard deviation."""
    stalled: bool = False
    """One process of each group takes five times as long."""
    slow_mode: float = 0.0
    """Share of processes that are 15 % slower."""
    walk: float = 0.0
    """Standard deviation of the step of a random walk between blocks, common to all cells."""
    slope: float = 0.0
    """Linear drift of log time from the first to the last block of a run, common to all cells."""
    memory: float = 0.0
    """Autocorrelation of the blocks of a process from round to round."""
    noisy: float = 1.0
    """The last cell of each group has so many times the deviation between processes."""
    noisy_rounds: float = 1.0
    """The same for the deviation between blocks."""


NORMAL = Noise("normal")
HEAVY = Noise("heavy-tailed (t3)", heavy=True)
STALLED = Noise("a process five times slower", stalled=True)
MODES = Noise("two modes, 15 % apart", slow_mode=0.25)
WALK = Noise("drift: random walk", walk=0.01)
LINEAR = Noise("drift: linear, 50 %", slope=math.log(1.5))
MEMORY = Noise("autocorrelation 0.8", memory=0.8)
NOISY = Noise("a cell with 4 times the noise", noisy=4.0, noisy_rounds=4.0)
UNSTEADY = Noise("a cell with 4 times the noise, processes alone", noisy=4.0)
NOISES = (NORMAL, HEAVY, STALLED, MODES, WALK, LINEAR, MEMORY, NOISY, UNSTEADY)


def simulated(
    rng: np.random.Generator, noise: Noise, levels: Sequence[float], sweeps: int
) -> Group:
    """A group of cells with log times `levels`, as member → sweep → round → time in ns."""
    count = len(levels)
    processes, rounds = np.full(count, PROCESS_DEVIATION), np.full(count, ROUND_DEVIATION)
    processes[-1] *= noise.noisy
    rounds[-1] *= noise.noisy_rounds
    process = _draw(rng, noise, (sweeps, count)) * processes
    process += math.log(1.15) * (rng.random((sweeps, count)) < noise.slow_mode)
    if noise.stalled:
        process[rng.integers(sweeps), rng.integers(count)] += math.log(5)
    blocks = _draw(rng, noise, (sweeps, ROUNDS, count))
    for number in range(1, ROUNDS if noise.memory else 0):
        fresh = math.sqrt(1 - noise.memory**2) * blocks[:, number]
        blocks[:, number] = noise.memory * blocks[:, number - 1] + fresh
    slots = sweeps * ROUNDS * count
    drift = np.cumsum(rng.normal(0, noise.walk, slots)) + np.linspace(0, noise.slope, slots)
    turns = rng.permuted(drift.reshape(sweeps, ROUNDS, count), axis=-1)
    logs = np.asarray(levels) + process[:, None] + blocks * rounds + turns
    times = LEVEL_NS * np.exp(logs)
    return {
        f"cell {cell}": {
            f"sweep {sweep}": dict(enumerate(times[sweep, :, cell].tolist()))
            for sweep in range(sweeps)
        }
        for cell in range(count)
    }


def first_sweeps(group: Group, sweeps: int) -> Group:
    """The group after so many sweeps."""
    return {name: dict(list(taken.items())[:sweeps]) for name, taken in group.items()}


def _draw(rng: np.random.Generator, noise: Noise, shape: tuple[int, ...]) -> Array:
    """Values of standard deviation 1."""
    if noise.heavy:
        return rng.standard_t(3, shape) / math.sqrt(3)
    return rng.normal(0, 1, shape)
