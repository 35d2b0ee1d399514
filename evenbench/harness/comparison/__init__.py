"""Base against head: paired sessions, verdicts, bisection, history and upgrades."""
