// Several frames in flight, or frames at a camera's rate: the counterpart of Overlap in
// harness/pipeline/stages.py, for decoded frames. Stages and clock are arguments, so that tests can
// control both.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "frame_pipeline.hpp"

namespace evenbench {

// The result of a stream, like stages.PipelineRun in Python.
struct StreamResult {
  std::int64_t wall_ns = 0;
  std::vector<StageTimes> times;  // of every drawn frame, in order
  std::vector<std::int64_t>
      delays_ns;  // from due time to drawn, by drawn frame; only at a camera's rate
  std::vector<std::int64_t> dropped;  // numbers of dropped frames
  std::size_t most_in_flight = 0;
  std::vector<const FrameState*>
      kept;  // in order; valid until the states are reused by another stream
};

struct Clock {
  std::function<std::int64_t()> now = now_ns;
  std::function<void(std::int64_t)> wait_until = [](std::int64_t moment) {
    std::this_thread::sleep_until(
        std::chrono::steady_clock::time_point(std::chrono::nanoseconds(moment)));
  };
};

// Limits the frames in flight. Each frame has a state from a larger pool; states of kept frames are
// not reused.
class Slots {
 public:
  Slots(std::size_t limit, std::deque<FrameState>& states) : limit_(limit) {
    for (auto& state : states) spare_.push_back(&state);
  }

  // Returns null if all slots are in use; waits instead if `wait`. Prefers the last returned state,
  // still in a cache.
  FrameState* take(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) freed_.wait(lock, [&] { return in_use_ < limit_; });
    if (in_use_ >= limit_) return nullptr;
    most_ = std::max(most_, ++in_use_);
    auto* state = spare_.back();
    spare_.pop_back();
    return state;
  }

  void give(FrameState* state, bool is_kept) {
    {
      const std::lock_guard lock(mutex_);
      --in_use_;
      if (!is_kept) spare_.push_back(state);
    }
    freed_.notify_one();
  }

  std::size_t most() const { return most_; }  // after all threads have ended

 private:
  const std::size_t limit_;
  std::size_t in_use_ = 0, most_ = 0;
  std::vector<FrameState*> spare_;
  std::mutex mutex_;
  std::condition_variable freed_;
};

// An ordered queue between two threads; null marks the end.
class Queue {
 public:
  void put(FrameState* state) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(state);
    }
    arrived_.notify_one();
  }

  FrameState* get() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return !waiting_.empty(); });
    auto* state = waiting_.front();
    waiting_.pop_front();
    return state;
  }

 private:
  std::deque<FrameState*> waiting_;
  std::mutex mutex_;
  std::condition_variable arrived_;
};

// Runs a stream in three threads: preprocessing, inference in the calling thread (a network belongs
// to the thread that loaded it), and postprocessing with drawing. New threads inherit denormal mode
// and CPU affinity (pthread_create(3)). Frames stay in order. With `period_ns`, frame n is due at n
// periods. A frame is dropped if no slot is free when it is due, or if the next frame is already
// due when it is considered.
class Overlap {
 public:
  Overlap(Work work, std::size_t slots, std::int64_t period_ns, Clock clock = {})
      : work_(std::move(work)), limit_(slots), period_ns_(period_ns), clock_(std::move(clock)) {
    if (slots < 1 || period_ns < 0)
      throw std::runtime_error("a stream needs at least one slot, and a period of 0 or more");
  }

  // Returns the number of states for a stream: one per slot, and one per kept frame.
  static std::size_t states_needed(std::size_t slots, std::size_t kept) { return slots + kept; }

  // Runs all frames; call once per object. After all threads have ended, throws the first exception
  // of a stage, with the stage's name.
  StreamResult run(const std::vector<View>& frames, const std::set<std::int64_t>& keep,
                   std::deque<FrameState>& states) {
    if (states.size() < states_needed(limit_, keep.size()))
      throw std::runtime_error("a stream needs a state for each slot and each kept frame");
    Slots slots(limit_, states);
    result_.times.reserve(frames.size()), result_.delays_ns.reserve(frames.size()),
        result_.dropped.reserve(frames.size());
    result_.kept.reserve(keep.size());
    begin_ns_ = clock_.now();
    {
      std::jthread finishing([&] { finish(keep, slots); });
      const Ending ending{
          inferred_};  // runs after the thread below has ended, or if it cannot start
      std::jthread feeding([&] { feed(frames, slots); });
      while (auto* state = preprocessed_.get()) {
        perform(*state, kInfer, kRead);
        inferred_.put(state);
      }
    }
    if (failure_) std::rethrow_exception(failure_);
    result_.wall_ns = (result_.times.empty() ? clock_.now() : drawn_ns_) - begin_ns_;
    result_.most_in_flight = slots.most();
    return std::move(result_);
  }

 private:
  static constexpr std::size_t kInfer = 1, kRead = 2;  // first stage of the second and third thread

  struct Ending {
    Queue& queue;
    ~Ending() { queue.put(nullptr); }
  };

  void feed(const std::vector<View>& frames, Slots& slots) {
    for (std::size_t number = 0; number < frames.size() && !stopped_; ++number) {
      const auto due = begin_ns_ + static_cast<std::int64_t>(number) * period_ns_;
      auto* state = admitted(due, slots);
      if (!state) {
        result_.dropped.push_back(static_cast<std::int64_t>(number));
        continue;
      }
      state->frame = &frames[number], state->number = static_cast<std::int64_t>(number),
      state->due_ns = due;
      perform(*state, 0, kInfer);
      preprocessed_.put(state);
    }
    preprocessed_.put(nullptr);
  }

  // Returns a state for the frame that is due, or null.
  FrameState* admitted(std::int64_t due, Slots& slots) {
    if (!period_ns_) return slots.take(true);
    clock_.wait_until(due);
    return clock_.now() <= due + period_ns_ ? slots.take(false) : nullptr;
  }

  void finish(const std::set<std::int64_t>& keep, Slots& slots) {
    while (auto* state = inferred_.get()) {
      bool is_kept = false;
      if (perform(*state, kRead, kStages.size())) {
        drawn_ns_ = clock_.now();
        result_.times.push_back(state->times);
        if (period_ns_) result_.delays_ns.push_back(drawn_ns_ - state->due_ns);
        is_kept = keep.count(state->number) != 0;
        if (is_kept) result_.kept.push_back(state);
      }
      slots.give(state, is_kept);
    }
  }

  // Runs the stages, unless an earlier stage failed: states are then passed on unprocessed, so that
  // all threads end.
  bool perform(FrameState& state, std::size_t first, std::size_t end) {
    if (stopped_) return false;
    auto last = clock_.now();
    for (auto at = first; at < end; ++at) {
      try {
        work_[at](state);
      } catch (const std::exception& error) {
        const auto where =
            std::string(kStages[at]) + " of frame " + std::to_string(state.number) + ": ";
        fail(std::make_exception_ptr(std::runtime_error(where + error.what())));
      } catch (...) {
        fail(std::make_exception_ptr(std::runtime_error(std::string(kStages[at]) + " of frame " +
                                                        std::to_string(state.number) + " failed")));
      }
      if (stopped_) return false;
      const auto now = clock_.now();
      state.times[at] = now - last, last = now;
    }
    return true;
  }

  void fail(std::exception_ptr error) {
    const std::lock_guard lock(failing_);
    if (!failure_) failure_ = std::move(error);
    stopped_ = true;
  }

  const Work work_;
  const std::size_t limit_;
  const std::int64_t period_ns_;
  const Clock clock_;
  std::int64_t begin_ns_ = 0, drawn_ns_ = 0;
  Queue preprocessed_, inferred_;
  StreamResult result_;  // the feeding thread writes `dropped`, the finishing thread the rest
  std::atomic<bool> stopped_ = false;
  std::mutex failing_;
  std::exception_ptr failure_;
};

}  // namespace evenbench
