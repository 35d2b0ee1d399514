"""Settings of the documentation site. `make docs` writes site/docs; a warning is an error."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import command_line  # noqa: E402

from evenbench import __version__  # noqa: E402
from evenbench.harness.results import records  # noqa: E402
from evenbench.reports.pages import index  # noqa: E402

REPOSITORY = "https://github.com/evenbench/evenbench"

project = "evenbench"
author = "the evenbench authors"
copyright = "the evenbench authors, Apache-2.0"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["studies"]

# Anchors as GitHub makes them, so that one link works on both. `make docs` checks every one.
myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block", "colon_fence"]
nb_execution_mode = "off"

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
default_role = "code"  # docstrings write `names` in single backticks

html_theme = "furo"
html_title = "evenbench"
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#0b6270", "color-brand-content": "#0b6270"},
    "dark_css_variables": {"color-brand-primary": "#5cc2cf", "color-brand-content": "#5cc2cf"},
}
html_show_sphinx = False

GENERATED = {"command line": command_line.markdown, "exit codes": command_line.codes}
"""The text of a comment `<!-- generated: NAME -->`, made while the site is built."""

OF_THE_ROOT = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Pages of the site whose text is a page of the repository's root."""

LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#]+)(?=[)#])")


def fill(app: Sphinx, name: str, source: list[str]) -> None:
    """Complete a page: generated parts, the root's own pages, links that leave docs/."""
    folder = (HERE / name).parent
    if name in OF_THE_ROOT:
        source[0], folder = (ROOT / OF_THE_ROOT[name]).read_text(encoding="utf-8"), ROOT
        app.env.note_dependency(str(ROOT / OF_THE_ROOT[name]))
    for part, text in GENERATED.items():
        mark = f"<!-- generated: {part} -->"
        if mark in source[0]:
            source[0] = source[0].replace(mark, text())
    source[0] = LINK.sub(lambda link: _placed(link["target"], folder), source[0])


def _placed(target: str, folder: Path) -> str:
    """A link as the site has it: a page of the root or of docs/, or a file of the repository."""
    if ":" in target or target.startswith("/") or not (folder / target).exists():
        return target
    file = (folder / target).resolve().relative_to(ROOT)
    for page, original in OF_THE_ROOT.items():
        if str(file) == original:
            return f"/{page}.md"
    if file.parts[0] != "docs" or file.suffix in (".jsonl", ".py", ".xz"):
        return f"{REPOSITORY}/blob/main/{file}"
    return "/" + "/".join(file.parts[1:])


def write_example(app: Sphinx, error: Exception | None) -> None:
    """Write the example report, from the recorded run, beside the pages."""
    if error is None and app.builder.name == "html":
        lines = records.read([HERE / "data" / "default-run.jsonl"]).lines
        index.write(lines, Path(app.outdir) / "example")


def setup(app: Sphinx) -> None:
    """Complete pages before they are parsed, and the site when it is written."""
    app.connect("source-read", fill)
    app.connect("build-finished", write_example)
