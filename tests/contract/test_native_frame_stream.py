"""Frames through C++ with several in flight and at a camera's pace: dropped, in order, bounded and
ended as by `harness/pipeline/stages.py`.

And through the very program that times itself, built around a network that answers what it is bound
to.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from evenbench.backends.cpp import build, toolchain
from evenbench.backends.cpp import frames as native_frames
from evenbench.backends.cpp.program import Program
from evenbench.harness import ANY, Model, Recipe, TensorSpec
from evenbench.harness.pipeline import frame_spec, postprocess
from evenbench.harness.pipeline.stages import Overlap, Slots
from evenbench.harness.preprocess import CenterCrop, Decode, Layout, Resize, ToArray

pytestmark = pytest.mark.skipif(not toolchain.compiler(), reason="no C++ compiler")

SECOND = 1_000_000_000

SCRIPT = """
// Stages that do nothing but what the script says, by a clock that moves only when somebody works
// or waits.
#include <cstdio>
#include "frame_stream.hpp"
using namespace evenbench;

int main(int, char** words) {
  const auto options = options_of({words + 1, words + 2 + std::stoi(words[1])});
  const auto number = [&](const char* name, long absent) {
    return options.given.count(name) ? std::stol(options.at(name)) : absent;
  };
  const auto frames = number("frames", 0), slots = number("slots", 1);
  const auto gate = number("gate", -1), ahead = number("ahead", 0);
  std::mutex mutex;
  std::condition_variable changed;
  std::int64_t now = 1000;
  long begun = 0;
  bool open = gate < 0;
  const auto main_thread = std::this_thread::get_id();
  std::set<std::thread::id> threads;
  std::string order;
  const auto stage = [&](std::size_t at) {
    return [&, at](FrameState& state) {
      std::unique_lock lock(mutex);
      threads.insert(std::this_thread::get_id());
      if ((std::this_thread::get_id() == main_thread) != (at == 1)) {
        throw std::runtime_error("another thread's work");
      }
      now += number(kStages[at], 0);
      if (at == 0 && state.number == number("late", -1)) now += number("by", 0);
      if (at == 0 && ++begun == ahead) changed.notify_all();
      if (static_cast<long>(at) == number("fails", -1) && state.number == number("at", 0)) {
        throw std::runtime_error("it broke");
      }
      if (at != 3) return;
      changed.wait(lock, [&] { return open && begun >= ahead; });
      order += std::to_string(state.number) + " ";
    };
  };
  Clock clock;
  clock.now = [&] {
    const std::lock_guard lock(mutex);
    return now;
  };
  clock.wait_until = [&](std::int64_t moment) {
    std::unique_lock lock(mutex);
    now = std::max(now, moment);
    if (gate < 0 || moment != 1000 + gate * number("period", 0)) return;
    open = true;
    changed.notify_all();
  };
  std::vector<View> views(frames);
  std::deque<FrameState> states;
  const std::set<std::int64_t> keep = {0, frames - 1};
  while (states.size() < Overlap::states_needed(slots, keep.size())) states.emplace_back();
  try {
    Overlap overlap({stage(0), stage(1), stage(2), stage(3)}, slots, number("period", 0), clock);
    const auto made = overlap.run(views, keep, states);
    std::printf("%ld|%s|", static_cast<long>(made.wall_ns), order.c_str());
    for (const auto lost : made.dropped) std::printf("%ld ", static_cast<long>(lost));
    std::printf("|");
    for (const auto& times : made.times)
      for (const auto each : times) std::printf("%ld ", static_cast<long>(each));
    std::printf("|%zu|%zu|%zu|", made.delays_ns.size(), made.most_in_flight, threads.size());
    for (const auto* state : made.kept) std::printf("%ld ", static_cast<long>(state->number));
    std::puts("");
  } catch (const std::exception& error) {
    std::puts(error.what());
    return 1;
  }
}
"""

PLAYED = """
// Answers how bright what it is bound to is: more objects for a brighter frame. Slow, or failing
// at a step, where it is told so.
#include <thread>
#include "network.hpp"

namespace evenbench {
namespace {

class Played final : public Network {
 public:
  explicit Played(const Options& options)
      : slow_ms_(options.number("slow_ms")), fails_(options.number("fails")) {}

  void bind(const std::vector<View>& inputs) override { bound_ = inputs.at(0); }

  void step() override {
    if (std::this_thread::get_id() != home_) {
      throw std::runtime_error("another thread than the one that loaded it");
    }
    if (steps_++ == fails_) throw std::runtime_error("the network broke");
    std::this_thread::sleep_for(std::chrono::milliseconds(slow_ms_));
    const auto* level = reinterpret_cast<const float*>(bound_.data);
    double total = 0.0;
    const auto count = bound_.bytes / sizeof(float);
    for (std::size_t at = 0; at < count; ++at) total += level[at];
    const auto objects = static_cast<std::int64_t>(total / count * 8);
    Array boxes{"", "f4", {objects, 4}, {}};
    Array labels{"", "i8", {objects}, {}}, scores{"", "f4", {objects}, {}};
    for (std::int64_t at = 0; at < objects; ++at) {
      const float box[] = {4.0f + 6.0f * at, 4.0f, 20.0f + 6.0f * at, 30.0f + level[0]};
      const float score = 0.9f;
      add(boxes, box, sizeof box), add(scores, &score, sizeof score);
      const auto label = at + 1;
      add(labels, &label, sizeof label);
    }
    made_ = {boxes, labels, scores};
  }

  std::vector<Array> fetch() override { return made_; }
  Facts facts(const std::string&) override {
    return {{"first", std::to_string(*reinterpret_cast<const float*>(bound_.data))}};
  }

 private:
  static void add(Array& to, const void* bytes, std::size_t count) {
    const auto* first = static_cast<const char*>(bytes);
    to.data.insert(to.data.end(), first, first + count);
  }

  const int slow_ms_, fails_;
  const std::thread::id home_ = std::this_thread::get_id();
  int steps_ = 0;
  View bound_{};
  std::vector<Array> made_;
};

}  // namespace

Facts about(const Options&) { return {}; }
std::unique_ptr<Network> load(const Options& options) { return std::make_unique<Played>(options); }

}  // namespace evenbench
"""


def compiled(folder: Path, name: str, text: str, *more: Path) -> Path:
    """Without a warning; quickly, since nothing here is measured."""
    (folder / f"{name}.cpp").write_text(text)
    flags = [flag for flag in build.FLAGS if flag not in ("-shared", "-O3")]
    sources = [str(folder / f"{name}.cpp"), *map(str, more)]
    told = [
        "-O1",
        "-Werror",
        "-pthread",
        f"-I{build.SOURCES}",
        *sources,
        "-o",
        str(folder / name),
        "-ldl",
    ]
    done = subprocess.run(
        [*toolchain.compiler(), *flags, *told], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / name


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The script's, and the very program that times itself around the network above; compiled once,
    side by side.
    """
    folder = tmp_path_factory.mktemp("stream")
    wanted = {"script": (SCRIPT,), "played": (PLAYED, build.SOURCES / "program.cpp")}
    with ThreadPoolExecutor(2) as pool:
        made = {name: pool.submit(compiled, folder, name, *parts) for name, parts in wanted.items()}
        return {name: each.result() for name, each in made.items()}


# -- by a clock of the test's own ------------------------------------------------------------------


@dataclass(frozen=True)
class Script:
    """What the stages do. `gate` holds back all drawing until that frame's moment; `ahead` until so
    many were preprocessed.
    """

    frames: int
    slots: int
    period: int = 0
    gate: int = -1
    ahead: int = 0
    late: int = -1
    by: int = 0
    fails: int = -1
    at: int = 0
    spent: dict[str, int] = field(default_factory=dict)
    """Nanoseconds of each stage."""


@dataclass(frozen=True)
class Came:
    """What came of a script."""

    wall: int
    order: list[int]
    dropped: list[int]
    taken: list[int]
    delays: int
    most: int
    threads: int


def in_cpp(program: Path, script: Script) -> tuple[Came, list[int]]:
    """And the frames that were kept, of the first and the last. Raises RuntimeError with what a
    stage threw.
    """
    told = {name: value for name, value in vars(script).items() if name != "spent"} | script.spent
    words = [f"{name}={value}" for name, value in told.items()]
    done = subprocess.run(
        [str(program), str(len(words)), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 1:
        raise RuntimeError(done.stdout.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    lists = [[int(number) for number in part.split()] for part in done.stdout.split("|")]
    wall, order, dropped, taken, delays, most, threads, kept = lists
    return Came(wall[0], order, dropped, taken, delays[0], most[0], threads[0]), kept


def in_python(script: Script) -> Came:
    """The same script by the harness; of frames that are there already, as in C++."""
    lock = threading.Condition(threading.RLock())
    state = SimpleNamespace(now=1000, begun=0, open=script.gate < 0)
    order: list[int] = []
    threads: set[int] = set()

    def now() -> int:
        with lock:
            return int(state.now)

    def wait(moment: int) -> None:
        with lock:
            state.now = max(state.now, moment)
            if script.gate >= 0 and moment == 1000 + script.gate * script.period:
                state.open = True
                lock.notify_all()

    def stage(place: int) -> Callable[[int], None]:
        def do(frame: int) -> None:
            with lock:
                threads.add(threading.get_ident())
                state.now += script.spent.get(native_frames.STAGES[place], 0) + (
                    script.by if place == 0 and frame == script.late else 0
                )
                state.begun += place == 0
                lock.notify_all()
                if (place, frame) == (script.fails, script.at):
                    raise RuntimeError(f"{native_frames.STAGES[place]} of frame {frame}: it broke")
                if place == 3:
                    lock.wait_for(lambda: state.open and state.begun >= script.ahead)
                    order.append(frame)

        return do

    works = [
        {native_frames.STAGES[place]: stage(place) for place in places}
        for places in ((0,), (1,), (2, 3))
    ]
    passage = Overlap(Slots(script.slots), now, wait, script.period).run(
        iter(range(script.frames)), *works
    )
    taken = [
        each
        for frame in zip(*(passage.stages_ns[name] for name in native_frames.STAGES), strict=True)
        for each in frame
    ]
    dropped = list(passage.dropped)
    return Came(
        passage.wall_ns,
        order,
        dropped,
        taken,
        len(passage.delays_ns),
        passage.most_in_flight,
        len(threads),
    )


def test_one_slot_is_one_frame_after_another(programs: dict[str, Path]) -> None:
    """To the nanosecond what the harness finds, since nothing moves the clock at once."""
    script = Script(5, 1, spent={"preprocess": 20, "infer": 300, "postprocess": 1, "draw": 4})
    came, kept = in_cpp(programs["script"], script)
    assert (
        came
        == in_python(script)
        == Came(5 * 325, [0, 1, 2, 3, 4], [], [20, 300, 1, 4] * 5, 0, 1, 3)
    )
    assert kept == [0, 4]


@pytest.mark.parametrize("many", [1, 2, 4])
def test_no_more_than_so_many_frames_are_in_flight(programs: dict[str, Path], many: int) -> None:
    """Nothing is drawn until so many were preprocessed that no slot is left."""
    script = Script(12, many, ahead=many)
    came, kept = in_cpp(programs["script"], script)
    assert (came.most, came.order) == (many, list(range(12)))
    assert (came.most, came.order) == (in_python(script).most, in_python(script).order)
    assert kept == [0, 11]


def test_frames_are_dropped_while_all_slots_are_taken(programs: dict[str, Path]) -> None:
    """Nothing is drawn before the last frame is due: 0 and 1 are in flight, 2 to 6 find no slot.
    What becomes of the last is chance.
    """
    script = Script(8, 2, period=SECOND, gate=7)
    came, _ = in_cpp(programs["script"], script)
    other = in_python(script)
    for each in (came, other):
        assert (each.order[:2], each.dropped[:5], each.most) == ([0, 1], [2, 3, 4, 5, 6], 2)
        assert sorted(each.order + each.dropped) == list(range(8))
        assert each.delays == len(each.order)


@pytest.mark.parametrize(
    ("by", "lost"),
    [
        (2 * SECOND, []),
        (2 * SECOND + 1, [2]),
        (7 * SECOND // 2, [2, 3]),
        (99 * SECOND, [2, 3, 4, 5]),
    ],
)
def test_frames_are_dropped_where_the_next_one_is_there_already(
    programs: dict[str, Path], by: int, lost: list[int]
) -> None:
    """Preprocessing frame 1 takes so long. Frame 2 may wait for a period, until the moment of frame
    3, and no longer.
    """
    script = Script(6, 9, period=SECOND, late=1, by=by)
    came, _ = in_cpp(programs["script"], script)
    assert came.dropped == in_python(script).dropped == lost
    assert came.order == [number for number in range(6) if number not in lost]


def test_what_keeps_up_drops_nothing(programs: dict[str, Path]) -> None:
    script = Script(5, 5, period=SECOND)
    came, kept = in_cpp(programs["script"], script)
    assert (came.dropped, came.order, came.delays) == ([], [0, 1, 2, 3, 4], 5)
    assert kept == [0, 4]


def test_nothing_comes_of_no_frames(programs: dict[str, Path]) -> None:
    came, kept = in_cpp(programs["script"], Script(0, 2))
    assert (came.order, came.taken, came.most, kept) == ([], [], 0, [])


@pytest.mark.parametrize("stage", range(4))
@pytest.mark.parametrize("period", [0, SECOND])
def test_an_error_in_any_stage_ends_all_threads(
    programs: dict[str, Path], stage: int, period: int
) -> None:
    script = Script(100, 2, period=period, fails=stage, at=0 if period else 3)
    said = f"^{native_frames.STAGES[stage]} of frame {script.at}: it broke$"
    with pytest.raises(RuntimeError, match=said):
        in_cpp(programs["script"], script)
    with pytest.raises(RuntimeError, match=said):
        in_python(script)


# -- the program -----------------------------------------------------------------------------------

RECIPE = Recipe(
    "cut", (Decode("RGB"), Resize(70, antialias=True), CenterCrop(64), ToArray(), Layout("CHW"))
)
OUTPUTS = (
    TensorSpec("boxes", (ANY, 4)),
    TensorSpec("labels", (ANY,), "int64"),
    TensorSpec("scores", (ANY,)),
)
MODEL = Model(
    "m", "nobody:build", (TensorSpec("x", (3, 64, 64)),), OUTPUTS, recipe=RECIPE, task="detection"
)
WIDTH, HEIGHT = 120, 90


class PlayedSession(native_frames.FrameSession):
    """Of a program that was built around the network above; nothing of a runtime is asked."""

    def __init__(self, program: Path, slow_ms: int = 0, fails: int = -1) -> None:
        self.cell, self.batch_numbers = SimpleNamespace(model=MODEL, batch=1), {}
        self.folder = tempfile.TemporaryDirectory(prefix="evenbench-native-")
        self.program = Program(program)
        self.program.ask("load", f"slow_ms={slow_ms}", f"fails={fails}")
        self.configure_frames(frame_spec.of(MODEL, RECIPE, "pillow", WIDTH, HEIGHT))

    def attest(self) -> Any:
        raise NotImplementedError


def frames(count: int) -> list[Any]:
    """Noise that gets brighter."""
    noise = np.random.default_rng(count).integers(0, 100, (count, HEIGHT, WIDTH, 3))
    return list((noise + np.linspace(0, 155, count)[:, None, None, None]).astype(np.uint8))


def held(session: PlayedSession, pixels: list[Any]) -> None:
    session.preload_frames((len(pixels), HEIGHT, WIDTH, 3), iter(pixels))
    assert (Path(session.folder.name) / "frame.npy").stat().st_size < 2 * pixels[0].nbytes, (
        "a folder never has more than one of them"
    )


@pytest.mark.parametrize("in_flight", [1, 4])
def test_what_is_in_flight_answers_what_goes_alone(
    programs: dict[str, Path], in_flight: int
) -> None:
    """All frames are kept, more of them than slots; answers of several sizes; twice, and the
    network stays bound to what is there.
    """
    session, pixels = PlayedSession(programs["played"]), frames(12)
    alone = [session.process_frame(each, keep=True) for each in pixels]
    assert len({len(each.outputs["labels"]) for each in alone}) > 3, (
        "the test would not see one size that is taken for another"
    )
    held(session, pixels)
    for _ in range(2):
        found = session.stream_frames(in_flight, 0, range(12))
        passage = found.run
        assert {name: len(taken) for name, taken in passage.stages_ns.items()} == dict.fromkeys(
            native_frames.STAGES, 12
        )
        assert min(min(taken) for taken in passage.stages_ns.values()) > 0
        assert (passage.frames, passage.dropped, passage.delays_ns) == (12, (), ())
        assert 1 <= passage.most_in_flight <= in_flight
        assert max(map(sum, passage.stages_ns.values())) <= passage.wall_ns, (
            "no thread does two things at once"
        )
        for number, wanted in enumerate(alone):
            kept = found.kept[number]
            assert np.array_equal(kept.tensor, wanted.tensor)
            assert np.array_equal(kept.drawn, wanted.drawn)
            assert {name: value.tolist() for name, value in kept.outputs.items()} == {
                name: value.tolist() for name, value in wanted.outputs.items()
            }
        facts = dict(
            word.partition("=")[::2] for word in session.program.ask("facts", session.folder.name)
        )
        assert float(facts["first"]) == pytest.approx(float(alone[-1].tensor.flat[0]), abs=1e-5), (
            "what it is bound to is there still"
        )
    assert postprocess.reader(MODEL)(alone[-1].outputs).kinds, "something was drawn"
    session.close()


@pytest.mark.alone
def test_a_slow_network_drops_the_frames_that_it_drops_in_python(programs: dict[str, Path]) -> None:
    """0 and 1 are on their way until 0 is drawn, after the last one was due."""
    session, period, slow = PlayedSession(programs["played"], slow_ms=1200), 200_000_000, 1.2
    pixels = frames(6)
    held(session, pixels)
    found = session.stream_frames(2, period, (1, 4))

    def sleep(until: int) -> None:
        time.sleep(max(0.0, (until - time.monotonic_ns()) / 1e9))

    source: Any = iter(pixels)
    work: Any = (
        {"preprocess": np.copy},
        {"infer": lambda frame: time.sleep(slow)},
        {"postprocess": np.copy, "draw": np.copy},
    )
    wanted = Overlap(Slots(2), time.monotonic_ns, sleep, period).run(source, *work)
    passage = found.run
    assert (passage.dropped, passage.frames, passage.most_in_flight) == (
        wanted.dropped,
        wanted.frames,
        wanted.most_in_flight,
    )
    assert passage.dropped == (2, 3, 4, 5)
    assert set(found.kept) == {1}, "what was dropped left nothing"
    assert len(passage.delays_ns) == 2
    for delays in (passage.delays_ns, wanted.delays_ns):
        assert delays[0] >= slow * 1e9
        assert delays[1] >= 2 * slow * 1e9 - period, "it waited for the first"
    session.close()


def test_an_error_is_told_and_the_program_goes_on(programs: dict[str, Path]) -> None:
    session, pixels = PlayedSession(programs["played"], fails=3), frames(8)
    held(session, pixels)
    with pytest.raises(RuntimeError, match=r"^infer of frame 3: the network broke$"):
        session.stream_frames(2, 0, (0, 7))
    assert session.stream_frames(2, 0, (0, 7)).run.frames == 8
    session.close()


def test_a_passage_comes_after_frames_that_fit(programs: dict[str, Path]) -> None:
    session = PlayedSession(programs["played"])
    with pytest.raises(
        RuntimeError, match="stream needs a configured pipeline and all frames of hold"
    ):
        session.stream_frames(2, 0, ())
    session.preload_frames((4, HEIGHT, WIDTH, 3), iter(frames(3)))
    with pytest.raises(
        RuntimeError, match="stream needs a configured pipeline and all frames of hold"
    ):
        session.stream_frames(2, 0, ())
    with pytest.raises(RuntimeError, match="all frames of hold were already added"):
        session.preload_frames((2, HEIGHT, WIDTH, 3), iter(frames(3)))
    session.preload_frames((3, HEIGHT, WIDTH, 3), iter(frames(3)))
    with pytest.raises(RuntimeError, match="at least one slot"):
        session.stream_frames(0, 0, ())
    assert session.stream_frames(2, 0, ()).run.frames == 3
    assert session.stream_frames(10**9, 0, ()).run.most_in_flight <= 3, (
        "slots that no frame can take are not made"
    )
    for shape, said in (
        ((2, 2), r"a frame must be u1 \[height, width, 3\]"),
        ((HEIGHT, WIDTH + 1, 3), "differs in size from hold"),
    ):
        np.save(f"{session.folder.name}/other.npy", np.zeros(shape, np.uint8))
        session.program.ask("hold", 2, HEIGHT, WIDTH)
        with pytest.raises(RuntimeError, match=said):
            session.program.ask("add", f"{session.folder.name}/other.npy")
    session.close()
