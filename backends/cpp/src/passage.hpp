// Several frames in flight, or frames at a camera's pace: what harness/pipeline/stages.py's Overlap does, of frames that are decoded already. Nothing here
// knows what a stage does, or reads a clock of its own: both are handed in, so that a test decides what time it is.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <thread>

#include "line.hpp"

namespace evenbench {

// What came of some frames: as stages.PipelineRun.
struct Passage {
  std::int64_t wall_ns = 0;
  std::vector<Taken> taken;             // of each frame that was drawn, in order
  std::vector<std::int64_t> delays_ns;  // of the same, from its moment until it was drawn; at a camera's pace only
  std::vector<std::int64_t> dropped;    // numbers of frames
  std::size_t most_in_flight = 0;
  std::vector<const Flight*> kept;  // in order; they stay as they are until their fleet goes on another passage
};

struct Clock {
  std::function<std::int64_t()> now = now_ns;
  std::function<void(std::int64_t)> wait_until = [](std::int64_t moment) {
    std::this_thread::sleep_until(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(moment)));
  };
};

// Room for so many frames in flight, each in a flight of its own out of a larger fleet: one that is kept does not come back.
class Slots {
 public:
  Slots(std::size_t many, std::deque<Flight>& fleet) : many_(many) {
    for (auto& flight : fleet) spare_.push_back(&flight);
  }

  // Null where all are taken, or after waiting for one where `wait`. The flight that came back last is taken first: it is still in a cache.
  Flight* take(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) freed_.wait(lock, [&] { return taken_ < many_; });
    if (taken_ >= many_) return nullptr;
    most_ = std::max(most_, ++taken_);
    auto* flight = spare_.back();
    spare_.pop_back();
    return flight;
  }

  void give(Flight* flight, bool is_kept) {
    {
      const std::lock_guard lock(mutex_);
      --taken_;
      if (!is_kept) spare_.push_back(flight);
    }
    freed_.notify_one();
  }

  std::size_t most() const { return most_; }  // when all threads have ended

 private:
  const std::size_t many_;
  std::size_t taken_ = 0, most_ = 0;
  std::vector<Flight*> spare_;
  std::mutex mutex_;
  std::condition_variable freed_;
};

// From one thread to the next, in order; null is the end.
class Queue {
 public:
  void put(Flight* flight) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(flight);
    }
    arrived_.notify_one();
  }

  Flight* get() {
    std::unique_lock lock(mutex_);
    arrived_.wait(lock, [&] { return !waiting_.empty(); });
    auto* flight = waiting_.front();
    waiting_.pop_front();
    return flight;
  }

 private:
  std::deque<Flight*> waiting_;
  std::mutex mutex_;
  std::condition_variable arrived_;
};

// One passage. Three threads: one preprocesses, the calling one infers, since a network belongs to the thread that loaded it, and one
// postprocesses and draws; the other two inherit its way with denormals and its cores, as pthread_create(3) has it. Frames stay in order. With
// `period_ns` frame number n arrives at n times the period: it is dropped where no slot is free at its moment, or where the next one is there
// already when anybody looks.
class Overlap {
 public:
  Overlap(Work work, std::size_t slots, std::int64_t period_ns, Clock clock = {})
      : work_(std::move(work)), many_(slots), period_ns_(period_ns), clock_(std::move(clock)) {
    if (slots < 1 || period_ns < 0) throw std::runtime_error("a passage has one slot or more, and a period of 0 or more");
  }

  // How many flights a passage needs: one for each slot, and one for each frame that is kept.
  static std::size_t fleet(std::size_t slots, std::size_t kept) { return slots + kept; }

  // All frames, once per object. Throws the first thing that a stage threw, by the stage's name, when all threads have ended.
  Passage run(const std::vector<View>& frames, const std::set<std::int64_t>& keep, std::deque<Flight>& flights) {
    if (flights.size() < fleet(many_, keep.size())) throw std::runtime_error("a passage has fewer flights than slots and frames to keep");
    Slots slots(many_, flights);
    made_.taken.reserve(frames.size()), made_.delays_ns.reserve(frames.size()), made_.dropped.reserve(frames.size());
    made_.kept.reserve(keep.size());
    begin_ns_ = clock_.now();
    {
      std::jthread finishing([&] { finish(keep, slots); });
      const Ending ending{inferred_};  // after the one below has ended, or where it cannot be started
      std::jthread feeding([&] { feed(frames, slots); });
      while (auto* flight = preprocessed_.get()) {
        perform(*flight, kInfer, kRead);
        inferred_.put(flight);
      }
    }
    if (failure_) std::rethrow_exception(failure_);
    made_.wall_ns = (made_.taken.empty() ? clock_.now() : drawn_ns_) - begin_ns_;
    made_.most_in_flight = slots.most();
    return std::move(made_);
  }

 private:
  static constexpr std::size_t kInfer = 1, kRead = 2;  // where the work of a thread ends and that of the next one begins

  struct Ending {
    Queue& queue;
    ~Ending() { queue.put(nullptr); }
  };

  void feed(const std::vector<View>& frames, Slots& slots) {
    for (std::size_t number = 0; number < frames.size() && !stopped_; ++number) {
      const auto due = begin_ns_ + static_cast<std::int64_t>(number) * period_ns_;
      auto* flight = admitted(due, slots);
      if (!flight) {
        made_.dropped.push_back(static_cast<std::int64_t>(number));
        continue;
      }
      flight->frame = &frames[number], flight->number = static_cast<std::int64_t>(number), flight->due_ns = due;
      perform(*flight, 0, kInfer);
      preprocessed_.put(flight);
    }
    preprocessed_.put(nullptr);
  }

  // A flight for the frame of this moment, or null.
  Flight* admitted(std::int64_t due, Slots& slots) {
    if (!period_ns_) return slots.take(true);
    clock_.wait_until(due);
    return clock_.now() <= due + period_ns_ ? slots.take(false) : nullptr;
  }

  void finish(const std::set<std::int64_t>& keep, Slots& slots) {
    while (auto* flight = inferred_.get()) {
      bool is_kept = false;
      if (perform(*flight, kRead, kStages.size())) {
        drawn_ns_ = clock_.now();
        made_.taken.push_back(flight->taken);
        if (period_ns_) made_.delays_ns.push_back(drawn_ns_ - flight->due_ns);
        is_kept = keep.count(flight->number) != 0;
        if (is_kept) made_.kept.push_back(flight);
      }
      slots.give(flight, is_kept);
    }
  }

  // These stages, unless something failed before; then flights are passed on undone, so that every thread comes to its end.
  bool perform(Flight& flight, std::size_t first, std::size_t end) {
    if (stopped_) return false;
    auto last = clock_.now();
    for (auto at = first; at < end; ++at) {
      try {
        work_[at](flight);
      } catch (const std::exception& error) {
        const auto where = std::string(kStages[at]) + " of frame " + std::to_string(flight.number) + ": ";
        fail(std::make_exception_ptr(std::runtime_error(where + error.what())));
      } catch (...) {
        fail(std::make_exception_ptr(std::runtime_error(std::string(kStages[at]) + " of frame " + std::to_string(flight.number) + " failed")));
      }
      if (stopped_) return false;
      const auto now = clock_.now();
      flight.taken[at] = now - last, last = now;
    }
    return true;
  }

  void fail(std::exception_ptr error) {
    const std::lock_guard lock(failing_);
    if (!failure_) failure_ = std::move(error);
    stopped_ = true;
  }

  const Work work_;
  const std::size_t many_;
  const std::int64_t period_ns_;
  const Clock clock_;
  std::int64_t begin_ns_ = 0, drawn_ns_ = 0;
  Queue preprocessed_, inferred_;
  Passage made_;  // `dropped` by the thread that feeds, the rest by the one that finishes
  std::atomic<bool> stopped_ = false;
  std::mutex failing_;
  std::exception_ptr failure_;
};

}  // namespace evenbench
