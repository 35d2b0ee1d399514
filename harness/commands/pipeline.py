"""`evenbench pipeline`: frames per second from the encoded frame to the drawn answer, of one model
on several runtimes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.collection import matrix, selection, user_models
from harness.commands import console as terminal
from harness.core import exit_codes, registry
from harness.core.cases import INT8, Case
from harness.core.errors import Unavailable, Unsupported, UsageError
from harness.core.plans import PLANS
from harness.core.types import PRECISIONS, UNWANTED, Cell, Model
from harness.environment import cpu, measurement_lock
from harness.inputs import preprocessors
from harness.pipeline import film as films
from harness.pipeline import postprocess
from harness.pipeline import session as filming
from harness.pipeline import video as videos
from harness.pipeline.video import Footage
from harness.results import records
from harness.runner import journal, launcher
from harness.runner.preparation import Preparer

FRAMES = videos.SHOT * 10
TIMEOUT_SECONDS = 3600.0
"""Of one process: preparing counts as well."""

EPILOG = """\
  evenbench pipeline resnet18 --backends torch-eager,ort,openvino
  evenbench pipeline lraspp_mobilenet_v3_large --declared benchmarks/segmentation.py --in-flight 4 --target-fps 30
  evenbench pipeline maskrcnn_resnet50_fpn --declared benchmarks/detection.py --backends ort,openvino \
    --cell maskrcnn_resnet50_fpn-openvino-fp32-cpu-b1-frontend=pytorch
  evenbench pipeline model.onnx --input cat.jpg --recipe imagenet_224 --video street.mp4 -o street
  evenbench pipeline segmenter.onnx --task segmentation --input cat.jpg --recipe imagenet_224
  evenbench pipeline resnet18 --video 0 --frames 120        a camera, recorded first, so that every runtime sees the same
each frame is decoded, preprocessed, inferred, postprocessed and drawn: one frame after another, then with frames in flight, then at the
target rate, where frames that come too fast are dropped. Six frames, evenly spaced, are judged against the golden before any number is
told. A C++ program gets the frames decoded, and does all that follows by itself: it is compared by its frames per second after decoding.
A runtime that is declared with several option sets is filmed with the first; --cell names another one, as `evenbench list` shows it.
The folder gets pipeline.jsonl, frames/ and index.html.

exit codes:
  0  every runtime is ok, unsupported or unavailable
  1  some runtime is a mismatch, a fallback or failed: it gets no FPS
  4  what was asked for cannot be: no such model, video or camera, or a video without frames
  130  interrupted; the same command goes on where it stopped
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The flags of the command."""
    command.add_argument(
        "thing",
        metavar="MODEL_OR_TARGET",
        help="a declared model's name, a target with one, or a model of your own",
    )
    command.add_argument(
        "--declared",
        default="benchmarks",
        metavar="TARGET",
        help="where a model's name is looked up (benchmarks)",
    )
    command.add_argument(
        "--video",
        default="",
        metavar="FILE|N",
        help="a file, or the number of a camera (made of packaged photographs)",
    )
    command.add_argument(
        "--backends",
        default="",
        metavar="A,B",
        help="runtimes (those that the model is declared with)",
    )
    chosen_by = "for its backend, this declared cell, by its exact id or key, in place of the first; repeatable"
    command.add_argument("--cell", action="append", default=[], metavar="ID", help=chosen_by)
    command.add_argument(
        "--precision",
        default="fp32",
        choices=[*PRECISIONS, INT8],
        metavar="P",
        help="such as fp16 or int8 (fp32)",
    )
    command.add_argument("--device", default="cpu", metavar="D", help="such as cuda (cpu)")
    command.add_argument(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="of the runtime; fewer leave room for the stages (all cores)",
    )
    command.add_argument(
        "--frames",
        type=int,
        default=FRAMES,
        metavar="N",
        help=f"of the video, from its beginning ({FRAMES})",
    )
    command.add_argument(
        "--in-flight",
        type=int,
        default=4,
        metavar="N",
        help="frames begun and not drawn yet, at most (4)",
    )
    command.add_argument(
        "--target-fps",
        type=float,
        default=0.0,
        metavar="N",
        help="also feed frames at this rate, and count dropped ones",
    )
    command.add_argument(
        "--plan",
        choices=sorted(PLANS),
        default="default",
        help="how many processes, and their warm-up (default)",
    )
    command.add_argument(
        "--seed", type=int, default=0, help="of the order in which runtimes are measured (0)"
    )
    command.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_SECONDS,
        metavar="SECONDS",
        help="of one process (1 hour)",
    )
    command.add_argument(
        "-o",
        "--output",
        default="pipeline",
        metavar="DIR",
        help="new, empty, or of the same command, interrupted",
    )
    command.add_argument("--fresh", action="store_true", help=journal.FRESH)
    command.add_argument(
        "--json", action="store_true", help="one JSON value on standard output instead of text"
    )
    own = command.add_argument_group("for a model of your own")
    own.add_argument(
        "--input",
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="photos that tell its shape, as `evenbench run` takes them",
    )
    own.add_argument(
        "--recipe", default="", help="how a frame becomes a tensor, such as imagenet_224"
    )
    own.add_argument("--shape", default="", help="of the inputs, such as 1x3x224x224")
    selection.add_meaning(own)


def run(options: argparse.Namespace) -> int:
    """The command; returns its exit code. Raises UsageError where the model, the video or the
    camera is not what it should be.
    """
    launcher.interrupt_when_ended()
    _check(options)
    cells, folder = chosen(options), Path(options.output)
    _check_model(cells[0])
    if (
        folder.exists()
        and (not folder.is_dir() or any(folder.iterdir()))
        and filming.unfinished(folder) is None
    ):
        raise UsageError(
            f"{folder} is there and is never overwritten; name a folder that does not exist yet with -o"
        )
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
        found = {"folder": str(folder), "resumed": session.journal.resumed, "page": str(page)}
        print(json.dumps({**found, "outcomes": lines}))
    else:
        from reports.terminal import pipeline

        pipeline.show(lines, terminal.console())
        print(page)
    return 1 if any(line["outcome"] in UNWANTED for line in lines) else 0


def _check(options: argparse.Namespace) -> None:
    for flag, value in (("--frames", options.frames), ("--in-flight", options.in_flight)):
        if value < 1:
            raise UsageError(f"{flag} {value}: expected one or more")
    if not 0 <= options.target_fps <= 1000:
        raise UsageError(
            f"--target-fps {options.target_fps:g}: expected a rate up to 1000 frames per second"
        )
    if not 0 <= options.threads <= cpu.cores():
        raise UsageError(
            f"--threads {options.threads}: expected 1 to {cpu.cores()}, the cores that this process may use"
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
            f"--video {options.video}: no such file; give a video file, or the number of a camera such as 0"
        )


def _check_model(cell: Cell) -> None:
    """Raise UsageError where no frame can become the model's input, or its outputs cannot be drawn."""
    try:
        recipe = postprocess.recipe_of(cell.model)
        postprocess.reader(cell.model)
        library = preprocessors.of(recipe)
        preprocessors.present(library)
    except (Unsupported, Unavailable) as error:
        raise UsageError(str(error)) from error
    if library != preprocessors.DEFAULT and recipe.steps[0].mode != "RGB":
        raise UsageError(
            f"recipe {recipe.name} is in grey, which {library} makes of a file and not of a frame; name the model without it"
        )


# -- which cells -----------------------------------------------------------------------------------


def chosen(options: argparse.Namespace) -> list[Cell]:
    """One cell of batch 1 for each runtime. Raises UsageError where the model is not known, or is
    not one.
    """
    thing, named = options.thing, tuple(filter(None, options.backends.split(",")))
    if user_models.is_model(thing):
        if options.cell:
            raise UsageError(
                f"--cell chooses between declared cells, and {thing} is a model of your own; choose with --backends"
            )
        flags = ("recipe", "shape", "backends", "precision", "device", "threads")
        words = [
            word
            for flag in flags
            if getattr(options, flag)
            for word in (f"--{flag}", str(getattr(options, flag)))
        ]
        words += selection.meant(options)
        return _alone(
            _selected([thing, *words, *(["--input", *options.input] if options.input else [])])
        )
    if options.input or options.recipe or options.shape or options.task or options.option:
        own = "--input, --recipe, --shape, --task and --option"
        raise UsageError(
            f"{own} are for a model of your own, such as model.onnx; {thing} is declared"
        )
    is_target = "::" in thing or Path(thing).exists()
    cells = _selected([thing if is_target else options.declared])
    models = {cell.model.name: cell.model for cell in cells}
    if is_target and len(models) > 1:
        names = ", ".join(sorted(models))
        raise UsageError(f"{thing} declares {names}; name one of them, with --declared {thing}")
    model = next(iter(models.values())) if is_target else models.get(thing)
    if model is None:
        raise UsageError(
            f"{options.declared} declares no model {thing!r}; models are {', '.join(sorted(models))}"
        )
    precision = selection.precision_for(model, options.precision)
    declared: dict[str, Cell] = {}
    for cell in cells:
        if (cell.model.name, cell.precision, cell.batch) == (model.name, precision, 1):
            declared.setdefault(cell.backend, _as_asked(cell, options))
    declared |= _meant(thing if is_target else options.declared, model, precision, options)
    runtimes = [name for name in declared if registry.row(name).role == "runtime"]
    found = [
        declared.get(name) or _as_asked(_new(model, name, precision), options)
        for name in named or runtimes
    ]
    if not found:
        raise UsageError(
            f"{model.name} is declared with no runtime at {precision} and batch 1; name some with --backends"
        )
    return _alone(found)


def _meant(
    target: str, model: Model, precision: str, options: argparse.Namespace
) -> dict[str, Cell]:
    """The cells that --cell names, by backend, with the threads that they are declared with where
    --threads says none.

    Raises UsageError for an id that is not declared, a cell that the rest of the command line
    excludes, and two cells of one backend.
    """
    found: dict[str, Cell] = {}
    for cell in _selected([target, *_cells_of(options)]) if options.cell else ():
        if (cell.model.name, cell.precision, cell.device, cell.batch) != (
            model.name,
            precision,
            options.device,
            1,
        ):
            wanted = f"{model.name} at {precision} and batch 1 on {options.device}"
            raise UsageError(
                f"--cell {cell.id}: expected a cell of {wanted}; --precision and --device say what is filmed"
            )
        if cell.backend in found:
            raise UsageError(
                f"--cell {found[cell.backend].id} and --cell {cell.id} are both of {cell.backend}; name one of them"
            )
        found[cell.backend] = _with_threads(cell, options.threads or cell.threads)
    return found


def _cells_of(options: argparse.Namespace) -> list[str]:
    return [word for name in options.cell for word in ("--cell", name)]


def _new(model: Model, backend: str, precision: str) -> Cell:
    """A cell that is not declared."""
    return matrix.expand(Case((model,), (backend,), (precision,), batch=(1,)))[0]


def _as_asked(cell: Cell, options: argparse.Namespace) -> Cell:
    """The same on the device and with the threads of the command line."""
    return _with_threads(replace(cell, device=options.device), options.threads or cpu.cores())


def _with_threads(cell: Cell, threads: int) -> Cell:
    return replace(cell, threads=threads, default_threads=threads == cpu.cores())


def _selected(words: list[str]) -> list[Cell]:
    """The cells of a command line like that of `evenbench list`."""
    parser = argparse.ArgumentParser()
    selection.add_arguments(parser)
    return [entry.cell for entry in selection.select(parser.parse_args(words))]


def _alone(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, once each. Raises UsageError for what cannot show a frame."""
    for cell in cells:
        if registry.row(cell.backend).role == "control":
            raise UsageError(
                f"{cell.backend} is a control, which answers nothing that could be drawn; name runtimes"
            )
        if cell.interpreter_name:
            raise UsageError(
                f"{cell.backend} lives in an environment that cannot read and draw frames; name {cell.backend_name}"
            )
        if cell.batch != 1:
            raise UsageError(
                f"{cell.model.name} takes {cell.batch} pictures at once; frames come one by one: export it for a batch of 1"
            )
    return matrix.unique(cells)


# -- the run ---------------------------------------------------------------------------------------


def opened(
    options: argparse.Namespace, cells: Sequence[Cell], folder: Path, work: Path
) -> filming.PipelineSession:
    """The video, and the run that passes it through all cells: begun in `folder`, or gone on with
    there.
    """
    console = terminal.console(stderr=True)
    plan = replace(PLANS[options.plan], timeout_seconds=options.timeout)
    preparer = Preparer(
        options.timeout,
        lambda kind, text: console.print(f"making {kind} for {text}", soft_wrap=True, markup=False),
    )
    left = "" if options.fresh else filming.unfinished(folder)
    found = (_recorded(options, preparer, cells[0], folder) if left else None) or _film(
        options, preparer, cells[0], work
    )
    frames = min(options.frames, int(found.facts["frames"]))
    judged = tuple(videos.spread(frames, filming.JUDGED))
    footage = Footage(
        str(found.file.resolve()), frames, judged, options.in_flight, options.target_fps
    )
    words = _command(options)
    video = {
        "sha256": found.facts["sha256"],
        "source": found.source,
        "footage": replace(footage, file=""),
    }
    wanted = journal.manifest(
        (cell.key for cell in cells),
        plan,
        options.seed,
        records.PIPELINE,
        video=video,
        command=words,
    )
    kept = filming.begin(folder, wanted, found, options.fresh)

    def tell(text: str) -> None:
        console.print(text, soft_wrap=True, markup=False)

    return filming.PipelineSession(
        cells, plan, preparer, found, footage, folder, kept, options.seed, words, tell
    )


def film(session: filming.PipelineSession) -> tuple[list[records.Record], Path]:
    """Pass the video through all cells; returns their lines and the page."""
    from reports.pages import pipeline

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
    options: argparse.Namespace, preparer: Preparer, cell: Cell, folder: Path
) -> films.Film | None:
    """What the interrupted run in this folder recorded, where a camera is asked for."""
    return (
        films.recorded(preparer, cell, folder, options.frames)
        if videos.camera_of(options.video)
        else None
    )


def _film(options: argparse.Namespace, preparer: Preparer, cell: Cell, work: Path) -> films.Film:
    device = videos.camera_of(options.video)
    if device:
        return films.of_camera(preparer, cell, device, options.frames, work)
    if options.video:
        return films.of_file(preparer, cell, Path(options.video), options.frames)
    return films.packaged(preparer, cell)


def _command(options: argparse.Namespace) -> str:
    """The command line that measures the same again, into another folder."""
    words = [options.thing]
    of_model = ("declared", "backends", "precision", "device", "threads", "recipe", "shape")
    for flag in (*of_model, "video", "frames", "in_flight", "target_fps", "plan"):
        value = getattr(options, flag)
        words += [f"--{flag.replace('_', '-')}", str(value)] if value else []
    words += _cells_of(options)
    return shlex.join(
        ["evenbench", "pipeline", *words, *(["--input", *options.input] if options.input else [])]
    )
