"""Video frames through one runtime in this process: decoded, preprocessed, inferred, read and drawn, and every stage timed.

Some frames, evenly spaced, are judged against the golden: the very outputs that came out of the timed passages. Runs inside a worker.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import drawing, gpu, implementations, inputs, measure, orders, stages, timing, videos
from harness.backend import Session
from harness.measure import Stopwatch
from harness.types import HOST_TO_HOST, Block, Cell, Model, Plan, Recipe, Unsupported, UsageError, to_json
from harness.videos import Footage

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

WHOLE, AFTER, INFERENCE = "pipeline", "after_decoding", "inference"
"""What a passage covers: every stage from the encoded frame to the drawn one; all but decoding; binding, inference and fetching alone."""

SEQUENTIAL, OVERLAPPED, PACED = "sequential", "overlapped", "paced"

PIXELS = "seen.frames.npy"
"""The judged frames as they were decoded, beside the inputs; no input's file has a dot in its name."""

WORDLESS = "without-letters"
"""An empty file beside frames that were drawn by a session that has no letters."""

GAIN = 8
"""How much brighter a difference image is than the difference."""

QUALITY = 88
"""Of the JPEG files that people look at. Differences are taken before."""


def perform(
    task: str, cell: Cell, plan: Plan | None, footage: Footage, folders: Mapping[str, Path], folder: Path, enter: Callable[[str], None]
) -> dict[str, Any]:
    """What a worker does for a pipeline, by the name of its task."""
    if task == "video":
        return videos.make(folder)
    if task == "record":
        videos.record(footage.file, folder / videos.RECORDING, footage.frames)
        return videos.describe(folder / videos.RECORDING, footage.frames)
    if task == "look":
        return videos.describe(Path(footage.file), footage.frames)
    if task == "frames":
        return make_frames(cell.model, footage, folder)
    if task == "pictures":
        drawn = {name: path for name, path in folders.items() if name not in ("inputs", "golden")}
        return make_pictures(cell.model, footage, folders["inputs"], folders["golden"], drawn, folder)
    assert plan is not None
    return run(cell, plan, footage, folders, folder, enter)


# -- the judged frames -----------------------------------------------------------------------------------------------


def make_frames(model: Model, footage: Footage, folder: Path) -> dict[str, Any]:
    """Write the judged frames as the model's inputs, [frames, 1, ...], as `inputs.make` does; returns the facts for the record."""
    import numpy as np

    (spec,), judged = model.inputs, set(footage.judged)
    pixels = [image for number, image in enumerate(videos.frames(Path(footage.file), footage.frames)) if number in judged]
    made = np.stack([_tensor(model, prepared(drawing.recipe_of(model), image, _picture(image))) for image in pixels])
    expected = spec.concrete(1)
    if made.shape[1:] != expected or str(made.dtype) != spec.dtype:
        raise UsageError(f"the recipe makes {made.dtype}{list(made.shape[1:])} of a frame, {spec.name} is {spec.dtype}{list(expected)}")
    files = {spec.name: folder / inputs.file_of(spec.name)}
    np.save(files[spec.name], made)
    np.save(folder / PIXELS, np.stack(pixels))
    return {"names": [f"frame {number}" for number in footage.judged], "batches": len(pixels), "sha256": inputs.digest_batches(files)}


def _picture(pixels: Array) -> Any:
    from PIL import Image as pillow

    return pillow.fromarray(pixels)


def prepared(recipe: Recipe, pixels: Array, picture: Any) -> Array:
    """What the recipe makes of a frame that is decoded already, by the library that it names; `picture` is of the same pixels.

    Raises Unavailable where that library is not installed.
    """
    made: Array
    if implementations.of(recipe) != implementations.DEFAULT:
        library = implementations.present(implementations.of(recipe))
        made = implementations.chain(library, recipe.steps[1:], library.opened(pixels))
        return made
    value = picture.convert(recipe.steps[0].mode)
    for step in recipe.steps[1:]:
        value = step.apply(value)
    made = value
    return made


def _tensor(model: Model, array: Array) -> Array:
    """With the axis of the batch where the model has one; read-only, as every session gets its inputs."""
    made = array[None] if model.inputs[0].is_batched else array
    made.setflags(write=False)
    return made


# -- one frame on its way --------------------------------------------------------------------------------------------


@dataclass
class Frame:
    """A frame and what every stage made of it so far."""

    number: int
    pixels: Array
    picture: Any = None
    tensor: Any = None
    outputs: Mapping[str, Any] | None = None
    answer: drawing.Answer | None = None
    drawn: Any = None


@dataclass
class Line:
    """The stages of one loaded session, and the judged frames that went through."""

    session: Session
    model: Model
    footage: Footage
    kept: dict[int, Frame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.recipe, self.read = drawing.recipe_of(self.model), drawing.reader(self.model)
        self.view: drawing.View | None = None

    def frames(self) -> Iterator[Frame]:
        """The frames of the video, decoded one by one."""
        for number, pixels in enumerate(videos.frames(Path(self.footage.file), self.footage.frames)):
            yield Frame(number, pixels)

    def preprocess(self, frame: Frame) -> None:
        """The recipe."""
        frame.picture = _picture(frame.pixels)
        frame.tensor = _tensor(self.model, prepared(self.recipe, frame.pixels, frame.picture))

    def infer(self, frame: Frame) -> None:
        """What `host_to_host` times."""
        self.session.bind({self.model.inputs[0].name: frame.tensor})
        self.session.step()
        self.session.sync()
        frame.outputs = self.session.fetch()

    def postprocess(self, frame: Frame) -> None:
        """Outputs to an answer."""
        assert frame.outputs is not None
        frame.answer = self.read(frame.outputs)

    def draw(self, frame: Frame) -> None:
        """The answer onto the frame."""
        assert frame.answer is not None
        if self.view is None:  # every frame of a video has one size
            self.view = drawing.view(self.recipe, *frame.picture.size)
        frame.drawn = drawing.draw(frame.picture, self.view, frame.answer)
        if frame.number in self.footage.judged:
            self.kept[frame.number] = frame

    def work(self) -> dict[str, Callable[[Frame], None]]:
        """Every stage after decoding, by name and in order."""
        return {name: getattr(self, name) for name in stages.STAGES if name != stages.DECODE}

    def outputs(self) -> dict[int, Any]:
        """What was kept, by its place among the judged frames; kept anew from here on."""
        found = {place: self.kept[number].outputs for place, number in enumerate(self.footage.judged) if number in self.kept}
        self.kept = {}
        return found

    def check(self, batches: Sequence[Mapping[str, Array]]) -> None:
        """Raise ValueError where a judged frame is not what the golden got."""
        import numpy as np

        for place, number in enumerate(self.footage.judged):
            if not np.array_equal(self.kept[number].tensor, batches[place][self.model.inputs[0].name]):
                raise ValueError(f"frame {number} was decoded and preprocessed to other values than those that are judged; run it again")


# -- one process -----------------------------------------------------------------------------------------------------


def run(cell: Cell, plan: Plan, footage: Footage, folders: Mapping[str, Path], drawn: Path, enter: Callable[[str], None]) -> dict[str, Any]:
    """Pass the video through the cell's runtime once for each way; `folders` are the artifact, the judged frames as inputs, and the golden.

    The judged frames as they were drawn go into `drawn` as PNG files. Raises Unsupported where the model's outputs cannot be drawn.
    """
    drawing.reader(cell.model)
    watch = Stopwatch(enter)
    batches = inputs.load(folders["inputs"], cell.model)
    session, _ = measure.load(cell, folders["artifact"], watch)
    try:
        if session.in_flight > 1:
            raise Unsupported(f"{cell.backend} runs {session.in_flight} inferences at once; frames go through one at a time")
        line = Line(session, cell.model, footage)
        measure.first_step(session, batches[0], watch)
        with watch.phase("warm_up"):
            warm = timing.warm_up(session, batches, plan)
            covers, why = _covered(line, folders["inputs"])
            _warm(line, covers, plan.window)
        with watch.phase("sample"), gpu.watch(cell.device) as seen:
            passages, kept = {WHOLE: _passed, AFTER: _directed, INFERENCE: _inferred}[covers](line, batches)
            seen.observe(WHOLE)
            observed = seen.facts()
        attested = session.attest()
        used = measure.peak_rss_bytes(session)
        with watch.phase("parity"):
            verdict = measure.judge(cell, kept, folders["golden"])
    finally:
        session.close()
    _save(line, batches, kept, folders["inputs"], drawn)
    return {
        **measure.provenance(cell, attested, folders, watch, ("av",)),
        "covers": covers,
        "alone_because": why,
        "clock": session.clock,
        "passages": passages,
        "warm_up": warm,
        "gpu": observed,
        "peak_rss_bytes": used,
        "parity": verdict,
        "accuracy": None,
    }


def _passed(line: Line, batches: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Every way of passing frames, and the judged outputs of the ways that drop none."""
    footage, work, kept = line.footage, line.work(), {}
    split = {name: {each: work[each] for each in names} for name, names in GROUPS.items()}

    def overlap(period_ns: int) -> stages.Passage:
        made = stages.Overlap(stages.Slots(footage.in_flight), timing.CLOCK, _sleep_until, period_ns)
        return made.run(line.frames(), split["before"], split["here"], split["after"])

    passages = {SEQUENTIAL: _observed(line.session, lambda: stages.sequential(line.frames(), work, timing.CLOCK))}
    line.check(batches)
    kept[SEQUENTIAL] = line.outputs()
    passages[OVERLAPPED] = _observed(line.session, lambda: overlap(0))
    if footage.target_per_second:
        last = dict(line.kept)
        passages[PACED] = _observed(line.session, lambda: overlap(round(1e9 / footage.target_per_second)))
        line.kept = last
    line.check(batches)
    kept[OVERLAPPED] = {place: line.kept[number].outputs for place, number in enumerate(footage.judged)}
    return passages, kept


GROUPS = {"before": ("preprocess",), "here": ("infer",), "after": ("postprocess", "draw")}
"""Which stages share a thread where frames overlap; decoding is in that of `before`."""


def _sleep_until(moment_ns: int) -> None:
    time.sleep(max(0.0, (moment_ns - timing.CLOCK()) / 1e9))


def _covered(line: Line, frames: Path) -> tuple[str, str]:
    """What can be timed of this session's frames, and why where it is inference alone. One that passes frames by itself is told how."""
    import numpy as np

    session = line.session
    if type(session).laps is Session.laps:
        return WHOLE, ""
    if not isinstance(session, orders.PassesFrames):
        return INFERENCE, "its own loop takes inputs, and no frames"
    height, width = np.load(frames / PIXELS, mmap_mode="r").shape[1:3]
    try:
        session.direct(orders.of(line.model, line.recipe, implementations.of(line.recipe), width, height))
    except Unsupported as refused:
        return INFERENCE, str(refused)
    return AFTER, ""


def _warm(line: Line, covers: str, count: int) -> None:
    """Some frames through what will be timed: the decoder, letters to draw with, memory that is kept."""
    first = islice(line.frames(), count)
    if covers == WHOLE:
        stages.sequential(first, line.work(), timing.CLOCK)
        line.kept = {}
    elif covers == AFTER and isinstance(line.session, orders.PassesFrames):
        for frame in first:
            line.session.passed(frame.pixels, keep=False)


def _directed(line: Line, batches: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A session that passes frames by itself gets them decoded, one after another: all later stages, by its own clock."""
    session, judged = line.session, set(line.footage.judged)
    assert isinstance(session, orders.PassesFrames)

    def passage() -> stages.Passage:
        taken: dict[str, list[int]] = {name: [] for name in stages.STAGES if name != stages.DECODE}
        for frame in line.frames():
            found = session.passed(frame.pixels, keep=frame.number in judged)
            for name, took in found.stages_ns.items():
                taken[name].append(took)
            if frame.number in judged:
                line.kept[frame.number] = replace(frame, tensor=found.tensor, outputs=found.outputs, drawn=_picture(found.drawn))
        return stages.Passage(sum(map(sum, taken.values())), taken, len(taken["infer"]))

    passages = {AFTER: _observed(line.session, passage)}
    line.check(batches)
    return passages, {AFTER: {place: line.kept[number].outputs for place, number in enumerate(line.footage.judged)}}


def _inferred(line: Line, batches: Sequence[Mapping[str, Array]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A session that loops and times by itself gets the judged frames, preprocessed, in rotation: binding, inference and fetching alone."""
    count, rotation = max(line.footage.frames, 2 * len(batches)), len(batches)
    keep = set(range(rotation, 2 * rotation))
    kept: dict[int, Any] = {}

    def laps() -> stages.Passage:
        taken = timing.run_laps(line.session, batches, 0, count, HOST_TO_HOST, keep, timing.CLOCK)
        kept.update({lap % rotation: outputs for lap, outputs in taken.kept.items()})
        return stages.Passage(sum(taken.laps_ns), {"infer": taken.laps_ns}, count)

    return {INFERENCE: _observed(line.session, laps)}, {INFERENCE: kept}


def _observed(session: Session, run: Callable[[], stages.Passage]) -> dict[str, Any]:
    """A passage as JSON, with what this process and the machine did meanwhile."""
    before = timing.counters_of(session)
    passage = run()
    after = timing.counters_of(session)
    block = Block(passage.frames, passage.wall_ns, **timing.counted(before, after))
    return {**to_json(passage), "block": to_json(block)}


def _save(line: Line, batches: Sequence[Any], kept: Mapping[str, Mapping[int, Any]], frames: Path, folder: Path) -> None:
    """The judged frames as PNG files; those that nothing drew yet are drawn from the outputs that were judged."""
    import numpy as np

    pixels = np.load(frames / PIXELS, mmap_mode="r")
    for place, number in enumerate(line.footage.judged):
        frame = line.kept.get(number)
        if frame is None:
            frame = Frame(number, pixels[place], _picture(np.array(pixels[place])), outputs=kept[INFERENCE][place])
            line.postprocess(frame)
            line.draw(frame)
        frame.drawn.save(folder / f"{number}.png", compress_level=1)
    if isinstance(line.session, orders.PassesFrames) and AFTER in kept and not line.session.draws_letters:
        (folder / WORDLESS).touch()


# -- side by side ----------------------------------------------------------------------------------------------------


def make_pictures(model: Model, footage: Footage, frames: Path, golden: Path, drawn: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """The judged frames as drawn from the golden's outputs, those that each runtime drew, and their differences, as JPEG files in `folder`.

    `drawn` maps a cell's key to the PNG files of its process; those without letters are compared with the golden's without letters.
    Returns, for `golden` and every key, one entry per judged frame.
    """
    import numpy as np
    from PIL import Image as pillow

    wanted = measure.golden_outputs(golden, model)
    pixels, recipe, read = np.load(frames / PIXELS), drawing.recipe_of(model), drawing.reader(model)
    seen = drawing.view(recipe, pixels.shape[2], pixels.shape[1])
    found: dict[str, list[dict[str, Any]]] = {"golden": [], **{key: [] for key in drawn}}
    for place, number in enumerate(footage.judged):
        outputs = {name: values[place] for name, values in wanted.items()}
        answer = read(outputs)
        right, bare = (drawing.draw(_picture(pixels[place]), seen, each) for each in (answer, drawing.wordless(answer)))
        found["golden"].append({"frame": number, "image": _jpeg(right, folder, f"golden-{number}.jpg")})
        for key, its in drawn.items():
            with pillow.open(its / f"{number}.png") as opened:
                made = opened.convert("RGB")
            letters = not (its / WORDLESS).exists() or not any(answer.words)
            apart, share, levels = drawing.difference(made, right if letters else bare, GAIN)
            entry = {"frame": number, "image": _jpeg(made, folder, f"{key}-{number}.jpg"), "changed_share": share, "largest_levels": levels}
            found[key].append({**entry, "letters": letters, "difference": _jpeg(apart, folder, f"{key}-{number}-difference.jpg")})
    return {**found, "kind": json.loads((golden / "facts.json").read_text())["kind"], "gain": GAIN}


def _jpeg(picture: Any, folder: Path, name: str) -> str:
    picture.save(folder / name, quality=QUALITY)
    return name
