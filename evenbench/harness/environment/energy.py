"""Energy of the timed laps, from hardware counters: RAPL for processors, NVML for NVIDIA devices.

codecarbon reads RAPL in a separate process, because codecarbon handles zones and wrap-around of
counters, and its imports would add to the memory and start of the measured process. The reader
sleeps between requests. Counters cover whole packages and devices, including idle power and all
other processes.
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

from evenbench.harness.core.paths import PROJECT
from evenbench.harness.environment import gpu

RAPL = Path("/sys/class/powercap/intel-rapl/subsystem")
"""RAPL's zones on Linux, for AMD processors too."""

PATIENCE_SECONDS = 30.0
"""Time limit of a reply from the reader."""


class Meter:
    """A context around timed laps, entered once per turn; the energy of all turns adds up.

    `facts` returns the counted energy, or the reason for none. Create the meter before timing,
    because its reader takes a moment to start, and close it afterwards. No method raises: missing
    energy must not cost a lap.
    """

    def __init__(self, device: str = "cpu", rapl: Path = RAPL) -> None:
        self.device = device
        self.reason = lacks(rapl)
        self.seconds = 0.0
        self._rapl: dict[str, float] = {}
        self._reader = ""
        self._device_joules = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        if not self.reason:
            self._start([sys.executable, "-m", __name__, "--rapl", str(rapl)])

    def __enter__(self) -> Meter:
        self._before = gpu.total_joules(self.device)
        if self._process:
            self._ask("begin")
        self._began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        reply = self._ask("end") if self._process else {}
        self.seconds += time.perf_counter() - self._began
        for name, joules in (reply.get("joules") or {}).items():
            self._rapl[str(name)] = self._rapl.get(str(name), 0.0) + float(joules)
            self._reader = str(reply.get("by"))
        after = gpu.total_joules(self.device)
        if self._before is not None and after is not None:
            self._device_joules += max(0.0, after - self._before)
        if error[0] is not None:
            self.close()

    def close(self) -> None:
        """End the reader. Closing again does nothing."""
        if self._process:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # closing flushes requests to an ended process
                    if stream:
                        stream.close()
            self._process = None

    def facts(self, laps: int) -> dict[str, Any]:
        """The record: `joules` by zone over `seconds` and `laps`, the readers, and the reason.

        `laps` counts both boundaries.
        """
        still = bool(self._rapl) and not any(self._rapl.values())
        joules = {} if still else dict(self._rapl)
        readers = [self._reader] if joules else []
        if self._device_joules:
            joules[self.device] = self._device_joules
            readers.append("NVML")
        return {
            "reason": self.reason or ("RAPL's counters did not move" if still else ""),
            "joules": joules,
            "seconds": self.seconds,
            "laps": laps,
            "by": ", ".join(readers),
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
        self._reply()

    def _ask(self, verb: str) -> Mapping[str, Any]:
        assert self._process
        assert self._process.stdin
        with contextlib.suppress(OSError):  # an ended reader is reported by `_reply`
            self._process.stdin.write(f"{verb}\n".encode())
            self._process.stdin.flush()
        return self._reply()

    def _reply(self) -> Mapping[str, Any]:
        """The reader's next reply. A refusal or no reply sets the reason and ends the reader."""
        assert self._process
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE_SECONDS)
        line = self._process.stdout.readline() if ready else b""
        try:
            reply: Mapping[str, Any] = json.loads(line)
        except ValueError:
            reply = {"reason": "the process that reads RAPL did not reply"}
        if reply.get("reason"):
            self.reason = str(reply["reason"])
            self.close()
        return reply


def lacks(rapl: Path = RAPL) -> str:
    """The reason for missing processor energy, as text; empty if RAPL may be readable."""
    if not rapl.exists():
        return "the machine shows no RAPL counters (as most virtual ones)"
    if not importlib.util.find_spec("codecarbon"):
        return "codecarbon, which reads RAPL, is not installed; pip install 'evenbench[energy]'"
    return ""


def combined(processes: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The energy of all processes of a cell, for its record; None if no process has a meter."""
    facts = [process["energy"] for process in processes if process.get("energy")]
    if not facts:
        return None
    reasons = dict.fromkeys(str(fact["reason"]) for fact in facts if fact["reason"])
    counted = [
        {name: value for name, value in fact.items() if name != "reason"}
        for fact in facts
        if fact["joules"]
    ]
    return {"reason": "; ".join(reasons), "processes": counted}


def serve(rapl: str, commands: IO[str], replies: IO[str]) -> None:
    """The reader's loop: one JSON line when ready, and one JSON line per `begin` and `end`."""
    from importlib.metadata import version

    from codecarbon.core.cpu import IntelRAPL
    from codecarbon.core.units import Energy, Time

    def say(**reply: Any) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    counters = IntelRAPL(rapl_dir=rapl, rapl_include_dram=True)
    counters.start()
    if not _joules(counters.get_cpu_details(Time.from_seconds(1.0)), Energy.JOULES_TO_KWH):
        say(
            reason=f"RAPL's counters in {rapl} cannot be read; root can allow it: chmod a+r "
            f"{rapl}/*/energy_uj"
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
    """codecarbon's energies by zone, in joules, without powers and with short names of packages."""
    energies = {name: value for name, value in details.items() if "Power" not in name}
    return {
        re.sub(r"^Processor Energy Delta_(\d+)\(kWh\)$", r"package-\1", name): value / joule_in_kwh
        for name, value in energies.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The reader: `python -m harness.environment.energy --rapl DIR`. Ends with standard input."""
    parser = argparse.ArgumentParser(
        prog="python -m harness.environment.energy", description=__doc__
    )
    parser.add_argument("--rapl", required=True)
    serve(parser.parse_args(arguments).rapl, sys.stdin, sys.stdout)


if __name__ == "__main__":
    main()
