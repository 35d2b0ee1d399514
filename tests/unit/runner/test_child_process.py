"""Child processes: reply lines, the end of a process, stop and continue, and cleaning up."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evenbench.harness.runner.child_process import ChildProcess, ending

REPLY = "import os, subprocess, sys, time\nreply = int(sys.argv[2])\n"


@contextmanager
def child(folder: Path, program: str) -> Iterator[ChildProcess]:
    """A child process that runs `program`, with the reply pipe as `reply`."""
    (folder / "program.py").write_text(REPLY + program)
    with ChildProcess("program", dict(os.environ), python_path=(str(folder),)) as process:
        yield process


def soon(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


def test_lines_are_read_in_order_whatever_the_size_of_a_write(tmp_path: Path) -> None:
    program = """
os.write(reply, b"first\\nsecond\\nthi")
os.write(reply, b"rd\\nunfinished")
"""
    with child(tmp_path, program) as process:
        lines = [process.line(soon()) for _ in range(4)]
        assert lines == [b"first", b"second", b"third", None]
        assert not process.timed_out
        assert process.wait(30.0) == 0


def test_a_line_larger_than_a_pipe_arrives_whole(tmp_path: Path) -> None:
    with child(
        tmp_path, "with os.fdopen(reply, 'wb') as pipe: pipe.write(b'x' * 3_000_000 + b'\\n')"
    ) as process:
        assert process.line(soon()) == b"x" * 3_000_000


def test_a_grandchild_that_holds_the_pipe_does_not_delay_the_end(tmp_path: Path) -> None:
    program = """
os.write(reply, b"first\\n")
sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
print(subprocess.Popen(sleep, pass_fds=(reply,)).pid, flush=True)
"""
    begin = time.monotonic()
    with child(tmp_path, program) as process:
        assert process.line(soon()) == b"first"
        assert process.line(soon()) is None
        assert not process.timed_out
        assert process.wait(30.0) == 0
        grandchild = int(process.log_tail(100))
        os.kill(grandchild, 0)  # still running
    assert time.monotonic() - begin < 20
    until = soon(10.0)
    while alive(grandchild):
        assert time.monotonic() < until, "the grandchild outlived the group"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_deadline_ends_the_wait_for_a_silent_child(tmp_path: Path) -> None:
    with child(tmp_path, "time.sleep(60)") as process:
        begin = time.monotonic()
        assert process.line(soon(0.2)) is None
        assert 0.2 <= time.monotonic() - begin < 10
        assert process.timed_out
        assert process.wait(0.0) is None
        assert process.kill() < 0


def test_messages_reach_standard_input_and_the_last_ends_the_input(tmp_path: Path) -> None:
    program = """
for line in sys.stdin.buffer:
    os.write(reply, line.upper())
os.write(reply, b"end\\n")
"""
    with child(tmp_path, program) as process:
        process.send(b"one\n")
        assert process.line(soon()) == b"ONE"
        process.send(b"two\n", last=True)
        assert (process.line(soon()), process.line(soon())) == (b"TWO", b"end")


def test_a_dead_child_is_no_error_of_the_sender(tmp_path: Path) -> None:
    with child(tmp_path, "sys.exit(3)") as process:
        assert process.wait(30.0) == 3
        process.send(b"x" * 1_000_000)
        process.send(b"x", last=True)
        assert process.line(soon()) is None


def test_a_stopped_child_does_nothing_until_it_continues(tmp_path: Path) -> None:
    program = """
for line in sys.stdin.buffer:
    os.write(reply, line)
"""
    with child(tmp_path, program) as process:
        process.send(b"one\n")
        assert process.line(soon()) == b"one"
        process.stop()
        process.send(b"two\n")
        assert process.line(soon(0.3)) is None
        assert process.timed_out
        process.go()
        assert process.line(soon()) == b"two"
        process.stop()  # a stopped process is killed as well


def test_the_log_has_the_last_output(tmp_path: Path) -> None:
    program = "print('x' * 1000)\nprint('the last words', file=sys.stderr)\n"
    with child(tmp_path, program) as process:
        assert process.wait(30.0) == 0
        assert process.log_tail(14 + 1) == "the last words"


def test_the_temporary_files_of_a_child_are_removed(tmp_path: Path) -> None:
    program = """
import tempfile
os.write(reply, tempfile.mkdtemp().encode() + b"\\n")
time.sleep(60)
"""
    with child(tmp_path, program) as process:
        line = process.line(soon())
        assert line is not None
        folder = Path(line.decode())
        assert folder.is_dir()
    assert not folder.parent.exists()


def test_a_missing_interpreter_leaves_no_open_file(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        ChildProcess("program", {}, interpreter="/no/such/python")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, ("exited with code 0", "")),
        (3, ("exited with code 3", "")),
        (-11, ("was ended by SIGSEGV", "SIGSEGV")),
    ],
)
def test_the_end_of_a_process_is_a_code_or_a_signal(code: int, text: tuple[str, str]) -> None:
    assert ending(code) == text
