"""A g++ that compiles each source once in a session of tests.

Inductor starts with an empty folder in each process, so each of a hundred processes compiled the
same probes of the processor and the same headers of torch for a quarter of a minute. A compilation
with equal arguments, an equal source and untouched headers is copied from the first. All else goes
to the real compiler: links, assembly, the preprocessor, sources from standard input, failures.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

FOLDER = "EVENBENCH_TESTS_COMPILED"
"""The variable with the folder of finished compilations; without it nothing is kept."""

SOURCES = (".cpp", ".cc", ".h", ".hpp")
ELSEWHERE = ("-E", "-S", "-M", "-MM", "-MD", "-MMD", "-", "--version", "-v")
"""Arguments that ask for another result than one file, or for a source that is no file."""

LINKED = (".o", ".a", ".so", ".S", ".s")
"""Files that are linked or assembled, whose contents the list of headers does not name."""

HEADER = "-include"
PATHS = ("CPATH", "CPLUS_INCLUDE_PATH")
"""Variables with folders of headers."""

Job = tuple[str, str, str]
"""A compilation: key, source, output."""

Stamps = dict[str, list[int]]
"""Size and time of change by path."""


def job_of(arguments: list[str]) -> Job | None:
    """The compilation that `arguments` ask for; None if no compilation of one file."""
    if not set(ELSEWHERE).isdisjoint(arguments) or arguments.count("-o") != 1:
        return None
    place = arguments.index("-o")
    output = arguments[place + 1]
    key, sources = [os.environ.get(name, "") for name in PATHS], []
    previous = ""
    for argument in arguments[:place] + arguments[place + 2 :]:
        is_source = previous != HEADER and argument.endswith(SOURCES)
        if is_source and argument[0] != "-":
            sources.append(argument)
        if (is_source or previous == HEADER) and os.path.isabs(argument):
            with open(argument, "rb") as file:
                argument = f"{argument[-4:]} {hashlib.sha256(file.read()).hexdigest()}"
        elif previous == HEADER or argument.endswith(LINKED) or argument[:1] == "@":
            return None
        key.append(argument)
        previous = argument
    if len(sources) != 1 or not os.path.isabs(sources[0]):
        return None
    return hashlib.sha256("\0".join(key).encode()).hexdigest(), sources[0], output


def stamps(paths: list[str]) -> Stamps:
    """Size and time of change of files. Raises OSError for a missing file."""
    found = ((path, os.stat(path)) for path in paths)
    return {path: [status.st_size, status.st_mtime_ns] for path, status in found}


def compiler() -> str:
    """The next g++ on the path."""
    own = os.path.dirname(os.path.realpath(__file__))
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        file = os.path.join(folder, "g++")
        if os.access(file, os.X_OK) and os.path.realpath(folder) != own:
            return file
    sys.exit("g++: not found behind the g++ of the tests")


def _copy(source: str, target: str) -> None:
    stage = f"{target}.{os.getpid()}"
    with open(source, "rb") as read, open(stage, "wb") as write:
        write.write(read.read())
    os.chmod(stage, os.stat(source).st_mode & 0o777)
    os.replace(stage, target)


def copy_earlier(folder: str, job: Job) -> bool:
    """Copy the output of an earlier compilation, unless a header changed since."""
    key, _, output = job
    entry = os.path.join(folder, key)
    try:
        with open(f"{entry}.json", encoding="utf-8") as file:
            recorded = json.load(file)
        if stamps(list(recorded["headers"])) != recorded["headers"]:
            return False
        _copy(entry, output)
    except OSError:
        return False
    sys.stderr.write(recorded["messages"])
    return True


def _headers(file: str, arguments: list[str]) -> list[str]:
    """The headers that the compiler lists, without the arguments, which are in the key."""
    with open(file, encoding="utf-8") as opened:
        words = opened.read().replace("\\\n", " ").partition(": ")[2].split()
    own = {*arguments, *(f"{argument}.gch" for argument in arguments)}
    return [word for word in words if word not in own]


def compile_and_keep(folder: str, job: Job, arguments: list[str]) -> int:
    """Compile, and keep the output with the stamps of all headers; the compiler's exit code."""
    key, _, output = job
    entry = os.path.join(folder, key)
    listed = f"{entry}.{os.getpid()}.d"
    command = [compiler(), *arguments, "-MD", "-MF", listed]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    if done.returncode == 0 and os.path.isfile(output):
        headers = _headers(listed, arguments)
        if all(os.path.isabs(header) for header in headers):
            _copy(output, entry)
            recorded = {"headers": stamps(headers), "messages": done.stderr}
            with open(f"{entry}.json.{os.getpid()}", "w", encoding="utf-8") as file:
                json.dump(recorded, file)
            os.replace(f"{entry}.json.{os.getpid()}", f"{entry}.json")
    if os.path.exists(listed):
        os.remove(listed)
    return done.returncode


def main() -> None:
    """Do what g++ does with these arguments."""
    arguments = sys.argv[1:]
    folder = os.environ.get(FOLDER, "")
    job = job_of(arguments) if os.path.isdir(folder) else None
    if job is None:
        real = compiler()
        os.execv(real, [real, *arguments])
    sys.exit(0 if copy_earlier(folder, job) else compile_and_keep(folder, job, arguments))


if __name__ == "__main__":
    main()
