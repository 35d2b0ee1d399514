"""Hears the judges of a golden, and finds the outputs that the majority of independent judges gave.

A judge that raises, or takes too long, is off the committee, and the verdict says so. Judges that
contradict the declared shapes of the model are off as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness.accuracy import consensus
from evenbench.harness.accuracy.consensus import Consensus, Opinion
from evenbench.harness.core.errors import Unsupported
from evenbench.harness.core.golden import Golden, Judge
from evenbench.harness.core.session import Session
from evenbench.harness.core.tensor_specs import BATCH
from evenbench.harness.core.types import ANY, Cell
from evenbench.harness.measurement.judging import once, open_outputs
from evenbench.harness.measurement.time_limit import OutOfTimeError, at_most

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays

GIVEN = "the expected outputs beside the inputs"
"""The name of the judge behind `harness.inputs.expected_outputs`."""

LONGEST_REASON = 160
"""Characters of a judge's own error in a verdict."""


@dataclass
class Finding:
    """The outputs of the majority, the judges with these outputs, and the dissenting judges.

    `suspect` is the reason for a reference that cannot judge, or empty. The session, if any, is
    the chosen judge's and open.
    """

    outputs: Mapping[str, Any]
    kind: str
    session: Session | None
    judge: Judge | None
    suspect: str = ""


@dataclass
class Committee:
    """The judges of a golden: hear all judges with `finding`, then `close`."""

    golden: Golden
    cell: Cell
    artifact: Path
    batches: Sequence[Arrays]
    expected: Sequence[Mapping[str, Any]] = ()
    opinions: dict[str, Opinion] = field(default_factory=dict, init=False)
    absent: dict[str, str] = field(default_factory=dict, init=False)
    """The reason of each judge without an opinion, as a sentence by name."""
    _sessions: dict[str, Session] = field(default_factory=dict, init=False)

    def finding(self) -> Finding:
        """The opinion of the majority. Raises Unsupported if no judge can run the model."""
        judges = self.golden.judges(self.cell)
        ordinary = [judge for judge in judges if not judge.is_witness]
        # Judges without a time limit go first: the limit holds only beside an opinion.
        for judge in sorted(ordinary, key=lambda judge: judge.seconds is not None):
            self._hear(judge)
        if self.expected:
            self.opinions[GIVEN] = Opinion(GIVEN, "given", *self._expectation())
        if not self.opinions:
            raise Unsupported(f"no judge can run {self.cell.model.name}: {self._absences()}")
        agreed = consensus.decide(self._in_order(judges))
        if agreed is None or not agreed.agreeing:
            for judge in judges:
                if judge.is_witness:
                    self._hear(judge)
            agreed = consensus.decide(self._in_order(judges))
        return self._found(agreed, judges)

    def close(self) -> None:
        """Close all sessions."""
        for session in self._sessions.values():
            session.close()

    # -- hearing -----------------------------------------------------------------------------------

    def _hear(self, judge: Judge) -> None:
        """Keep the judge's opinion, or the reason for its absence."""
        limit = judge.seconds if self.opinions else None
        try:
            with at_most(limit):
                opinion = self._opinion(judge, judge.load)
                if judge.yardstick:
                    opinion = self._as_written(judge, opinion)
        except Exception as error:
            if not judge.is_witness:
                self.absent[judge.name] = _words(judge.name, error)
            return
        broken = self._contradiction(opinion.outputs)
        if broken:
            self.absent[judge.name] = f"{judge.name} {broken}"
        else:
            self.opinions[judge.name] = opinion

    def _opinion(self, judge: Judge, load: Callable[[Path], Session]) -> Opinion:
        session = load(self.artifact)
        self._sessions[judge.name] = session
        outputs = once(session, self.batches, self.cell.model)
        return Opinion(judge.name, judge.source, session.attest().precision, outputs)

    def _as_written(self, judge: Judge, wide: Opinion) -> Opinion:
        """The opinion in wide floats, if widening changed rounding only; else of the file as is."""
        assert judge.yardstick
        session = self._sessions[judge.name]
        plain = self._opinion(judge, judge.yardstick)
        if not consensus.agree(wide, plain):
            session.close()
            return plain
        self._sessions[judge.name].close()
        self._sessions[judge.name] = session
        return wide

    def _contradiction(self, outputs: Mapping[str, Any]) -> str:
        """The first output with another shape than the model declares, or an empty string."""
        for spec in self.cell.model.outputs:
            if spec.name not in outputs:
                return f"gives no {spec.name}"
            values = outputs[spec.name]
            if isinstance(values, list) or not spec.shape:
                continue
            declared, shape = spec.shape, values.shape[1:]
            open_sizes = (BATCH, ANY)
            if len(shape) != len(declared) or any(
                size not in open_sizes and size != actual
                for size, actual in zip(declared, shape, strict=True)
            ):
                return f"gives {spec.name} of shape {list(shape)}, the file says {list(declared)}"
        return ""

    def _expectation(self) -> tuple[str, dict[str, Any]]:
        """The precision and the outputs of the expectation, in the form of an opinion."""
        import numpy as np

        from evenbench.harness.measurement.judging import stack

        kept = dict(enumerate(self.expected))
        outputs = stack(kept, len(self.expected), open_outputs(self.cell.model))
        kinds = {str(np.asarray(one).dtype) for values in outputs.values() for one in values}
        narrow = {"float16": "fp16", "bfloat16": "bf16"}
        return ",".join(sorted({narrow.get(kind, "fp32") for kind in kinds})) or "fp32", outputs

    def _in_order(self, judges: Sequence[Judge]) -> list[Opinion]:
        """The opinions in order of preference; a witness is heard last."""
        names = [*(judge.name for judge in judges if not judge.is_witness), GIVEN]
        names += [judge.name for judge in judges if judge.is_witness]
        return [self.opinions[name] for name in names if name in self.opinions]

    # -- the finding -------------------------------------------------------------------------------

    def _found(self, agreed: Consensus | None, judges: Sequence[Judge]) -> Finding:
        by_name = {judge.name: judge for judge in judges}
        if agreed is None:
            opinions = self._in_order(judges)
            names = " and ".join(opinion.judge for opinion in opinions)
            where = self._where(opinions[0], opinions[1], by_name)
            cause = self.golden.doubts(self.artifact, self.cell)
            reason = (
                f"reference suspect: {names} disagree{where}, and no further judge decides"
                f"{f': {cause}' if cause else ''}; give expected outputs beside the inputs"
            )
            return self._of(opinions[0], by_name, names, reason)
        chosen = agreed.chosen
        cause = self.golden.doubts(self.artifact, self.cell) if agreed.dissenting else ""
        if cause:
            names = " and ".join(other.judge for other in (chosen, *agreed.dissenting))
            reason = f"reference suspect: {cause}, and {names} disagree"
            return self._of(chosen, by_name, names, reason)
        kind = self._kind(chosen)
        if agreed.agreeing:
            kind += f", in agreement with {' and '.join(other.judge for other in agreed.agreeing)}"
        elif len(judges) > 1:
            kind += ", alone"
        for other in agreed.dissenting:
            kind += f"; not by {other.judge}, in disagreement{self._where(chosen, other, by_name)}"
        if self.absent:
            kind += f"; {self._absences()}"
        return self._of(chosen, by_name, kind, "")

    def _of(
        self, opinion: Opinion, by_name: Mapping[str, Judge], kind: str, suspect: str
    ) -> Finding:
        session, judge = self._sessions.get(opinion.judge), by_name.get(opinion.judge)
        return Finding(opinion.outputs, kind, session, judge, suspect)

    def _kind(self, opinion: Opinion) -> str:
        session = self._sessions.get(opinion.judge)
        return self.golden.kind_of(session) if session else opinion.judge

    def _absences(self) -> str:
        return "; ".join(self.absent.values())

    def _where(self, one: Opinion, other: Opinion, by_name: Mapping[str, Judge]) -> str:
        """The first operator on which two judges differ, as text; at least the output's name."""
        name = consensus.difference(one, other) or consensus.difference(other, one)
        judges = [by_name.get(opinion.judge) for opinion in (one, other)]
        node = ""
        if judges[0] and judges[1]:
            precisions = (one.precision, other.precision)
            loads = (judges[0].load, judges[1].load)
            node = _first_node(
                self.golden, self.artifact, self.cell, loads, precisions, self.batches[0]
            )
        return f" at {node}" if node else f" on {name}"


def _words(judge: str, error: Exception) -> str:
    """The reason of a judge's absence on one short line."""
    text = " ".join(str(error).split())
    if isinstance(error, Unsupported):
        return text
    if isinstance(error, OutOfTimeError):
        return f"{judge} {text}"
    short = text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
    return f"{judge} raised {type(error).__name__}: {short}"


def _first_node(
    golden: Golden,
    artifact: Path,
    cell: Cell,
    loads: Sequence[Callable[[Path], Session]],
    precisions: Sequence[str],
    batch: Arrays,
) -> str:
    """The operator and tensor at which two judges part; empty if the inside cannot be seen."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            exposed = golden.expose(artifact, cell, Path(folder), None, batch)
            insides = [
                Opinion("", str(index), precision, _fetched(load(Path(folder)), batch))
                for index, (load, precision) in enumerate(zip(loads, precisions, strict=True))
            ]
        except Exception:
            return ""
    for tensor in exposed.tensors:
        name = tensor.fetched or tensor.name
        pair = [
            Opinion("", inside.source, inside.precision, {name: [inside.outputs[name]]})
            for inside in insides
            if name in inside.outputs
        ]
        if len(pair) == 2 and not consensus.agree(*pair):
            return f"{tensor.operator} ({name})"
    return ""


def _fetched(session: Session, batch: Arrays) -> Arrays:
    try:
        session.bind(batch)
        session.step()
        session.sync()
        return session.fetch()
    finally:
        session.close()
