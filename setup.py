"""The long description of the distribution: the README with absolute links.

Package indexes show the README without the repository around it, so relative links and images
would be broken there. Everything else about the distribution is in pyproject.toml.
"""

import re
from pathlib import Path

from setuptools import setup

REPOSITORY = "https://github.com/evenbench/evenbench"
RAW = "https://raw.githubusercontent.com/evenbench/evenbench"
LINK = re.compile(r"\]\((?![a-z]+:|#)([^()\s]+)\)")
PICTURES = (".png", ".svg")


def _absolute(link: re.Match[str]) -> str:
    target = link[1]
    where = f"{RAW}/main" if target.endswith(PICTURES) else f"{REPOSITORY}/blob/main"
    return f"]({where}/{target})"


if __name__ == "__main__":
    readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=LINK.sub(_absolute, readme),
        long_description_content_type="text/markdown",
    )
