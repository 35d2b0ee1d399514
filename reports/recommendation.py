"""Which cells satisfy what a deployment can afford, what excludes each of the others, and which are
worth a look at all.

Latency here is host to host, at every place: inputs in, one inference, outputs out, which is what a
caller waits for. Two cells are told apart by the paired ratio of one run's sweeps, as everywhere,
or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from harness.core.types import HOST_TO_HOST
from harness.statistics import estimates
from harness.statistics.estimates import Estimate
from reports import formatting, results
from reports.results import BASELINE, Result

QUANTILE = 0.99
NATIVE = "fp32"
WITHIN_NOISE = "within noise"


@dataclass(frozen=True)
class Reference:
    """The accuracy that a drop is a share of, the id of the cell that it was measured in, over how
    many samples, by which metric.
    """

    value: float
    cell: str
    count: int
    metric: str = ""


@dataclass(frozen=True, eq=False)
class Facts:
    """What of one result decides whether it can be afforded; None where that is not known, or its
    answer is not right.
    """

    result: Result
    reference: Reference | None

    @cached_property
    def id(self) -> str:
        """The cell's id, for people."""
        return str(self.result.cell.get("id", ""))

    @cached_property
    def runs(self) -> bool:
        """Whether it may be chosen at all: a correct answer of a real runtime, with times of both
        boundaries.
        """
        return self.result.ranks and self.result.host_to_host is not None

    @cached_property
    def in_flight(self) -> bool:
        """Whether several requests were in flight: its laps are then intervals between completions,
        which no caller waits for.
        """
        return str(self.result.cell.get("group", "")).endswith("-throughput")

    @cached_property
    def laps_ns(self) -> list[list[int]]:
        """The laps host to host of each process."""
        return results.laps_of(self.result.record, HOST_TO_HOST)

    @cached_property
    def process_ns(self) -> list[float]:
        """One value for each process, in sweep order."""
        return estimates.process_values(self.laps_ns)

    @cached_property
    def p99_ns(self) -> float | None:
        """The 99th percentile of all laps, where there are enough of them to state it."""
        laps = list(chain.from_iterable(self.laps_ns))
        return (
            estimates.supported_quantile(laps, QUANTILE)
            if self.runs and laps and not self.in_flight
            else None
        )

    @cached_property
    def memory_bytes(self) -> int | None:
        """The largest resident set of any of its processes."""
        peaks: Sequence[int] = (self.result.record.get("memory") or {}).get("peak_rss_bytes") or ()
        return max(peaks, default=None) if self.runs else None

    @cached_property
    def size_bytes(self) -> int | None:
        """What the runtime loads: the artifact, without the runtime itself."""
        known: int | None = (self.result.record.get("artifact") or {}).get("bytes")
        return known if self.runs else None

    @cached_property
    def accuracy(self) -> float | None:
        """On held-out data, where the model has some."""
        known: float | None = (self.result.record.get("accuracy") or {}).get("value")
        return known if self.runs else None

    @cached_property
    def accuracy_drop(self) -> float | None:
        """Which share of the reference's accuracy is lost; negative where it is better."""
        if self.accuracy is None or self.reference is None or not self.reference.value:
            return None
        return (self.reference.value - self.accuracy) / self.reference.value

    @cached_property
    def ratios(self) -> dict[Facts, Estimate | None]:
        """What `ratio` found against others: it is asked for again and again, of every pair."""
        return {}

    @cached_property
    def error(self) -> float | None:
        """The error of the worst output, RMSE in units of the golden's largest magnitude: the same
        unit at every precision.
        """
        outputs = (self.result.record.get("parity") or {}).get("outputs") or []
        errors = [
            output["rmse"] / output["scale"]
            for output in outputs
            if output.get("scale") and output.get("rmse") is not None
        ]
        return max(errors, default=None) if self.runs else None


@dataclass(frozen=True)
class Constraint:
    """One thing that may be limited: where its value is found, how it is told, and why it is not
    known where it is not.
    """

    name: str
    value: Callable[[Facts], float | None]
    words: Callable[[float | None], str]
    unknown: Callable[[Facts], str]

    def excludes(self, facts: Facts, limit: float) -> str:
        """In words, why the limit is not kept; an empty string where it is."""
        value = self.value(facts)
        if value is None:
            return self.unknown(facts)
        if value <= limit:
            return ""
        return f"{self.name} {self.words(value)} is over {self.words(limit)}{_over(value, limit)}"


def _over(value: float, limit: float) -> str:
    return f" by {formatting.number(100 * (value - limit) / limit, 2)} %" if limit > 0 else ""


def share(value: float | None) -> str:
    """A share as a percentage: `0.83 %`."""
    return (
        formatting.DASH if value is None else f"{formatting.number(100 * value)}{formatting.SPACE}%"
    )


def _unsupported_p99(facts: Facts) -> str:
    if facts.in_flight:
        return "p99 is not stated with several requests in flight: its laps are intervals between completions, which no caller waits for"
    laps, needed = sum(map(len, facts.laps_ns)), estimates.needed_for_quantile(QUANTILE)
    return f"p99 not supported by {formatting.count(laps, 'lap')}: {needed} are needed; measure it with --plan thorough"


def _unknown_drop(facts: Facts) -> str:
    if facts.accuracy is None:
        return "accuracy was not measured: the model is declared without held-out data; evenbench run --dataset DIR measures it on yours"
    if facts.reference:
        return f"the accuracy to compare with is 0, in {facts.reference.cell}: nothing can be lost of it"
    return "no accuracy to compare with was recorded"


CONSTRAINTS: tuple[Constraint, ...] = (
    Constraint("p99", lambda facts: facts.p99_ns, formatting.duration, _unsupported_p99),
    Constraint(
        "memory",
        lambda facts: facts.memory_bytes,
        formatting.size,
        lambda facts: "memory was not recorded",
    ),
    Constraint("accuracy drop", lambda facts: facts.accuracy_drop, share, _unknown_drop),
    Constraint(
        "size",
        lambda facts: facts.size_bytes,
        formatting.size,
        lambda facts: "the artifact's size was not recorded",
    ),
)
"""In the order in which they are told. Limits are given by these names: in nanoseconds, bytes, and
a share of the accuracy.
"""

Limits = Mapping[str, float]


@dataclass(frozen=True)
class Chosen:
    """One cell that satisfies everything, and those ahead of it that it cannot be told apart from."""

    facts: Facts
    not_apart: tuple[tuple[str, str], ...]
    """The id of each, and why: within noise, one process, another run."""


@dataclass(frozen=True)
class Advice:
    """The answer: what satisfies, fastest first; what does not, with every reason; the front; and
    what was nearest where nothing does.
    """

    ranked: tuple[Chosen, ...]
    excluded: tuple[tuple[Facts, tuple[str, ...]], ...]
    front: tuple[Facts, ...]
    nearest: tuple[str, ...]
    reference: Reference | None


def advise(members: Sequence[Result], limits: Limits) -> Advice:
    """What `members` (results of one model at one batch size) can be recommended under `limits`, by
    the names of `CONSTRAINTS`.
    """
    everything = gather(members)
    judged = [(facts, excluded_by(facts, limits)) for facts in everything]
    kept = sorted((facts for facts, reasons in judged if not reasons), key=_latency)
    ranked = [Chosen(facts, _not_apart(facts, kept[:place])) for place, facts in enumerate(kept)]
    excluded = tuple((facts, tuple(reasons)) for facts, reasons in judged if reasons)
    nearest = (
        ()
        if ranked
        else tuple(
            _nearest(constraint, everything, limits)
            for constraint in CONSTRAINTS
            if constraint.name in limits
        )
    )
    reference = next((facts.reference for facts in everything if facts.reference), None)
    return Advice(tuple(ranked), excluded, front(everything), nearest, reference)


def gather(members: Iterable[Result]) -> list[Facts]:
    """The facts of each result, in their order."""
    listed = list(members)
    references = _references(listed)
    return [Facts(result, references.get(_scored_on(result))) for result in listed]


def _scored_on(result: Result) -> tuple[str, ...]:
    """What two accuracies must share to be compared: the model, the batch size, the metric, and the
    labelled data.
    """
    metric, data = (
        str((result.record.get(part) or {}).get(key) or "")
        for part, key in (("accuracy", "metric"), ("dataset", "sha256"))
    )
    return str(result.cell.get("model", "")), str(result.cell.get("batch", "")), metric, data


def _references(members: Sequence[Result]) -> dict[tuple[str, ...], Reference]:
    """For each model and its data, the accuracy of its correct eager cell at fp32; without it, the
    best of any correct fp32 cell.
    """
    found: dict[tuple[str, ...], tuple[tuple[bool, float], Reference]] = {}
    for result in members:
        scored = result.record.get("accuracy") or {}
        if (
            result.ranks
            and scored.get("value") is not None
            and result.cell.get("precision") == NATIVE
        ):
            scope, value = _scored_on(result), float(scored["value"])
            rank = result.cell.get("backend") == BASELINE, value
            reference = Reference(
                value, str(result.cell.get("id", "")), int(scored.get("count") or 0), scope[2]
            )
            if scope not in found or rank > found[scope][0]:
                found[scope] = rank, reference
    return {scope: reference for scope, (_, reference) in found.items()}


def excluded_by(facts: Facts, limits: Limits) -> list[str]:
    """Every reason in words why a result is not recommended; empty where nothing speaks against it."""
    if facts.result.is_control:
        return ["a control: there is nothing to ship"]
    if facts.result.outcome != "ok":
        record = facts.result.record
        told = [str(record.get(key)) for key in ("reason", "hint") if record.get(key)]
        return [
            ": ".join([facts.result.outcome, "; ".join(dict.fromkeys(told))])
            if told
            else facts.result.outcome
        ]
    if not facts.runs:
        return ["no time was recorded"]
    found = [
        constraint.excludes(facts, limits[constraint.name])
        for constraint in CONSTRAINTS
        if constraint.name in limits
    ]
    return [reason for reason in found if reason]


def _latency(facts: Facts) -> float:
    return facts.result.host_to_host.value if facts.result.host_to_host else float("inf")


def ratio(slower: Facts, faster: Facts) -> Estimate | None:
    """How many times faster the second is, paired by sweep; None where they are of two runs, whose
    sweeps pair with nothing.
    """
    if slower.result.run != faster.result.run or not slower.process_ns or not faster.process_ns:
        return None
    if faster not in slower.ratios:
        slower.ratios[faster] = estimates.speedup(slower.process_ns, faster.process_ns)
    return slower.ratios[faster]


def not_apart(slower: Facts, faster: Facts) -> str:
    """Why two cells cannot be told apart, in words; an empty string where one is clearly faster."""
    found = ratio(slower, faster)
    if found is None:
        return "measured in another run"
    overlaps = found.overlaps(1.0)
    if overlaps is None:
        return "measured in one process"
    return WITHIN_NOISE if overlaps else ""


def _faster(one: Facts, other: Facts) -> bool:
    """Whether the first has the lower latency, by more than noise where that is known."""
    return _latency(one) < _latency(other) and not_apart(other, one) != WITHIN_NOISE


def _tied(facts: Facts, scope: Iterable[Facts]) -> list[int]:
    """The `id`s of the results that are faster and within noise of this one."""
    others = (
        other
        for other in scope
        if other.runs and not other.in_flight and _latency(other) < _latency(facts)
    )
    return (
        [id(other.result) for other in others if not_apart(facts, other) == WITHIN_NOISE]
        if facts.runs and not facts.in_flight
        else []
    )


def _not_apart(facts: Facts, ahead: Sequence[Facts]) -> tuple[tuple[str, str], ...]:
    found = [(other.id, not_apart(facts, other)) for other in ahead]
    return tuple((name, why) for name, why in found if why)


def front(everything: Iterable[Facts]) -> tuple[Facts, ...]:
    """Those that no other one beats, which would be as fast, as accurate and as small in memory,
    and better in one of them.

    Latencies within noise of one another are equal; two that were not paired go by their levels.
    Where not all have an accuracy, the parity error takes its place. Those without one of the
    numbers cannot be compared and are left out.
    """
    running = [facts for facts in everything if facts.runs and not facts.in_flight]
    by_accuracy = all(facts.accuracy is not None for facts in running)
    wrong = {
        id(facts): (-facts.accuracy if by_accuracy and facts.accuracy is not None else facts.error)
        for facts in running
    }
    known = [
        facts
        for facts in running
        if wrong[id(facts)] is not None and facts.memory_bytes is not None
    ]

    def costs(facts: Facts) -> tuple[float, float]:
        return wrong[id(facts)] or 0.0, float(facts.memory_bytes or 0)

    def beats(one: Facts, other: Facts) -> bool:
        ours, theirs = costs(one), costs(other)
        if any(mine > its for mine, its in zip(ours, theirs, strict=True)) or _faster(other, one):
            return False
        return ours != theirs or _faster(one, other)

    kept = [
        facts
        for facts in known
        if not any(beats(other, facts) for other in known if other is not facts)
    ]
    return tuple(sorted(kept, key=_latency))


def _nearest(constraint: Constraint, everything: Sequence[Facts], limits: Limits) -> str:
    """What came nearest to one constraint, in words: first among those that fail nothing else."""
    limit = limits[constraint.name]
    running = [facts for facts in everything if facts.runs]
    if not running:
        return f"{constraint.name}: no cell runs and is right, whatever the limit"
    failing = [facts for facts in running if constraint.excludes(facts, limit)]
    kept = f"{len(running) - len(failing)} of {formatting.count(len(running), 'correct cell')}"
    met = f"{constraint.name} {constraint.words(limit)} is kept by {kept}"
    stated = [facts for facts in failing if constraint.value(facts) is not None]
    if not stated:
        best = max(failing, key=lambda facts: sum(map(len, facts.laps_ns)), default=None)
        return f"{met}; {constraint.unknown(best)}" if best else f"{met}; other limits exclude them"
    nearest = min(
        stated, key=lambda facts: (len(excluded_by(facts, limits)), constraint.value(facts))
    )
    others = [
        other.name for other in CONSTRAINTS if other is not constraint and other.name in limits
    ]
    failed = [
        other.name
        for other in CONSTRAINTS
        if other.name in others and other.excludes(nearest, limits[other.name])
    ]
    rest = (
        f"; it fails {formatting.listing(failed)} as well"
        if failed
        else "; it satisfies all else"
        if others
        else ""
    )
    return f"{met}; the nearest miss is {nearest.id}: {constraint.excludes(nearest, limit)}{rest}"


@dataclass(frozen=True)
class Field:
    """An input of the page that limits one value: its name in the address, its label, and how much
    of the value one unit of it is.
    """

    name: str
    label: str
    unit: float


FIELDS = (
    Field("p99", "p99 at most, ms", 1e6),
    Field("memory", "Memory at most, MB", 1e6),
    Field("drop", "Accuracy drop at most, %", 0.01),
    Field("size", "Artifact at most, MB", 1e6),
)
"""In the order of `CONSTRAINTS`."""

FIELDS_HELP = (
    "A limit leaves the cells that keep it; those whose value is not known go as well. p99 is host to host, and is stated from "
    f"{estimates.needed_for_quantile(QUANTILE)} laps on. Memory is the peak of a process with that runtime alone. An accuracy drop is a "
    "share of eager PyTorch's at fp32. On the Pareto front is what no other cell of the model and batch beats in latency, accuracy (or "
    "parity error) and memory at once. The column Limits says what a cell breaks, or which faster ones it is within noise of."
)


def page_values(members: Iterable[Result]) -> dict[int, list[Any]]:
    """What the page filters by, for each result by its `id`: the values of `CONSTRAINTS`, whether
    it is on the front of its model and batch, as `advise` has it, and the `id`s of the faster ones
    that it is within noise of."""
    everything = gather(members)
    scopes: dict[tuple[Any, ...], list[Facts]] = {}
    for facts in everything:
        scopes.setdefault(
            (facts.result.cell.get("model"), facts.result.cell.get("batch")), []
        ).append(facts)
    ahead = {id(facts) for scope in scopes.values() for facts in front(scope)}
    tied = {id(facts): _tied(facts, scope) for scope in scopes.values() for facts in scope}
    found = {}
    for facts in everything:
        found[id(facts.result)] = [
            *(_short(each.value(facts)) for each in CONSTRAINTS),
            id(facts) in ahead,
            tied[id(facts)],
        ]
    return found


def _short(value: float | None) -> float | None:
    """Whole nanoseconds and bytes: a page of ten thousand cells has forty thousand of them."""
    return round(value) if value is not None and value >= 1000 else value


def plain(facts: Facts) -> dict[str, Any]:
    """The facts of one result as JSON values, with the parts of its cell that tell it from others."""
    names = ("backend", "precision", "device", "batch", "threads", "options")
    latency = facts.result.host_to_host if facts.runs else None
    return {
        "id": facts.id,
        "run": facts.result.run,
        "outcome": facts.result.outcome,
        **{name: facts.result.cell.get(name) for name in names},
        "latency_ns": {"value": latency.value, "low": latency.low, "high": latency.high}
        if latency
        else None,
        "p99_ns": facts.p99_ns,
        "memory_bytes": facts.memory_bytes,
        "size_bytes": facts.size_bytes,
        "accuracy": facts.accuracy,
        "accuracy_drop": facts.accuracy_drop,
        "parity_error": facts.error,
    }
