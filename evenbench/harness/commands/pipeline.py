"""`evenbench pipeline`: frames per second from encoded frames to drawn outputs, per runtime."""

from __future__ import annotations

import importlib.util
import json
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evenbench.harness.collection import selection_flags
from evenbench.harness.collection.selection_flags import cell_words
from evenbench.harness.commands import arguments
from evenbench.harness.commands import console as terminal
from evenbench.harness.commands.parser import Parser
from evenbench.harness.commands.pipeline_selection import PipelineModel, chosen
from evenbench.harness.core import exit_codes
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.errors import Unavailable, Unsupported, UsageError
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.types import UNWANTED, Cell
from evenbench.harness.environment import cpu, measurement_lock
from evenbench.harness.inputs import preprocessors
from evenbench.harness.pipeline import film as films
from evenbench.harness.pipeline import postprocess
from evenbench.harness.pipeline import session as filming
from evenbench.harness.pipeline import video as videos
from evenbench.harness.pipeline.video import Footage
from evenbench.harness.results import records
from evenbench.harness.runner import journal, launcher
from evenbench.harness.runner.preparation import Preparer

EPILOG = """\
Examples:
  evenbench pipeline resnet18 --backends torch-eager,ort,openvino
  evenbench pipeline resnet18 --video 0 --frames 120     record a camera first
  evenbench pipeline model.onnx --input cat.jpg --recipe imagenet_224
Docs: docs/how-to/pipeline.md explains stages, modes and the files written.
"""

EXIT_CODES = {
    exit_codes.PASS: "every runtime is ok, unsupported or unavailable",
    exit_codes.WORSE: "a runtime is a mismatch, a fallback or failed",
    exit_codes.RESUMABLE: "",
}


@dataclass(frozen=True)
class PipelineOptions:
    """The options of `evenbench pipeline`."""

    model: PipelineModel
    video: str = ""
    frames: int = videos.SHOT * 10
    in_flight: int = 4
    target_fps: float = 0.0
    plan: str = "default"
    seed: int = 0
    timeout: float = 3600.0
    output: str = "pipeline"
    fresh: bool = False
    json: bool = False


def add_arguments(command: Parser) -> None:
    """Add the flags."""
    command.add_argument(
        "thing", metavar="MODEL_OR_TARGET", help="model name, model file, or target of one model"
    )
    arguments.add_declared(command)
    command.add_argument(
        "--backends",
        type=selection_flags.words,
        metavar="A,B",
        help="runtimes [default: the declared ones]",
    )
    command.add_argument(
        "--cell",
        action="append",
        metavar="ID",
        help="this cell for its backend; repeatable [default: first]",
    )
    arguments.add_precision(command)
    command.add_argument("--device", metavar="D", help="device, such as cuda [default: cpu]")
    command.add_argument(
        "--threads", type=int, metavar="N", help="threads of the runtime [default: all cores]"
    )
    _add_video(command)
    arguments.add_plan(command)
    arguments.add_seed(command)
    arguments.add_timeout(command)
    arguments.add_output(command, "DIR", "new or interrupted folder [default: %(default)s]")
    arguments.add_fresh(command)
    arguments.add_json_flag(command)
    arguments.add_model_group(command)


def _add_video(command: Parser) -> None:
    command.add_argument(
        "--video", metavar="FILE|N", help="file, or camera number [default: packaged photos]"
    )
    command.add_argument(
        "--frames", type=int, metavar="N", help="frames from the beginning [default: %(default)s]"
    )
    command.add_argument(
        "--in-flight", type=int, metavar="N", help="most overlapping frames [default: %(default)s]"
    )
    command.add_argument(
        "--target-fps", type=float, metavar="N", help="also feed frames at this rate [default: no]"
    )


def run(options: PipelineOptions) -> int:
    """Measure the pipelines and return the exit code. Raises UsageError before measuring."""
    launcher.interrupt_when_ended()
    _check(options)
    cells, folder = chosen(options.model), Path(options.output)
    _check_model(cells[0])
    if (
        folder.exists()
        and (not folder.is_dir() or any(folder.iterdir()))
        and filming.unfinished(folder) is None
    ):
        raise UsageError(f"output folder {folder} already exists; choose another with -o")
    with (
        measurement_lock.alone(),
        tempfile.TemporaryDirectory(prefix="evenbench-pipeline-") as work,
    ):
        session = opened(options, cells, folder, Path(work))
        if session.journal.resumed:
            session.tell(journal.opening(session.journal.run, session.known()))
        try:
            lines, page = film(session)
        except KeyboardInterrupt:
            session.tell(journal.interrupted(session.known()))
            return exit_codes.RESUMABLE
    if options.json:
        facts = {"folder": str(folder), "resumed": session.journal.resumed, "page": str(page)}
        print(json.dumps({**facts, "outcomes": lines}))
    else:
        from evenbench.reports.terminal import pipeline

        pipeline.show(lines, terminal.console())
        print(page)
    failed = any(line["outcome"] in UNWANTED for line in lines)
    return exit_codes.WORSE if failed else exit_codes.PASS


def _check(options: PipelineOptions) -> None:
    for flag, value in (("--frames", options.frames), ("--in-flight", options.in_flight)):
        if value < 1:
            raise UsageError(f"{flag} {value}: expected one or more")
    if not 0 <= options.target_fps <= 1000:
        raise UsageError(
            f"--target-fps {options.target_fps:g}: expected a rate up to 1000 frames per second"
        )
    if not 0 <= options.model.threads <= cpu.cores():
        raise UsageError(
            f"--threads {options.model.threads}: expected 1 to {cpu.cores()}, "
            "the cores that this process may use"
        )
    if options.timeout <= 0:
        raise UsageError(f"--timeout {options.timeout:g}: expected a number of seconds above 0")
    if importlib.util.find_spec("av") is None:
        raise UsageError(
            "videos need the package av, which is not installed; pip install 'evenbench[video]'"
        )
    if (
        options.video
        and videos.camera_of(options.video) is None
        and not Path(options.video).is_file()
    ):
        raise UsageError(
            f"--video {options.video}: no such file; "
            "give a video file, or the number of a camera such as 0"
        )


def _check_model(cell: Cell) -> None:
    """Raise UsageError for a model without a recipe for frames, or without drawable outputs."""
    try:
        recipe = postprocess.recipe_of(cell.model)
        postprocess.reader(cell.model)
        library = preprocessors.of(recipe)
        preprocessors.present(library)
    except (Unsupported, Unavailable) as error:
        raise UsageError(str(error)) from error
    if library != preprocessors.DEFAULT and recipe.steps[0].mode != "RGB":
        raise UsageError(
            f"recipe {recipe.name} is in grey, and {library} makes grey of files only, "
            "not of frames; name the model without the library"
        )


# -- the run ---------------------------------------------------------------------------------------


def opened(
    options: PipelineOptions, cells: Sequence[Cell], folder: Path, work: Path
) -> filming.PipelineSession:
    """Return the session of a video and all cells: new in `folder`, or interrupted there."""
    console = terminal.console(stderr=True)

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    plan = replace(PLANS[options.plan], timeout_seconds=options.timeout)
    preparer = Preparer(options.timeout, lambda kind, text: tell(f"making {kind} for {text}"))
    left = "" if options.fresh else filming.unfinished(folder)
    recorded = _recorded(options, preparer, cells[0], folder) if left else None
    video = recorded or _film(options, preparer, cells[0], work)
    footage = _footage(options, video)
    words = reproducing_command(options)
    wanted = journal.manifest(
        map(Entry, cells),
        plan,
        options.seed,
        records.PIPELINE,
        video={
            "sha256": video.facts["sha256"],
            "source": video.source,
            "footage": replace(footage, file=""),
        },
        command=words,
    )
    kept = filming.begin(folder, wanted, video, options.fresh)
    return filming.PipelineSession(
        cells, plan, preparer, video, footage, folder, kept, options.seed, words, tell
    )


def _footage(options: PipelineOptions, video: films.Film) -> Footage:
    frames = min(options.frames, int(video.facts["frames"]))
    judged = tuple(videos.spread(frames, filming.JUDGED))
    file = str(video.file.resolve())
    return Footage(file, frames, judged, options.in_flight, options.target_fps)


def film(session: filming.PipelineSession) -> tuple[list[records.Record], Path]:
    """Pass the video through all cells; return their lines and the page."""
    from evenbench.reports.pages import pipeline

    lines = session.measure()
    try:
        pictures = session.pictures()
    except UsageError as error:  # the numbers stay
        pictures = None
        session.tell(f"no frames on the page: {error}")
    (session.folder / filming.PICTURES).write_text(json.dumps(pictures))
    page = pipeline.write(lines, pictures, session.folder / filming.FRAMES, session.folder)
    session.journal.run.finish()
    return lines, page


def _recorded(
    options: PipelineOptions, preparer: Preparer, cell: Cell, folder: Path
) -> films.Film | None:
    """Return the camera's recording of the interrupted run in this folder."""
    if not videos.camera_of(options.video):
        return None
    return films.recorded(preparer, cell, folder, options.frames)


def _film(options: PipelineOptions, preparer: Preparer, cell: Cell, work: Path) -> films.Film:
    device = videos.camera_of(options.video)
    if device:
        return films.of_camera(preparer, cell, device, options.frames, work)
    if options.video:
        return films.of_file(preparer, cell, Path(options.video), options.frames)
    return films.packaged(preparer, cell)


def reproducing_command(options: PipelineOptions) -> str:
    """Return the command line to repeat the measurement, into another folder."""
    model = options.model
    values = {
        "declared": model.declared,
        "backends": ",".join(model.backends),
        "precision": model.precision,
        "device": model.device,
        "threads": model.threads,
        "recipe": model.recipe,
        "shape": model.shape,
        "video": options.video,
        "frames": options.frames,
        "in-flight": options.in_flight,
        "target-fps": options.target_fps,
        "plan": options.plan,
    }
    flags = [word for flag, value in values.items() if value for word in (f"--{flag}", str(value))]
    photos = ["--input", *model.input] if model.input else []
    return shlex.join(
        ["evenbench", "pipeline", model.thing, *flags, *cell_words(model.cell), *photos]
    )
