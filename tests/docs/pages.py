"""Reads the marked code blocks of a Markdown page: what a comment before a fence says is to be done
with it.

<!-- run --> a shell block that is executed and must exit with 0 <!-- run: slow --> the same, in a
test marked slow <!-- run: nightly --> the same, in a test for the night
<!-- not run: why --> a shell block that is left alone, with the reason <!-- file:
NAME --> the block is the content of a file of the project in which shell blocks run <!-- insert:
NAME; after: LINE --> the block goes into a file that is there, behind (or `before:`) the line that
has LINE
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELLS = ("sh", "bash", "shell", "console")
FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*?) -->\n)?^```(?P<language>[\w.]*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the comment right before it, and the line on which
    it begins.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str

    @property
    def verb(self) -> str:
        """`run`, `not run`, `file`, `insert`, or an empty string."""
        return self.mark.partition(":")[0].strip()

    @property
    def argument(self) -> str:
        """What follows the verb's colon."""
        return self.mark.partition(":")[2].strip()

    @property
    def is_shell(self) -> bool:
        return self.language in SHELLS

    @property
    def id(self) -> str:
        """For people: the page, the line and the first command."""
        first = next((line for line in self.text.splitlines() if line.strip()), "")
        return f"{self.page}:{self.line} {first[:40]}"


def blocks(page: Path) -> Iterator[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page.name, line, found["language"], found["text"], found["mark"] or "")


def prose(page: Path) -> str:
    """The page without fenced blocks and comments."""
    return COMMENT.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))


def place(block: Block, project: Path) -> None:
    """Carry out a `file` or `insert` block in a project folder."""
    if block.verb == "file":
        file = project / block.argument
        file.parent.mkdir(parents=True, exist_ok=True)
        assert not file.exists(), f"{block.id}: {block.argument} is there already"
        file.write_text(block.text, encoding="utf-8")
    elif block.verb == "insert":
        name, _, anchor = block.argument.partition(";")
        where, _, wanted = anchor.strip().partition(":")
        file = project / name.strip()
        _insert(file, block, where, wanted.strip())


def _insert(file: Path, block: Block, where: str, wanted: str) -> None:
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    found = [number for number, line in enumerate(lines) if wanted in line]
    assert len(found) == 1, (
        f"{block.id}: {file.name} has {len(found)} lines with {wanted!r}, expected one"
    )
    assert where in ("after", "before"), f"{block.id}: {where!r} is neither after nor before"
    lines.insert(found[0] + (where == "after"), block.text)
    file.write_text("".join(lines), encoding="utf-8")
