"""evenbench's harness: declare a `Case`, and measure every runtime on the same model and bytes.

Third parties import from here. Nothing in this module imports numpy or a runtime.
"""

import importlib
from typing import Any

from evenbench.harness.core.backend import Backend, Source
from evenbench.harness.core.cases import ALL, Case
from evenbench.harness.core.errors import Unavailable, Unsupported, UsageError
from evenbench.harness.core.golden import Golden
from evenbench.harness.core.measurements import Attestation
from evenbench.harness.core.plans import PLANS, Plan
from evenbench.harness.core.session import Laps, Session
from evenbench.harness.core.tensor_specs import BATCH, TensorSpec
from evenbench.harness.core.types import ANY, Cell, Model, Photograph, Recipe
from evenbench.harness.core.weights import Weights, own, pretrained, seeded, trained

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


def __getattr__(name: str) -> Any:
    """Import `run` and the loaders on first use: declarations need none of them."""
    if name in ("run", "load_results", "load_comparison"):
        return getattr(importlib.import_module("evenbench.harness.python_api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
