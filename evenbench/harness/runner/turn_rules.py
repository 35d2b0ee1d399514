"""Rules for the turns of a sweep: the command of a turn, and the members of a further round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evenbench.harness.core.plans import Plan
from evenbench.harness.core.types import COMPUTE
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.resident_member import Candidate, Member
from evenbench.harness.statistics import rounds

ROUNDS_SHARE = 0.75
"""Error of a sweep's rounds, as a share of the plan's half-width. Sweeps bring it down further."""

LEAST_ROUNDS = 5
"""Fewest rounds of a sweep for a half-width."""


class TurnRule:
    """A rule for a sweep of at most `most_rounds`."""

    least_members = 1
    """A sweep of fewer members has no round."""
    most_rounds: int

    def begin(self, member: Member[Any]) -> Reply | None:
        """Prepare a loaded member for turns; returns the reply of a failed process."""

    def command(self, number: int) -> Mapping[str, Any]:
        """The command for the turn of a round."""
        raise NotImplementedError

    def unfinished(self, members: Sequence[Member[Any]]) -> list[Member[Any]]:
        """The members of the next round; none at the end."""
        raise NotImplementedError

    def completed(self, reply: Reply, sweep: str, members: Sequence[Candidate]) -> Reply:
        """The final reply of a member, with facts about the sweep."""
        return reply


@dataclass
class UntilPrecise(TurnRule):
    """Rounds until every ratio to the first member is precise enough, or the time is used."""

    plan: Plan

    @property
    def most_rounds(self) -> int:  # type: ignore[override]
        """The plan's limit."""
        return self.plan.most_rounds

    def command(self, number: int) -> Mapping[str, Any]:
        """A block of each boundary, after untimed laps."""
        return {"do": "turn", "number": number}

    def unfinished(self, members: Sequence[Member[Any]]) -> list[Member[Any]]:
        """The members without the planned precision, and the reference beside them."""
        if len(members) < 2:
            return [member for member in members if not _is_steady(member)]
        reference, *others = members
        if reference.last["over"]:
            wanting = [member for member in others if not _is_sampled(member)]
        else:
            wanting = [member for member in others if not self._is_precise(member, reference)]
        return [reference, *wanting] if wanting or not _is_sampled(reference) else []

    def _is_precise(self, member: Member[Any], reference: Member[Any]) -> bool:
        """Whether rounds leave `ROUNDS_SHARE` of the half-width in the ratio to the reference."""
        if member.last["over"] or not math.isfinite(self.plan.half_width):
            return _is_steady(member)
        half = rounds.half_width(_times_ns(member), _times_ns(reference), LEAST_ROUNDS)
        return (
            _is_sampled(member) and half is not None and half <= ROUNDS_SHARE * self.plan.half_width
        )

    def completed(self, reply: Reply, sweep: str, members: Sequence[Candidate]) -> Reply:
        """The reply, with sweep and members in the record of turns; None for a single member."""
        if reply.value is None:
            return reply
        names = [member.name for member in members]
        turns = {**reply.value["interleaving"], "sweep": sweep, "members": names}
        return replace(
            reply, value={**reply.value, "interleaving": turns if len(names) > 1 else None}
        )


def _times_ns(member: Member[Any]) -> dict[int, float]:
    """The median lap of `compute` of each turn, by round."""
    return {number: turn["times_ns"][COMPUTE] for number, turn in member.turns.items()}


def _is_sampled(member: Member[Any]) -> bool:
    """Whether the plan's minimum is reached, or the time is over."""
    return bool(member.last["over"] or member.last["enough"])


def _is_steady(member: Member[Any]) -> bool:
    """Whether the plan's minimum is reached and the last blocks agree, or the time is over."""
    last = member.last
    return bool(last["over"] or (last["enough"] and last["stable"]))
