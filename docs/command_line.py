"""The page of the command line, from the parsers themselves: every command with its flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from evenbench.harness import cli
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes

PAGE = re.compile(r"docs/([\w/-]+\.md)")


def markdown() -> str:
    """The overview by group, a section per command, and the exit codes that all share."""
    lines = ["", "| to | command | purpose |", "|---|---|---|"]
    for title, rows in cli.COMMANDS.items():
        for name, (_, purpose) in rows.items():
            lines.append(f"| {title.lower()} | [`{name}`](#{name}) | {_text(purpose)} |")
    names = [*cli.commands(), *cli.BUILT_IN]
    for name in sorted(names):
        lines += ["", f"## {name}", "", *_command(cli.command_parser(name))]
    return "\n".join(lines) + "\n"


def codes() -> str:
    """The exit codes that the commands share, as a table, with the commands that return each."""
    users: dict[int, list[str]] = {}
    for name in sorted(cli.commands()):
        for code in cli.command_parser(name).exit_codes:
            users.setdefault(code, []).append(f"`{name}`")
    lines = ["", "| code | meaning | commands |", "|---:|---|---|"]
    for code, meaning in sorted(exit_codes.MEANINGS.items()):
        shared = code in exit_codes.COMMON
        lines.append(f"| {code} | {_text(meaning)} | {'all' if shared else _list(users, code)} |")
    return "\n".join(lines) + "\n"


def _list(users: dict[int, list[str]], code: int) -> str:
    return ", ".join(users.get(code, [])) or "–"


def _command(parser: Parser) -> Iterator[str]:
    yield f"{_text(parser.description or '')}"
    yield from ("", "```text", parser.format_usage().removeprefix("Usage: ").strip(), "```")
    for group in parser._action_groups:
        shown = [a for a in group._group_actions if a.help != argparse.SUPPRESS]
        shown = [a for a in shown if a.dest != "help"]
        if not shown:
            continue
        title = (group.title or "").capitalize()
        yield from ("", f"**{title}**", "")
        yield from ("| flag | meaning |", "|---|---|")
        for action in shown:
            yield f"| {_flags(action)} | {_text(_help(parser, action))} |"
    yield from _epilog(parser.epilog or "")
    own = {c: t for c, t in parser.exit_codes.items() if c not in exit_codes.COMMON}
    if own:
        yield from ("", "| exit code | meaning |", "|---:|---|")
        for code, meaning in own.items():
            yield f"| {code} | {_text(meaning or exit_codes.MEANINGS[code])} |"


def _flags(action: argparse.Action) -> str:
    name = action.metavar or (action.choices and "\\|".join(map(str, action.choices)))
    if not action.option_strings:
        return f"`{name or action.dest}`"
    value = "" if action.nargs == 0 else f" {name or action.dest.upper()}"
    return ", ".join(f"`{flag}{value}`" for flag in action.option_strings)


def _help(parser: Parser, action: argparse.Action) -> str:
    return argparse.HelpFormatter(parser.prog)._expand_help(action) if action.help else ""


def _epilog(text: str) -> Iterator[str]:
    """Examples as a code block, pages as links."""
    _, _, rest = text.partition("Examples:\n")
    examples, _, docs = rest.partition("Docs:")
    if examples.strip():
        lines = [line.removeprefix("  ") for line in examples.rstrip().splitlines()]
        yield from ("", "```text", *lines, "```")
    pages = PAGE.findall(docs)
    if pages:
        yield from ("", "More: " + ", ".join(f"[{_title(page)}](/{page})" for page in pages) + ".")


def _title(page: str) -> str:
    return page.rpartition("/")[2].removesuffix(".md").replace("-", " ")


def _text(words: str) -> str:
    """Words as Markdown shows them, in a cell of a table."""
    words = " ".join(words.split())
    return re.sub(r"([|*_<>\[\]])", r"\\\1", words).replace("--", "\\-\\-")
