"""What a machine's own counters say of the energy that the timed laps took: RAPL's of the
processor, NVML's of an NVIDIA device.

RAPL is read by codecarbon, which knows the zones and their wrap-around, in a process of its own:
what it imports is neither in the memory nor in the start of the process that is measured, and it
sleeps until it is asked. Counters are of whole packages and devices: idle power, and whatever else
runs there, is in them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from harness.core.paths import PROJECT
from harness.environment import gpu

RAPL = Path("/sys/class/powercap/intel-rapl/subsystem")
"""Where Linux shows RAPL's zones, of AMD processors as well."""

PATIENCE_SECONDS = 30.0
"""For an answer of the process that reads the counters."""


class Meter:
    """A context around the timed laps, which counts from its beginning to its end; `facts` says
    what, or why nothing was counted.

    Made before anything is timed, because its process needs a moment to start. Nothing here raises:
    energy is no reason to lose a lap.
    """

    def __init__(self, device: str = "cpu", rapl: Path = RAPL) -> None:
        self.device = device
        self.reason = lacks(rapl)
        self.joules: dict[str, float] = {}
        self.seconds = 0.0
        self.by: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        if not self.reason:
            self._start([sys.executable, "-m", __name__, "--rapl", str(rapl)])

    def __enter__(self) -> Meter:
        self._device = gpu.total_joules(self.device)
        if self._process:
            self._ask("begin")
        self._began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        answer = self._ask("end") if self._process else {}
        self.seconds = time.perf_counter() - self._began
        used = {str(name): float(value) for name, value in (answer.get("joules") or {}).items()}
        if used and not any(used.values()):
            self.reason = self.reason or "RAPL's counters did not move"
        elif used:
            self.joules |= used
            self.by.append(str(answer.get("by")))
        after = gpu.total_joules(self.device)
        if self._device is not None and after is not None and after > self._device:
            self.joules[self.device] = after - self._device
            self.by.append("NVML")
        self.close()

    def close(self) -> None:
        """End the process that reads the counters; again does nothing."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(
                    OSError
                ):  # what it could not be told any more is flushed here
                    if stream:
                        stream.close()
            self._process = None

    def facts(self, laps: int) -> dict[str, Any]:
        """For the record: `joules` by zone over `seconds` and so many laps of both boundaries, `by`
        which reader; why any is missing.
        """
        return {
            "reason": self.reason,
            "joules": self.joules,
            "seconds": self.seconds,
            "laps": laps,
            "by": ", ".join(self.by),
        }

    def _start(self, command: Sequence[str]) -> None:
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")])
            ),
        }
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
        }
        try:
            self._process = subprocess.Popen(command, env=variables, **pipes)
        except OSError as error:
            self.reason = f"the process that reads RAPL could not start: {error}"
            return
        self._heard()

    def _ask(self, verb: str) -> Mapping[str, Any]:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(
            OSError
        ):  # it has ended; what it says, or that it says nothing, is the reason
            self._process.stdin.write(f"{verb}\n".encode())
            self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> Mapping[str, Any]:
        """The next answer; where there is none, or it is a refusal, the reason is kept and the
        process ended.
        """
        assert self._process
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        try:
            answer: Mapping[str, Any] = json.loads(line)
        except ValueError:
            answer = {"reason": "the process that reads RAPL gave no answer"}
        if answer.get("reason"):
            self.reason = str(answer["reason"])
            self.close()
        return answer


def lacks(rapl: Path = RAPL) -> str:
    """In words, why the processor's energy cannot be told here; an empty string where it may be."""
    if not rapl.exists():
        return "the machine shows no RAPL counters (as most virtual ones)"
    if not importlib.util.find_spec("codecarbon"):
        return "codecarbon, which reads RAPL, is not installed; pip install 'evenbench[energy]'"
    return ""


def combined(processes: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What the processes of one cell counted, for its line; None where none was asked."""
    asked = [each["energy"] for each in processes if each.get("energy")]
    if not asked:
        return None
    reasons = dict.fromkeys(str(each["reason"]) for each in asked if each["reason"])
    counted = [
        {name: value for name, value in each.items() if name != "reason"}
        for each in asked
        if each["joules"]
    ]
    return {"reason": "; ".join(reasons), "processes": counted}


def serve(rapl: str, commands: IO[str], answers: IO[str]) -> None:
    """The process that reads: one JSON line when it is ready, and one for each `begin` and `end`."""
    from importlib.metadata import version

    from codecarbon.core.cpu import IntelRAPL
    from codecarbon.core.units import Energy, Time

    def say(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    counters = IntelRAPL(rapl_dir=rapl, rapl_include_dram=True)
    counters.start()
    if not _joules(counters.get_cpu_details(Time.from_seconds(1.0)), Energy.JOULES_TO_KWH):
        say(
            reason=f"RAPL's counters in {rapl} cannot be read; root can allow it: chmod a+r {rapl}/*/energy_uj"
        )
        return
    say()
    begun = time.perf_counter()
    for line in commands:
        if line.strip() == "begin":
            counters.start()
            begun = time.perf_counter()
            say()
        else:
            used = counters.get_cpu_details(
                Time.from_seconds(max(time.perf_counter() - begun, 1e-9))
            )
            say(
                joules=_joules(used, Energy.JOULES_TO_KWH), by=f"codecarbon {version('codecarbon')}"
            )


def _joules(details: Mapping[str, float], joule_in_kwh: float) -> dict[str, float]:
    """codecarbon's energies by zone in joules, without the powers that it has beside them; its
    names of packages in short.
    """
    energies = {name: value for name, value in details.items() if "Power" not in name}
    return {
        re.sub(r"^Processor Energy Delta_(\d+)\(kWh\)$", r"package-\1", name): value / joule_in_kwh
        for name, value in energies.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m harness.environment.energy --rapl DIR`: a Meter starts it, and its end is that of
    its standard input.
    """
    parser = argparse.ArgumentParser(
        prog="python -m harness.environment.energy", description=__doc__
    )
    parser.add_argument("--rapl", required=True)
    serve(parser.parse_args(arguments).rapl, sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
