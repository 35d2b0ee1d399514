"""evenbench's harness: declare a `Case`, and every runtime runs the same model on the same bytes under one timing rule.

Third parties import from here. Nothing in this module imports numpy or a runtime.
"""

from harness.backend import Backend, Golden, Laps, Session, Source
from harness.cases import ALL, Case
from harness.types import (
    ANY,
    BATCH,
    PLANS,
    Attestation,
    Cell,
    Model,
    Photograph,
    Plan,
    Recipe,
    TensorSpec,
    Unavailable,
    Unsupported,
    UsageError,
    Weights,
    own,
    pretrained,
    seeded,
    trained,
)

__version__ = "0.1.0"

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
    "own",
    "pretrained",
    "seeded",
    "trained",
]
