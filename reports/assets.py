"""The scripts and styles of the page, read from the packages that ship them, so that a report needs
no network.

The packages are found, not imported: itables would bring IPython and a data frame library, and
neither is needed.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

OWN = Path(__file__).parent / "static"

PLOTLY = ("plotly", "package_data/plotly.min.js")
DATATABLES = ("itables", "html/dt_bundle.js")


@cache
def read(package: str, path: str) -> str:
    """The text of a file inside an installed package; FileNotFoundError says what to install."""
    found = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (found.submodule_search_locations or [])] if found else []
    for folder in folders:
        if (folder / path).is_file():
            return (folder / path).read_text(encoding="utf-8")
    raise FileNotFoundError(
        f"report: {path} of the package {package} was not found; expected it in {[str(folder) for folder in folders]}; "
        f"pip install --upgrade {package}"
    )


def own(name: str) -> str:
    """The text of one of the report's own files in `reports/static`."""
    return (OWN / name).read_text(encoding="utf-8")
