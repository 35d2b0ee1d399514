"""A time limit on Python code in this process, also outside the main thread."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class OutOfTimeError(Exception):
    """Code within a time limit did not finish. The message has the limit."""


class _Interrupt(BaseException):
    """Not an Exception, so that the interrupted code does not catch it."""


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Raise OutOfTimeError in the block after `seconds`; None is no limit.

    The interruption takes effect between two steps of Python: a single long call of compiled code
    ends first.
    """
    if seconds is None:
        yield
        return
    thread, lock = threading.get_ident(), threading.Lock()
    state = {"open": True, "sent": False}

    def interrupt() -> None:
        with lock:
            if state["open"]:
                state["sent"] = True
                _raise_in(thread, _Interrupt)

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                state["open"] = False
                if state["sent"]:  # and perhaps not yet raised
                    _raise_in(thread, None)
            timer.cancel()
    except _Interrupt:
        raise OutOfTimeError(f"did not finish in {seconds:g} s") from None


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """Raise an exception in another thread, or take back an exception not yet raised."""
    value = ctypes.py_object(kind) if kind else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), value)
