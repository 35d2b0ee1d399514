"""Scripts, styles and data of a self-contained page: read from installed packages, packed as text.

Packages are located, not imported: itables would import IPython and a data frame library, although
a page needs one file of the package.
"""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

OWN = Path(__file__).parent / "static"

PLOTLY = ("plotly", "package_data/plotly.min.js")
DATATABLES = ("itables", "html/dt_bundle.js")


@cache
def read(package: str, path: str) -> str:
    """Return the text of a file inside an installed package.

    Raises FileNotFoundError with the command to install the package.
    """
    spec = importlib.util.find_spec(package)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        if (folder / path).is_file():
            return (folder / path).read_text(encoding="utf-8")
    raise FileNotFoundError(
        f"report: {path} of the package {package} was not found; expected the file in "
        f"{[str(folder) for folder in folders]}; pip install --upgrade {package}"
    )


def own(name: str) -> str:
    """Return the text of a file in `reports/static`."""
    return (OWN / name).read_text(encoding="utf-8")


dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
"""A value as one line of JSON. NaN raises ValueError, because a bare NaN would stop the page's
scripts; callers replace NaN by text or null."""


def element(value: Any) -> Markup:
    """Return a value as JSON for a `<script>` element, with `<`, `>` and `&` escaped."""
    return htmlsafe_json_dumps(value, dumps=dump)


def pack(text: str, level: int = 3) -> str:
    """Compress text with gzip and encode it in base64, for `evenbench.unpack` of `theme.js`.

    The same text always yields the same string. Level 3 is quick; a library is packed once.
    """
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=level, mtime=0)).decode()


@cache
def packed_library(package: str, path: str) -> str:
    """Return a file of an installed package, packed; cached, as a library has megabytes."""
    return pack(read(package, path), level=9)
