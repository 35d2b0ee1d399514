"""The files behind a build: modules imported and data files read by the process that built.

Python's audit events show files opened by Python, the kernel's watches files opened by C++ code
(`file_reads`). A file is named by its module, else relative to the project
(`./data/classes.json`), so a second clone has equal names. A later lookup finds the files of the
current import path by these names. An import that failed is recorded too, with an empty digest: the
module may exist later.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from evenbench.harness.core.artifact_store import digest_file
from evenbench.harness.core.file_reads.recorder import Recorder
from evenbench.harness.core.import_path import is_installed, is_ours, locate, project, users_path
from evenbench.harness.core.types import Model, digest

UNKNOWN = "files read too fast to be counted"
"""A name in the record where the kernel lost events. No file has the name, so the entry is made
again by each run.
"""

_opened: set[str] = set()
_attempted: set[str] = set()
_state = {"hooked": False, "recording": False, "lost": False}
_recorders: list[Recorder] = []
"""The recording of the kernel's account: at most one."""


def start(model: Model) -> None:
    """Record the files opened and the imports tried by this process from now on."""
    _end_watch()
    _opened.clear()
    _attempted.clear()
    _state.update(recording=True, lost=False)
    if not _state["hooked"]:
        sys.addaudithook(_listen)
        _state["hooked"] = True
    recorder = Recorder.start(_roots(folders_of(model)), _is_left_out)
    _recorders.extend([recorder] if recorder else [])


def _end_watch() -> None:
    """Add the files of the kernel's account to those opened by Python."""
    while _recorders:
        files, lost = _recorders.pop().stop()
        _opened.update(map(str, files))
        _state["lost"] = lost


def _is_left_out(folder: Path) -> bool:
    """Whether a folder has no sources of a user: left out of the watch with everything below."""
    hidden = folder.name in (".git", "__pycache__") or (folder / "pyvenv.cfg").exists()
    return hidden or is_installed(folder) or is_ours(folder)


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if not _state["recording"]:
        return
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        if not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            _opened.add(os.path.abspath(os.fsdecode(arguments[0])))
    elif event == "import":
        _attempted.add(str(arguments[0]))


def recorded(
    model: Model, more: Iterable[str | Path] = (), versioned: Iterable[str] = ()
) -> dict[str, str]:
    """The sha256 of the user's files behind the build of `model`, by portable name. Ends the watch.

    `more` are further files, whether installed or not. Installed files count if the model names a
    function of the same package, unless the package is `versioned`: its version is in the key.
    """
    _end_watch()
    first = folders_of(model)
    tops = {name.split(".")[0] for name in _late_names(model)} - set(versioned)
    modules: dict[Path, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__":
            modules.setdefault(Path(file).resolve(), name)
    files = {
        file
        for file, name in modules.items()
        if not is_ours(file) and (name.split(".")[0] in tops or not is_installed(file))
    }
    files |= {Path(file).resolve() for file in more}
    files |= set(_data_files(first))
    names = {_name(file, modules.get(file, ""), first): file for file in files if file.is_file()}
    absent = {
        name
        for name in _attempted
        if name not in sys.modules and locate(name, first, everywhere=False) is None
    }
    lost = {UNKNOWN: "unknown"} if _state["lost"] else {}
    return {name: _sha256(file) for name, file in names.items()} | dict.fromkeys(absent, "") | lost


def unchanged(code: Mapping[str, str], model: Model) -> bool:
    """Whether the current import path has the recorded files with the recorded content."""
    first = folders_of(model)
    return all(_current(name, sha256, first) == sha256 for name, sha256 in code.items())


def digest_of(code: Mapping[str, str]) -> str:
    """One sha256 over the names and contents of recorded files."""
    return digest(sorted((name, sha256) for name, sha256 in code.items() if sha256))


def folders_of(model: Model) -> list[Path]:
    """The folders of the files named by a model, which a worker puts first on the import path."""
    files = [Path(name) for name in _late_names(model) if name.endswith(".py")]
    return list(dict.fromkeys(file.resolve().parent for file in files))


def _late_names(model: Model) -> list[str]:
    named = (
        *(model.build, model.weights.train, model.inputs_from, model.calibration_from),
        model.evaluation,
    )
    return [name.rpartition(":")[0] for name in named if name]


def _data_files(first: list[Path]) -> Iterable[Path]:
    roots = _roots(first)
    for file in {Path(name).resolve() for name in (*_opened, *_mapped())}:
        hidden = file.suffix == ".pyc" or ".git" in file.parts
        inside = any(file.is_relative_to(root) for root in roots)
        if inside and not hidden and not is_installed(file) and not is_ours(file):
            yield file


def _mapped() -> set[str]:
    """Files mapped into this process, on Linux: libraries and weights that C++ code has opened."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return set()
    names = (line.split(maxsplit=5)[5:] for line in lines)
    return {name for fields in names for name in fields if name.startswith("/")}


def _roots(first: list[Path]) -> list[Path]:
    return list(dict.fromkeys([*first, project(), *users_path()]))


def _name(file: Path, module: str, first: list[Path]) -> str:
    """The portable name of a file, or the absolute path if no portable name leads to the file."""
    if module and locate(module, first) == file:
        return module
    for root in _roots(first):
        if file.is_relative_to(root.resolve()):
            name = f"./{file.relative_to(root.resolve()).as_posix()}"
            if _found(name, first) == file:
                return name
    return str(file)


def _found(name: str, first: list[Path]) -> Path | None:
    if not name.startswith("./"):
        return Path(name) if os.path.isabs(name) else locate(name, first)
    files = (root / name for root in _roots(first))
    return next((file.resolve() for file in files if file.is_file()), None)


def _current(name: str, sha256: str, first: list[Path]) -> str:
    file = _found(name, first) if sha256 else locate(name, first, everywhere=False)
    return _sha256(file) if file and file.is_file() else ""


def _sha256(file: Path) -> str:
    state = file.stat()
    return _digest_at(file, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=4096)
def _digest_at(file: Path, mtime_ns: int, size: int, inode: int) -> str:
    return digest_file(file)
