"""Writes starting files that work as they are: a backend with its test, a model, a case."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

from harness.core import registry
from harness.core.errors import UsageError

FORBIDDEN = r"[\"'`\\@=,:;|&$<>(){}\[\]/]"
"""What a name cannot hold: it would end a string of the file that is written, or mean something in
a cell's id or in a shell.
"""

TEMPLATES = Path(__file__).with_name("templates")


def write(kind: str, name: str, folder: Path) -> list[str]:
    """Write the files of one kind into `folder`; returns what was written and what to do next, line
    by line.

    Nothing that exists is overwritten: UsageError says so before anything is written.
    """
    words = _words(name, folder)
    return {"backend": _backend, "model": _model, "case": _case}[kind](words, folder)


def _words(name: str, folder: Path) -> dict[str, str]:
    """The spellings of a name that the templates need."""
    module = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    if not module.isidentifier() or keyword.iskeyword(module) or re.search(FORBIDDEN, name):
        raise UsageError(
            f"{name!r} makes no module name; begin with a letter and use letters, digits, - or _, such as my-runtime"
        )
    if not _package(folder) and _hides(module, folder):
        raise UsageError(
            f"{module}.py would hide the package {module}; choose another name, such as {module}-native"
        )
    title = "".join(part.capitalize() for part in module.split("_"))
    return {
        "name": name.strip(),
        "module": module,
        "title": title,
        "constant": module.upper(),
        "package": _package(folder),
    }


def _package(folder: Path) -> str:
    """The dotted prefix under which files of `folder` are imported: `benchmarks.` inside that
    package, else nothing.
    """
    here, parts = folder.resolve(), []
    while (here / "__init__.py").is_file():
        parts.append(here.name)
        here = here.parent
    return "".join(f"{part}." for part in reversed(parts))


def _backend(words: Mapping[str, str], folder: Path) -> list[str]:
    module, row = words["module"], "{name}={package}{module}:{title}".format(**words)
    known = registry.rows().get(words["name"])
    if known:
        raise UsageError(
            f"there is a backend {words['name']!r} already ({known.target}); choose another name, such as my-{words['name']}"
        )
    files = {
        f"{module}.py": _filled("backend", words),
        f"test_{module}.py": _filled("backend_test", words),
    }
    return [
        *_written(files, folder),
        f"prove it:  pytest {folder / f'test_{module}.py'}",
        f"run it:    EVENBENCH_BACKENDS={row} PYTHONPATH={folder} evenbench run model.onnx --backends {words['name']}",
        f'ship it:   [project.entry-points."harness.backends"]  {words["name"]} = "{row.partition("=")[2]}"',
    ]


def _hides(module: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and (
        spec.origin is None or Path(spec.origin).resolve().parent != folder.resolve()
    )


def _model(words: Mapping[str, str], folder: Path) -> list[str]:
    files = {f"{words['module']}.py": _filled("model", words)}
    return [
        *_written(files, folder),
        f"try it:  evenbench run {folder / words['module']}.py:build --shape 1x3x32x32 --plan quick",
    ]


def _case(words: Mapping[str, str], folder: Path) -> list[str]:
    """A case of the model in the same folder, which is written too where there is none."""
    bench = f"bench_{words['module']}.py"
    files = {bench: _filled("case", words)}
    if not (folder / f"{words['module']}.py").exists():
        files[f"{words['module']}.py"] = _filled("model", words)
    return [*_written(files, folder), f"run it:  evenbench run {folder / bench} --plan quick"]


def _filled(template: str, words: Mapping[str, str]) -> str:
    return Template((TEMPLATES / f"{template}.py.tmpl").read_text(encoding="utf-8")).substitute(
        words
    )


def _written(files: Mapping[str, str], folder: Path) -> list[str]:
    taken = [str(folder / name) for name in files if (folder / name).exists()]
    if taken:
        raise UsageError(
            f"{', '.join(taken)} exists and is never overwritten; choose another name, or another folder with --into"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}); name another folder with --into"
        ) from error
    return [f"wrote {folder / name}" for name in files]


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of `evenbench new`."""
    command.add_argument("kind", choices=("backend", "model", "case"))
    command.add_argument("name", metavar="NAME", help="such as my-runtime or resnet34")
    command.add_argument(
        "--into",
        default=".",
        metavar="DIR",
        help="where the files are written (the working folder)",
    )


def run(options: argparse.Namespace) -> int:
    """Write a starting file, and say what to do with it."""
    for line in write(options.kind, options.name, Path(options.into)):
        print(line)
    return 0
