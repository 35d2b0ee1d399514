"""Measures the prose of docstrings. `python -m tests.meta.prose PATHS` lists the worst.

Pronouns and relative words stand for nouns that have a name. In httpx, pytest, fsspec and asv they
are 1.3 to 2.3 % of the words of docstrings; a reader has to look up what each refers to.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PRONOUNS = re.compile(
    r"\b(what|which|that|whose|whatever|who|one|ones|it|its|they|them|those|these|such|there|where)\b",
    re.IGNORECASE,
)
FEWEST_WORDS = 4
"""A shorter sentence is a label."""


def sentences(source: str) -> Iterator[str]:
    """The sentences of all docstrings of a module, its classes and functions."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        for sentence in re.split(r"(?<=[.;:])\s+", " ".join((text or "").split())):
            if len(sentence.split()) >= FEWEST_WORDS:
                yield sentence


def share(found: Iterable[str]) -> float:
    """The mean share of pronouns among the words of sentences."""
    shares = [len(PRONOUNS.findall(sentence)) / len(sentence.split()) for sentence in found]
    return sum(shares) / len(shares) if shares else 0.0


def files_under(*paths: str) -> list[Path]:
    """The Python files under folders of the project, or the files themselves."""
    roots = [ROOT / path for path in paths]
    return sorted(
        file for root in roots for file in ([root] if root.is_file() else root.rglob("*.py"))
    )


def main(paths: list[str]) -> None:
    """Print the share per file, and every sentence above twice the goal."""
    files = files_under(*(paths or ["evenbench"]))
    for file in files:
        texts = list(sentences(file.read_text()))
        print(f"{share(texts):6.1%}  {file.relative_to(ROOT)}")
        for sentence in texts:
            if share([sentence]) > 0.06:
                print(f"        {share([sentence]):4.0%}  {sentence}")
    print(f"{share(text for file in files for text in sentences(file.read_text())):6.2%}  all")


if __name__ == "__main__":
    main(sys.argv[1:])
