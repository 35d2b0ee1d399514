"""The pages agree with the tree: links, make targets, commands, backends, and the files that they
name.
"""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evenbench.harness import cli
from evenbench.harness.core import registry
from tests.docs.pages import COMMENT, blocks, prose

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = re.compile(r"(?:^|[`\s])evenbench ([a-z]+(?:-[a-z]+)*)\b(?! *:)")
FILE = re.compile(r"`((?:harness|backends|reports|benchmarks|tests|docs)/[\w/.-]+\.\w+)`")


def subcommands() -> set[str]:
    """The commands that the command line has."""
    actions = cli.parser()._actions
    return {
        name
        for action in actions
        if isinstance(action, argparse._SubParsersAction)
        for name in action.choices
    }


def shell(page: Path) -> str:
    return "\n".join(block.text for block in blocks(page) if block.is_shell)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = [
        target
        for target in LINK.findall(prose(page))
        if not target.startswith(("http://", "https://", "mailto:"))
    ]
    dead = [target for target in targets if not leads_somewhere(page, target)]
    assert not dead, f"{page.name} links to what is not there: {', '.join(dead)}"


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether a link's file exists, and has the heading that the link names."""
    name, _, anchor = target.partition("#")
    file = (page.parent / name).resolve() if name else page
    return file.exists() and (not anchor or anchor in anchors(file))


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_files_that_are_named_exist(page: Path) -> None:
    made = {block.argument.partition(";")[0] for block in blocks(page) if block.verb == "file"}
    for name in set(FILE.findall(prose(page))) - made:
        assert (ROOT / name).exists(), f"{page.name} names {name}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_make_targets_exist(page: Path) -> None:
    named = set(re.findall(r"^make ([a-z-]+)", shell(page), re.MULTILINE)) | set(
        re.findall(r"`make ([a-z-]+)`", prose(page))
    )
    for target in named:
        done = subprocess.run(
            ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{page.name} names `make {target}`: {done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_commands_that_are_named_exist(page: Path) -> None:
    spans = "\n".join(re.findall(r"`(evenbench [^`]*)`", prose(page)))
    named = set(COMMANDS.findall(f"{shell(page)}\n{spans}"))
    known = subcommands() | set(cli.ALIASES)  # logs of past releases keep their names
    assert named <= known, f"{page.name} names commands that evenbench does not have"


def test_every_command_is_documented() -> None:
    everything = "\n".join(
        page.read_text(encoding="utf-8") for page in PAGES if page.name != "CHANGELOG.md"
    )
    missing = {name for name in subcommands() if f"evenbench {name}" not in everything}
    assert not missing, f"no page says what `evenbench {', '.join(missing)}` does"


def test_every_backend_has_a_section() -> None:
    from evenbench import backends

    page = prose(ROOT / "docs" / "reference" / "backends.md")
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    named = {name for heading in headings for name in re.findall(r"`([\w-]+)`", heading)}
    assert {row.name for row in backends.TABLE} == named, (
        "a section of docs/reference/backends.md for each row of backends.TABLE, and no other"
    )


def test_the_installed_options_of_backends_are_described() -> None:
    page = (ROOT / "docs" / "reference" / "backends.md").read_text(encoding="utf-8")
    from evenbench import backends

    for row in backends.TABLE:
        for option in registry.find(row.name).options:
            assert f"`{option}`" in page, (
                f"docs/reference/backends.md says nothing of {row.name}'s option {option}"
            )


def test_the_architecture_fits_two_screens() -> None:
    lines = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 114
    assert [line for line in lines if len(line) > 100 and not line.startswith(("|", "!"))] == []


FIGURES = re.compile(r"<!-- figures: (.*?) -->\n(.*?)<!-- end of figures -->", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_figures_come_with_their_command_machine_and_versions(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    found = FIGURES.findall(text)
    assert len(found) == text.count("<!-- figures:"), f"{page.name}: a block of figures has no end"
    for command, figures in found:
        given = re.search(r"Python \d", figures) and re.search(r"\bcores?\b", figures)
        assert given or re.search("no (figures|runs)", figures, re.IGNORECASE), (
            f"{page.name}: the figures of {command} need the machine with its cores, "
            "and the version of Python"
        )


def test_every_variable_is_described() -> None:
    page = (ROOT / "docs" / "reference" / "variables.md").read_text(encoding="utf-8")
    sources = [
        file.read_text(encoding="utf-8")
        for folder in ("harness", "reports")
        for file in (ROOT / "evenbench" / folder).rglob("*.py")
    ]
    named = {name for source in sources for name in re.findall(r'= "(EVENBENCH_[A-Z_]+)"', source)}
    assert len(named) > 4, "the search is blind"
    assert {name for name in named if f"`{name}" not in page} == set()


def test_every_page_is_in_the_navigation() -> None:
    """README is the page of the repository; every other one stands in a list of docs/index.md."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    lists = re.findall(r"```{toctree}\n(?::[^\n]*\n)*\n(.*?)```", index, re.DOTALL)
    listed = {f"docs/{name}.md" for text in lists for name in text.split()}
    pages = {page.relative_to(ROOT).as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert pages - {"docs/index.md"} <= listed


@pytest.mark.parametrize(
    "picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda picture: picture.name
)
def test_a_picture_has_words_for_those_who_do_not_see_it(picture: Path) -> None:
    root = ElementTree.parse(picture).getroot()
    words = {child.tag.rpartition("}")[2]: (child.text or "").strip() for child in root}
    assert words.get("title")
    assert words.get("desc")
    assert root.get("viewBox")
    assert "prefers-color-scheme: dark" in picture.read_text(encoding="utf-8"), (
        "legible in light and dark"
    )


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_pictures_have_words(page: Path) -> None:
    for words in re.findall(r"!\[([^\]]*)\]\(", COMMENT.sub("", page.read_text(encoding="utf-8"))):
        assert len(words) > 20, f"{page.name} has a picture without words"
