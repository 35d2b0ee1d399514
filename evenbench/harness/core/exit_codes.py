"""The exit codes of all commands; 0 to 5 mean the same as pytest's.

Imports nothing, because every command reads this module at its start.
"""

PASS, WORSE, INTERRUPTED, INTERNAL, USAGE, NOTHING, UNDECIDED, UNHEALTHY = range(8)

RESUMABLE = 130
"""Interrupted; the same command resumes."""

MEANINGS = {
    PASS: "success",
    WORSE: "the check failed: a cell is wrong, failed or worse",
    INTERRUPTED: "interrupted; the next start begins anew",
    INTERNAL: "internal error of evenbench, with a traceback; no verdict",
    USAGE: "invalid arguments, or an impossible request: read the `error:` line",
    NOTHING: "no cell, or no result, to work on",
    UNDECIDED: "latency of a cell is inconclusive, with --require-conclusive",
    UNHEALTHY: "base against base alarmed; or a noisy machine, with --strict-health",
    RESUMABLE: "interrupted; the same command resumes",
}
"""Each code's meaning. A command may have a sharper text for its 0 and 1."""

COMMON = (INTERNAL, USAGE)
"""The codes of every command."""
