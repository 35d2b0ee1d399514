"""The help of every command: it fits narrow terminals, explains every flag and hides old names."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from evenbench.harness import cli
from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes

NAMES = list(cli.commands())
LINES = {"-h": 42, "--help": 65}
"""Most lines of a command's help: the short one fits a screen."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with contextlib.suppress(SystemExit):
        assert cli.main(words) == 0
    return capsys.readouterr().out


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every visible argument of a command and of its actions."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for under in action.choices.values():
                yield from actions(under)
        elif action.help != argparse.SUPPRESS:
            yield action


@pytest.mark.parametrize("flag", LINES)
@pytest.mark.parametrize("name", [*NAMES, *cli.BUILT_IN])
def test_help_fits_a_narrow_terminal(
    name: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, name, flag).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert len(lines) <= LINES[flag]


def test_the_overview_fits_and_groups_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "--help")
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 50
    for group, rows in cli.COMMANDS.items():
        listed = text.split(f"\n{group}:\n")[1].split("\n\n")[0]
        assert re.findall(r"^  (\S+)", listed, re.MULTILINE) == list(rows)


def test_the_table_of_exit_codes_has_every_code(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "help", "exit-codes").splitlines()
    assert max(map(len, lines)) <= 80
    codes = [int(line.split()[0]) for line in lines if re.match(r"  \d+ ", line)]
    assert codes == list(exit_codes.MEANINGS)


@pytest.mark.parametrize("name", NAMES)
def test_exit_codes_of_a_command_are_in_the_table(name: str) -> None:
    codes = cli.module_of(name).EXIT_CODES
    assert set(codes) <= set(exit_codes.MEANINGS)
    assert exit_codes.PASS in codes


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_has_a_standalone_text_with_its_default(name: str) -> None:
    for action in actions(cli.command_parser(name)):
        text = action.help or ""
        label = f"{name} {'/'.join(action.option_strings) or action.dest}: {text!r}"
        assert len(text.split()) >= 2 or "[" in text, f"{label} is no phrase"
        assert not re.match(r"(of|with|whose|which|what|that|than|more|where|for)\b", text), label
        takes_value = action.nargs != 0 and action.option_strings
        if takes_value:
            assert re.search(r"\[(default: .+|required.*)\]$", text), f"{label}: default?"


FLAG_TEXTS = ("--results", "--backends", "--output", "--plan", "--seed", "--timeout", "--json")
VARIANTS = {"--results": 2, "--backends": 4, "--output": 7}
"""Flags with a purpose or default of the command in their text, and the number of texts."""


@pytest.mark.parametrize("flag", FLAG_TEXTS)
def test_the_same_flag_means_the_same_everywhere(flag: str) -> None:
    found = [
        action
        for name in NAMES
        for action in actions(cli.command_parser(name))
        if flag in action.option_strings
    ]
    assert len({action.dest for action in found}) == 1
    assert len({action.help for action in found}) <= VARIANTS.get(flag, 1)


@pytest.mark.parametrize(("old", "new"), cli.ALIASES.items())
def test_an_old_name_is_the_same_command_and_hidden(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, old, "--help") == printed(capsys, new, "--help")
    assert f"\n  {old} " not in printed(capsys, "--help")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("run", ["--site", "s"], ["--output", "s"]),
        ("load", ["--scenario", "shapes", "--page", "p"], ["--scenario", "shapes", "-o", "p"]),
        ("new", ["case", "c", "--into", "d"], ["case", "c", "-o", "d"]),
        ("package", ["m", "-o", "d", "--runtime", "ort"], ["m", "-o", "d", "--backends", "ort"]),
        ("preprocess-diff", ["--by", "numpy", "tvm"], ["--backends", "numpy,tvm"]),
    ],
)
def test_an_old_flag_is_the_same_option_and_hidden(
    name: str, old: list[str], new: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    module = cli.module_of(name)
    assert arguments.parsed(module, old) == arguments.parsed(module, new)
    (flag,) = {word for word in old if word.startswith("--")} - {*new}
    assert flag not in printed(capsys, name, "--help")


def test_footprint_of_a_model_is_cost(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    words = [str(tmp_path), "--model", "nobody"]
    outputs = []
    for name in ("footprint", "cost"):
        assert cli.main([name, *words]) == exit_codes.USAGE
        outputs.append(capsys.readouterr().err)
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("name", NAMES)
def test_options_are_frozen_and_every_field_has_a_flag(name: str) -> None:
    module = cli.module_of(name)
    kind = arguments.options_type(module)
    assert kind.__dataclass_params__.frozen
    parser = Parser(prog=name)
    arguments.fill(parser, module)
    values = parser.parse_args(_required(parser))
    assert dataclasses.is_dataclass(arguments.options.parse(kind, values))


def _required(parser: argparse.ArgumentParser) -> list[str]:
    """Words for the required arguments of a parser."""
    words = []
    for action in parser._actions:
        value = next(iter(action.choices or ["x"]))
        if action.option_strings and action.required:
            words += [action.option_strings[0], value]
        elif not action.option_strings and action.nargs is None:
            words.append(value)
    return words


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_completion_script_knows_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(capsys, "completion", shell)
    assert "--samples" in script
    assert "preprocess-diff" in script
    assert "--site" not in script


def test_a_misspelt_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["comprae", "a", "b"])
    assert ended.value.code == exit_codes.USAGE
    assert "did you mean compare?" in capsys.readouterr().err


def test_only_the_chosen_command_is_imported() -> None:
    code = (
        "import sys; from harness import cli\n"
        "try: cli.main(['new', '-h'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('evenbench.harness.commands.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(eval(done.stdout.splitlines()[-1]))
    assert imported == {
        f"evenbench.harness.commands.{name}" for name in ("parser", "arguments", "new")
    }
