"""The exit codes of commands that judge, pytest's where they mean the same. Imports nothing: the
start of every command reads it.
"""

PASS, WORSE, INTERRUPTED, INTERNAL, USAGE, NOTHING, UNDECIDED, UNHEALTHY = range(8)
"""1 confirmed worse, wrong or failed; 2 interrupted, and not to be gone on with; 3 a defect of
evenbench; 4 what was asked for cannot be; 5 no cells; 6 inconclusive under `--require-conclusive`;
7 the null control alarmed, so that nothing that was found counts, or with `--strict-health` a
slowdown that was the machine's."""

RESUMABLE = 130
"""Interrupted, where the same command goes on."""
