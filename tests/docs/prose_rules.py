"""Rules of prose for pages: `python -m tests.docs.prose_rules PAGES` lists every violation.

Vale has such rules too, but its package fetches a program from the network when it first runs, and
the tests run without a network. Three rules count sentences: long ones, clauses with `what` in
place of a noun, and house words where the trade has others.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.docs.pages import COMMENT, FENCE, ROOT

FIGURES = re.compile(r"<!-- figures: make aa -->.*?<!-- end of figures -->", re.DOTALL)
"""Figures that a program writes, with lists of versions."""

LONGEST_WORDS = 35
"""A sentence of prose has at most so many words."""

WHAT = re.compile(
    r"\bwhat (?:is|are|was|were|goes|comes|ran|runs|has|had|makes|made|it|they|one|nobody)\b",
    re.IGNORECASE,
)
"""`what` as the subject of a clause, outside of questions."""

HOUSE_WORDS: Mapping[str, str] = {
    r"\b(?:is|are|was|were) told\b": "say who reports it, or use `named`",
    r"\btells? of\b": "describe",
    r"\bas (?:it is|they are) asked\b": "as requested",
    r"\bis held to\b": "must meet",
    r"\bat its moment\b": "when it is due",
    r"\bheeded\b": "followed",
    r"\bupon\b": "on",
    r"\bhitherto\b": "until now",
}
"""Pattern → the word of the trade."""


def prose(page: Path) -> str:
    """The sentences of a page: without blocks, comments, tables, headings, addresses and code."""
    text = FIGURES.sub("", page.read_text(encoding="utf-8"))
    text = COMMENT.sub("", FENCE.sub("", text))
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines = [
        line for line in text.splitlines() if not line.lstrip().startswith(("|", "#", "!", "[!"))
    ]
    text = re.sub(r"\]\([^)]*\)", "]", "\n".join(lines))
    return re.sub(r"`[^`]*`", "NAME", text)


def sentences(page: Path) -> Iterator[str]:
    """Sentences, with the items of a list apart."""
    for block in re.split(r"\n\s*\n|\n\s*(?:[-*]|\d+\.)\s", prose(page)):
        for sentence in re.split(r"(?<=[.;:?!])\s+(?=[A-Z*\[N])", " ".join(block.split())):
            if sentence:
                yield sentence


def violations(page: Path) -> list[str]:
    """The violations of a page, in words."""
    faults = []
    for sentence in sentences(page):
        words = re.findall(r"[\w'%×±-]+", sentence)
        if len(words) > LONGEST_WORDS:
            faults.append(f"{len(words)} words: {sentence}")
        if not sentence.endswith("?") and WHAT.search(sentence):
            faults.append(f"`what` in place of a noun: {sentence}")
        for pattern, better in HOUSE_WORDS.items():
            if re.search(pattern, sentence, re.IGNORECASE):
                faults.append(f"{better}: {sentence}")
    return faults


def main(names: list[str]) -> None:
    """Print the violations of pages, and their number per page."""
    pages = [Path(name) for name in names] or sorted((ROOT / "docs").rglob("*.md"))
    for page in pages:
        faults = violations(page.resolve())
        print(f"{len(faults):4}  {page}")
        for fault in faults if names else ():
            print(f"      {fault}")


if __name__ == "__main__":
    main(sys.argv[1:])
