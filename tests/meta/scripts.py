"""The project's commands in the shell scripts of CI files, and whether they and flags exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from evenbench.harness import cli

ROOT = Path(__file__).resolve().parent.parent.parent
CALL = re.compile(
    r"(?:^|[\s(])(?:\.venv/bin/)?(evenbench|make|asv) +((?:\"[^\"]*\"|'[^']*'|[^|&>;\n\"'])*)",
    re.MULTILINE,
)
VALUES = {
    r"\$\([^)]*\)": "BASE",
    r"\$\{?(?:CODE|code|NUMBER)[^\"\s]*": "1",
    r"\$\{?[A-Z_]+\}?": "VALUE",
}
ASV = ("machine", "run", "publish")


def calls(script: str) -> Iterator[tuple[str, list[str]]]:
    """Each program of this project that a script starts, with its words; what the shell fills in
    stands as a word of its kind.
    """
    text = re.sub(r"\\\n\s*", "", script)
    for pattern, word in VALUES.items():
        text = re.sub(pattern, word, text)
    for program, words in CALL.findall(text):
        yield program, [word for word in shlex.split(words) if not re.fullmatch(r"\d?>.*", word)]


def unknown(script: str) -> list[str]:
    """What a script calls and is not there: make targets, `evenbench` commands or flags, arguments
    of `make aa`.
    """
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known = (ROOT / "tests" / "performance" / "bench_gate.py").read_text()
    found = []
    for program, words in calls(script):
        if program == "make":
            found += [word for word in words if "=" not in word and word not in targets]
            given = [
                flag for word in words if "=" in word for flag in re.findall(r"--[a-z-]+", word)
            ]
            found += [flag for flag in given if f'"{flag}"' not in known]
        elif program == "asv":
            found += [f"asv {words[0]}"] if words[0] not in ASV else []
        else:
            try:
                cli.parser().parse_args(words)
            except SystemExit:
                found.append(f"evenbench {shlex.join(words)}")
    return found
