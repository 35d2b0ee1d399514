"""The site builds without a warning: pages, links, anchors, command line, API, example report."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from evenbench.harness import cli
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"


def build(builder: str, source: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Build pages with the site's own settings; a warning is an error."""
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q"]
    return subprocess.run(
        [*command, "-b", builder, "-c", str(DOCS), str(source), str(output)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_site_has_no_warning(tmp_path: Path) -> None:
    """Read and resolved, not written: links, anchors, navigation, signatures of the API."""
    done = build("dummy", DOCS, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gone](nowhere.md)", "nowhere.md"),
        ("[gone](#nowhere)", "nowhere"),
        ("## A heading\n\n[other](#another-heading)", "another-heading"),
    ],
    ids=["page", "anchor", "heading"],
)
@pytest.mark.nightly
def test_a_dead_link_fails_the_build(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "index.md").write_text(f"# Title\n\n{text}\n")
    done = build("dummy", tmp_path / "source", tmp_path / "built")
    assert done.returncode != 0
    assert words in done.stderr


@functools.cache
def command_line() -> str:
    """The generated part of the page of the command line."""
    code = "import command_line; print(command_line.markdown())"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(DOCS), str(ROOT)))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_every_command_and_flag_is_on_the_page() -> None:
    page = command_line()
    sections = dict(re.findall(r"^## (\S+)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert set(sections) == {*cli.commands(), *cli.BUILT_IN}
    for name in cli.commands():
        help_text = cli.command_parser(name).format_help()
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", help_text)) - {"--help"}
        assert {flag for flag in flags if flag not in sections[name]} == set(), name


def test_examples_and_exit_codes_of_a_command_are_on_the_page() -> None:
    section = command_line().partition("\n## compare\n")[2].partition("\n## ")[0]
    assert "evenbench compare main HEAD" in section
    assert re.search(r"^\| 7 \| .*base against base", section, re.MULTILINE)
    assert "[statistics](/explanation/statistics.md)" in section


class Page(HTMLParser):
    """The anchors of a page, and the addresses that it links to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.add(given.get("id", ""))
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


def dead_links(folder: Path) -> list[str]:
    """Links of written pages whose file or anchor is absent; addresses of other sites are left."""
    pages = {file: Page(file) for file in folder.rglob("*.html") if "example" not in file.parts}
    dead = []
    for file, page in pages.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme or address.netloc:
                continue
            target = (file.parent / unquote(address.path)).resolve() if address.path else file
            anchors = pages[target].anchors if target in pages else {address.fragment}
            if not target.exists() or (address.fragment and address.fragment not in anchors):
                dead.append(f"{file.relative_to(folder)}: {link}")
    return sorted(dead)


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#x">b</a> <a href="c.html">c</a>')
    (tmp_path / "b.html").write_text('<h1 id="y"></h1><a href="a.html">a</a><img src="d.png">')
    assert dead_links(tmp_path) == ["a.html: b.html#x", "a.html: c.html", "b.html: d.png"]


@pytest.mark.nightly
def test_the_written_site_has_search_dark_mode_and_an_example_report(tmp_path: Path) -> None:
    done = build("html", DOCS, tmp_path)
    assert done.returncode == 0, done.stderr
    assert dead_links(tmp_path) == []
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "theme-toggle" in index
    assert "half-width" in (tmp_path / "reference" / "command-line.html").read_text(
        encoding="utf-8"
    )
    assert "first-report" in (tmp_path / "searchindex.js").read_text(encoding="utf-8")
    example = (tmp_path / "example" / "index.html").read_text(encoding="utf-8")
    assert "<h1" in example
    assert "resnet18" in example
