"""evenbench: which deployment runtime to ship, measured fairly and proved right.

The one top-level package of the distribution. It holds `harness`, `backends` and `reports`, so that
a project with packages of these names keeps them. `from evenbench import Case` always means
evenbench; `from harness import Case` does where the project has no `harness` of its own.
"""

from typing import Any

from evenbench import aliases, harness
from evenbench.harness import (
    ALL,
    ANY,
    BATCH,
    PLANS,
    Attestation,
    Backend,
    Case,
    Cell,
    Golden,
    Laps,
    Model,
    Photograph,
    Plan,
    Recipe,
    Session,
    Source,
    TensorSpec,
    Unavailable,
    Unsupported,
    UsageError,
    Weights,
    __version__,
    own,
    pretrained,
    seeded,
    trained,
)

aliases.install()

__all__ = [
    "ALL",
    "ANY",
    "BATCH",
    "PLANS",
    "Attestation",
    "Backend",
    "Case",
    "Cell",
    "Golden",
    "Laps",
    "Model",
    "Photograph",
    "Plan",
    "Recipe",
    "Session",
    "Source",
    "TensorSpec",
    "Unavailable",
    "Unsupported",
    "UsageError",
    "Weights",
    "__version__",
    "own",
    "pretrained",
    "seeded",
    "trained",
]


def __getattr__(name: str) -> Any:
    return getattr(harness, name)
