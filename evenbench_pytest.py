"""The entry point of the pytest plugin, outside the packages of evenbench.

pytest loads this module in every session, also in projects that do not use evenbench. A project
with a package or folder of its own named `harness` keeps it: the plugin then does nothing, instead
of ending the session.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

PACKAGE = "harness"

OURS = Path(__file__).resolve().parent / PACKAGE


def hidden_by() -> str:
    """The user's package or folder that is imported in place of evenbench's; usually empty."""
    own = Path.cwd() / PACKAGE
    places = [str(own)] if (own / "__init__.py").is_file() else []
    spec = importlib.util.find_spec(PACKAGE)
    if spec:
        places += [*(spec.submodule_search_locations or ()), spec.origin or ""][:1]
    return next((place for place in places if place and Path(place).resolve() != OURS), "")


HIDDEN = hidden_by()

if HIDDEN:

    def pytest_report_header(config: Any) -> str:
        """Name the package that switches the plugin off."""
        return f"evenbench: off, because {HIDDEN} hides its package {PACKAGE!r}"

else:
    from harness.plugin import (
        pytest_addoption,
        pytest_collect_file,
        pytest_collection_finish,
        pytest_configure,
        pytest_pycollect_makeitem,
        pytest_pycollect_makemodule,
        pytest_sessionfinish,
        pytest_terminal_summary,
    )

    __all__ = [
        "pytest_addoption",
        "pytest_collect_file",
        "pytest_collection_finish",
        "pytest_configure",
        "pytest_pycollect_makeitem",
        "pytest_pycollect_makemodule",
        "pytest_sessionfinish",
        "pytest_terminal_summary",
    ]
