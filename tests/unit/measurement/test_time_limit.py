"""A time limit interrupts Python code, and leaves nothing behind."""

from __future__ import annotations

import threading
import time

import pytest

from evenbench.harness.measurement.time_limit import OutOfTimeError, at_most


def endless() -> None:
    while True:
        try:
            sum(range(100))
        except Exception:  # as a library might
            continue


def test_code_beyond_the_limit_is_interrupted() -> None:
    with pytest.raises(OutOfTimeError, match=r"did not finish in 0\.05 s"), at_most(0.05):
        endless()


def test_a_thread_beside_the_main_thread_is_interrupted_too() -> None:
    seen: list[str] = []

    def work() -> None:
        try:
            with at_most(0.05):
                endless()
        except OutOfTimeError as error:
            seen.append(str(error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(20)
    assert seen == ["did not finish in 0.05 s"]


@pytest.mark.parametrize("limit", [None, 30.0])
def test_code_within_the_limit_is_left_alone(limit: float | None) -> None:
    with at_most(limit):
        answer = sum(range(10))
    assert answer == 45


def test_no_interruption_arrives_after_the_block() -> None:
    with at_most(0.02):
        pass
    end = time.monotonic() + 0.06
    while time.monotonic() < end:
        sum(range(100))
