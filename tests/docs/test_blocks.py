"""README, CONTRIBUTING, tutorials and how-to pages are run: the commands that a reader types work,
in a project folder for each page.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import pytest

from evenbench.harness import cli
from evenbench.harness.core import artifact_store
from tests.docs.pages import ROOT, Block, blocks, place, prose

DOCS = sorted(
    page.relative_to(ROOT).as_posix()
    for folder in ("tutorials", "how-to")
    for page in (ROOT / "docs" / folder).glob("*.md")
)
PAGES = ("README.md", "CONTRIBUTING.md", *DOCS)
VERBS = ("", "run", "not run", "file", "insert")
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "*.pyc", "docs")
TIMEOUT_SECONDS = 900

ALL = [block for page in PAGES for block in blocks(ROOT / page)]
SHELL = [block for block in ALL if block.is_shell]
MARKS = {"": [], "slow": [pytest.mark.slow], "nightly": [pytest.mark.slow, pytest.mark.nightly]}
RUN = [
    pytest.param(block, id=block.id, marks=MARKS.get(block.argument, []))
    for block in SHELL
    if block.verb == "run"
]
OPERATORS = frozenset({"|", "||", "&&", ";", ">", ">>", "<"})


@pytest.fixture(scope="module")
def project_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A page's project: what its reader has, with every `file` and `insert` block of the page
    carried out.
    """
    made: dict[str, Path] = {}

    def find_or_make(page: str) -> Path:
        if page not in made:
            made[page] = tmp_path_factory.mktemp(Path(page).stem.lower())
            _fill(page, made[page])
        return made[page]

    return find_or_make


def _fill(page: str, project: Path) -> None:
    """A reader of CONTRIBUTING has this tree; other readers have its benchmarks, an ONNX model and
    a photograph.
    """
    parts = (
        ("aliases", "benchmarks", "evenbench", "tests")
        if page == "CONTRIBUTING.md"
        else ("benchmarks",)
    )
    for part in parts:
        shutil.copytree(ROOT / part, project / part, ignore=LEFT_BEHIND)
    if page == "CONTRIBUTING.md":
        shutil.copy(ROOT / "pyproject.toml", project)
    else:
        _write_onnx(project / "model.onnx")
        _write_photograph(project / "cat.jpg")
    for block in blocks(ROOT / page):
        place(block, project)


def _write_onnx(file: Path) -> None:
    onnx = pytest.importorskip("onnx")
    import numpy as np

    generator = np.random.default_rng(0)
    tensor, helper = onnx.TensorProto.FLOAT, onnx.helper
    weights = {
        "w": generator.standard_normal((12, 4)).astype(np.float32),
        "b": generator.standard_normal(4).astype(np.float32),
    }
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["features", "w", "b"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("features", tensor, ["batch", 12])],
        [helper.make_tensor_value_info("scores", tensor, ["batch", 4])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, file)


def _write_photograph(file: Path) -> None:
    from PIL import Image

    from evenbench.harness.photographs import PHOTOGRAPHS, locate

    cat = next(photograph for photograph in PHOTOGRAPHS if photograph.name == "chelsea")
    with Image.open(locate(cat)) as opened:
        opened.convert("RGB").save(file)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The caller's, with this environment's commands on the path, its cache, an author for git, and
    no backends that other tests registered.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("EVENBENCH_BACKENDS", "PYTHONPATH")
    }
    kept = {name: value for name, value in kept.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "Reader"), ("EMAIL", "reader@example.org"))
    }
    return {**kept, **identity, "PATH": path, "EVENBENCH_CACHE": str(artifact_store.root())}


@pytest.mark.parametrize("block", RUN)
def test_a_block_does_what_the_page_says(
    block: Block, project_of: Callable[[str], Path], environment: dict[str, str]
) -> None:
    project = project_of(block.page)
    # In a clone, `evenbench` is the clone's; elsewhere it is what is installed.
    own = {"PYTHONPATH": str(project)} if block.page == "CONTRIBUTING.md" else {}
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    try:
        done = subprocess.run(
            command,
            cwd=project,
            env={**environment, **own},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        pytest.fail(f"{block.id} did not end within {error.timeout:g} s")
    assert done.returncode == 0, (
        f"{block.id} exited with {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    )


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/how-to/your-own-model.md"])
def test_there_are_blocks_to_run(page: str) -> None:
    assert sum(block.page == page and block.verb == "run" for block in SHELL) > 1


@pytest.mark.parametrize("block", [pytest.param(block, id=block.id) for block in SHELL])
def test_a_shell_block_runs_or_says_why_not(block: Block) -> None:
    assert block.verb in ("run", "not run"), (
        f"{block.id} has no <!-- run --> or <!-- not run: reason --> before it"
    )
    assert block.verb == "run" or len(block.argument) > 10, f"{block.id}: give the reason in words"
    assert block.verb == "not run" or block.argument in MARKS, (
        f"{block.id}: run takes only `slow` or `nightly`"
    )


def command_lines(text: str) -> list[list[str]]:
    """The arguments of each `evenbench` command of a shell block, up to the next operator."""
    commands = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words = iter(lexer)
        for word in words:
            if word == "evenbench":
                commands.append(list(takewhile(lambda word: word not in OPERATORS, words)))
    return commands


@pytest.mark.parametrize("block", [pytest.param(block, id=block.id) for block in SHELL])
def test_a_command_of_a_block_has_flags_of_that_name(block: Block) -> None:
    """Also in blocks of the night, and in those that nothing runs."""
    for name, *words in filter(None, command_lines(block.text)):
        if name in cli.commands():
            # A shell's variable stands for a value; a digit passes for text and for numbers.
            cli.command_parser(name).parse_args(["0" if "$" in word else word for word in words])


def test_a_flag_of_no_command_is_found() -> None:
    (words,) = command_lines("evenbench run benchmarks --no-such-flag > log  # --never-read\n")
    assert words == ["run", "benchmarks", "--no-such-flag"]
    with pytest.raises(SystemExit):
        cli.command_parser("run").parse_args(words[1:])


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.id) for block in ALL if not block.is_shell]
)
def test_a_python_block_is_written_or_inserted(block: Block) -> None:
    assert block.verb in VERBS, f"{block.id}: unknown mark {block.mark!r}"
    assert block.language != "python" or block.verb in ("file", "insert", "not run"), (
        f"{block.id} is Python that nothing runs"
    )
    assert block.verb != "not run" or len(block.argument) > 10, f"{block.id}: give the reason"


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=block.id) for block in ALL if block.verb in ("file", "insert")]
)
def test_a_reader_sees_which_file_a_block_belongs_to(block: Block) -> None:
    name = block.argument.partition(";")[0].strip()
    assert f"`{name}`" in prose(ROOT / block.page), (
        f"{block.id}: the comment is invisible, so say `{name}` in the text"
    )
