"""`evenbench new`: working start files for a backend with a test, a model or a case."""

from __future__ import annotations

import importlib.util
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from evenbench.harness import __version__
from evenbench.harness.commands import arguments
from evenbench.harness.commands.parser import Parser
from evenbench.harness.core import exit_codes, registry
from evenbench.harness.core.errors import UsageError

EPILOG = """\
Examples:
  evenbench new backend my-runtime
  evenbench new model resnet34 -o benchmarks
  evenbench new project my-net           benchmarks, asv and CI of a repository
Docs: CONTRIBUTING.md
"""

EXIT_CODES = {exit_codes.PASS: "files are written; existing ones are never overwritten"}

FORBIDDEN = r"[\"'`\\@=,:;|&$<>(){}\[\]/]"
"""Characters with a meaning in Python strings, cell ids or shells, forbidden in names."""

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class NewOptions:
    """The options of `evenbench new`."""

    kind: str
    name: str
    output: str = "."


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument(
        "kind",
        choices=("backend", "model", "case", "project"),
        help="template: backend, model, case or project",
    )
    command.add_argument("name", metavar="NAME", help="name, such as my-runtime or resnet34")
    arguments.add_output(command, "DIR", "folder for the files [default: working folder]", "--into")


def run(options: NewOptions) -> int:
    """Write the start files, and print the next steps."""
    for line in write(options.kind, options.name, Path(options.output)):
        print(line)
    return exit_codes.PASS


def write(kind: str, name: str, folder: Path) -> list[str]:
    """Write the files of a kind into `folder`; return the lines for the user.

    Existing files are never overwritten: UsageError comes before the first write.
    """
    words = _spellings(name, folder)
    makers = {"backend": _backend, "model": _model, "case": _case, "project": _project}
    return makers[kind](words, folder)


def _spellings(name: str, folder: Path) -> dict[str, str]:
    """Return the spellings of a name for the templates. Raises UsageError."""
    module = re.sub(r"[^0-9a-z]+", "_", name.lower()).strip("_")
    if not module.isidentifier() or keyword.iskeyword(module) or re.search(FORBIDDEN, name):
        raise UsageError(
            f"{name!r} makes no module name; begin with a letter and use letters, digits, - or _, "
            "such as my-runtime"
        )
    if not _package(folder) and _hides(module, folder):
        raise UsageError(
            f"{module}.py would hide the package {module}; "
            f"choose another name, such as {module}-native"
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
    """Return the dotted prefix of imports from `folder`: `benchmarks.` in the package, or ""."""
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
            f"there is a backend {words['name']!r} already ({known.target}); "
            f"choose another name, such as my-{words['name']}"
        )
    files = {
        f"{module}.py": _filled("backend", words),
        f"test_{module}.py": _filled("backend_test", words),
    }
    name, target = words["name"], row.partition("=")[2]
    return [
        *_written(files, folder),
        f"prove it:  pytest {folder / f'test_{module}.py'}",
        f"run it:    EVENBENCH_BACKENDS={row} PYTHONPATH={folder} "
        f"evenbench run model.onnx --backends {name}",
        f'ship it:   [project.entry-points."harness.backends"]  {name} = "{target}"',
    ]


def _hides(module: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and (
        spec.origin is None or Path(spec.origin).resolve().parent != folder.resolve()
    )


def _model(words: Mapping[str, str], folder: Path) -> list[str]:
    files = {f"{words['module']}.py": _filled("model", words)}
    target = f"{folder / words['module']}.py:build"
    return [
        *_written(files, folder),
        f"try it:  evenbench run {target} --shape 1x3x32x32 --plan quick",
    ]


def _case(words: Mapping[str, str], folder: Path) -> list[str]:
    """Write a case of the model in the same folder, and a missing model."""
    bench = f"bench_{words['module']}.py"
    files = {bench: _filled("case", words)}
    if not (folder / f"{words['module']}.py").exists():
        files[f"{words['module']}.py"] = _filled("model", words)
    return [*_written(files, folder), f"run it:  evenbench run {folder / bench} --plan quick"]


def _project(words: Mapping[str, str], folder: Path) -> list[str]:
    """Write what a repository needs for `run`, pytest, asv and CI; a model of its own stays."""
    facts = {**words, "branch": _branch(folder), "version": __version__}
    files = {
        "benchmarks/__init__.py": "",
        f"benchmarks/bench_{words['module']}.py": _filled("project_case.py", facts),
        "benchmarks/asv_suite.py": _filled("project_suite.py", facts),
        "asv.conf.json": _filled("project_asv.json", facts),
        ".github/workflows/benchmarks.yml": _filled("project_workflow.yml", facts),
    }
    model = f"{words['module']}.py"
    if not (folder / model).exists():
        files[model] = _filled("project_model.py", facts)
    return [
        *_written(files, folder),
        "measure:   evenbench run --plan quick",
        "compare:   evenbench compare HEAD~1 HEAD",
        "history:   git add -A && git commit -m benchmarks && asv machine --yes && asv run HEAD^!",
        "           asv publish && asv preview",
        "(.asv/, results/ and site/ belong into .gitignore)",
    ]


def _branch(folder: Path) -> str:
    """The current branch of the repository around a folder, or main."""
    for parent in (folder.resolve(), *folder.resolve().parents):
        head = parent / ".git" / "HEAD"
        if head.is_file():
            return head.read_text().strip().partition("refs/heads/")[2] or "main"
    return "main"


def _filled(template: str, words: Mapping[str, str]) -> str:
    if "." not in template:
        template = f"{template}.py"
    return Template((TEMPLATES / f"{template}.tmpl").read_text(encoding="utf-8")).substitute(words)


def _written(files: Mapping[str, str], folder: Path) -> list[str]:
    taken = [str(folder / name) for name in files if (folder / name).exists()]
    if taken:
        raise UsageError(
            f"{', '.join(taken)} exists and is never overwritten; "
            "choose another name, or another folder with -o"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written ({error.strerror}); name another folder with -o"
        ) from error
    return [f"wrote {folder / name}" for name in files]
