"""evenbench's harness: declare a `Case`, and every runtime runs the same model on the same bytes
under one timing rule.

Third parties import from here. Nothing in this module imports numpy or a runtime.
"""

from harness.core.backend import Backend, Golden, Laps, Session, Source
from harness.core.cases import ALL, Case
from harness.core.errors import Unavailable, Unsupported, UsageError
from harness.core.measurements import Attestation
from harness.core.types import (
    ANY,
    BATCH,
    PLANS,
    Cell,
    Model,
    Photograph,
    Plan,
    Recipe,
    TensorSpec,
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
