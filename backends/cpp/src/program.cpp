// A program that times itself: commands come as lines on one descriptor, answers go as lines on another, tensors lie in .npy files.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

#include "network.hpp"
#include "passage.hpp"

using namespace evenbench;

namespace {

using Words = std::vector<std::string>;

Words split(const std::string& line, char by) {
  Words words;
  std::stringstream stream(line);
  for (std::string word; std::getline(stream, word, by);) words.push_back(word);
  return words;
}

std::string usage() {
  rusage found{};
  getrusage(RUSAGE_SELF, &found);
  const auto ns = [](timeval t) { return static_cast<std::int64_t>(t.tv_sec) * 1000000000 + t.tv_usec * 1000; };
  std::int64_t peak = found.ru_maxrss * 1024L;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) peak = std::stoll(line.substr(6)) * 1024;
  std::stringstream text;
  text << peak << '\t' << ns(found.ru_utime) + ns(found.ru_stime) << '\t' << found.ru_nivcsw << '\t' << found.ru_minflt << '\t'
       << found.ru_majflt;
  return text.str();
}

class Runner {
 public:
  std::string answer(const Words& words) {
    const auto& verb = words.at(0);
    if (verb == "about") return joined(about(options_of(words)));
    if (verb == "load") return network_ = evenbench::load(options_of(words)), "";
    if (!network_ && verb != "usage") throw std::runtime_error(verb + " came before a network was loaded");
    if (verb == "batch") return read_batch(words);
    if (verb == "bind") return network_->bind(batches_.at(std::stoul(words.at(1))).views), "";
    if (verb == "step") return network_->step(), "";
    if (verb == "fetch") return keep(network_->fetch(), words.at(1) + "/"), "";
    if (verb == "laps") return laps(words);
    if (verb == "line") return direct(words);
    if (verb == "frame") return frame(words);
    if (verb == "hold") return hold(words);
    if (verb == "held") return held(words);
    if (verb == "passage") return passage(words);
    if (verb == "usage") return usage();
    if (verb == "facts") return facts(words.at(1));
    throw std::runtime_error("unknown command " + verb);
  }

 private:
  // batch <number> then pairs of name and path, in the order of the declared inputs
  std::string read_batch(const Words& words) {
    const auto number = std::stoul(words.at(1));
    if (batches_.size() <= number) batches_.resize(number + 1);
    auto& batch = batches_[number];
    batch.arrays.clear(), batch.views.clear();
    for (std::size_t at = 2; at + 1 < words.size(); at += 2) batch.arrays.push_back(read_npy(words[at + 1], words[at]));
    for (const auto& array : batch.arrays) batch.views.push_back(view_of(array));
    return "";
  }

  // laps <count> <boundary> <folder> <kept laps> <batches, in the order of the rotation>
  std::string laps(const Words& words) {
    const auto count = std::stoll(words.at(1));
    const bool whole = words.at(2) == "host_to_host";
    const auto kept = numbers(words.at(4));
    std::vector<std::size_t> rotation;
    for (const auto& word : split(words.at(5), ',')) rotation.push_back(std::stoul(word));
    std::vector<std::int64_t> taken;
    taken.reserve(count);
    for (std::int64_t lap = 0; lap < count; ++lap) {
      const auto& batch = batches_.at(rotation[lap % rotation.size()]).views;
      std::vector<Array> outputs;
      if (!whole) network_->bind(batch);
      const auto begin = now_ns();
      if (whole) network_->bind(batch);
      network_->step();
      if (whole) outputs = network_->fetch();
      taken.push_back(now_ns() - begin);
      if (kept.count(lap)) keep(whole ? outputs : network_->fetch(), words.at(3) + "/" + std::to_string(lap) + "_");
    }
    return listed(taken);
  }

  std::string direct(const Words& words) {
    line_ = std::make_unique<Line>(options_of(words));
    alone_ = line_->flight(), fleet_.clear();
    return "";
  }

  // frame <file> <where its outputs, tensor and drawing are kept, or nothing>: the stages' times, and the answer without its pixels
  std::string frame(const Words& words) {
    if (!line_) throw std::runtime_error("a frame came before the line was told what to do");
    const auto read = read_npy(words.at(1), "frame");
    const auto taken = line_->pass(*network_, frame_of(read), alone_);
    if (words.size() > 2) keep(alone_, words[2] + "/");
    return listed(taken) + "\t" + alone_.answer.words();
  }

  // hold <frames> <height> <width>: room for decoded frames, which stay in memory for passages; each of them comes by `held`
  std::string hold(const Words& words) {
    views_.clear(), held_ = {};  // not two at once
    held_ = {"frames", "u1", {std::stoll(words.at(1)), std::stoll(words.at(2)), std::stoll(words.at(3)), 3}, {}};
    held_.data.reserve(held_.count());
    return "";
  }

  // held <file>: the next of them
  std::string held(const Words& words) {
    const auto read = read_npy(words.at(1), "frame");
    if (frame_of(read).shape != std::vector(held_.shape.begin() + (held_.shape.empty() ? 0 : 1), held_.shape.end()))
      throw std::runtime_error("a frame came that is not of the size that there is room for");
    if (!views_.empty()) throw std::runtime_error("more frames came than there is room for");
    held_.data.insert(held_.data.end(), read.data.begin(), read.data.end());
    if (static_cast<std::int64_t>(held_.data.size()) == held_.count()) views_ = frames_of(held_);
    return "";
  }

  // passage <slots> <period in ns, or 0> <folder> <frames to keep, or nothing>: wall time, each stage's times, dropped frames, delays, most in flight
  std::string passage(const Words& words) {
    if (!line_ || views_.empty()) throw std::runtime_error("a passage came before the line was told what to do, and got frames to hold");
    const auto slots = std::min<std::size_t>(std::stoul(words.at(1)), views_.size());  // more of them would never be taken
    const auto kept = words.size() > 4 ? numbers(words[4]) : std::set<std::int64_t>{};
    // Made before the clock runs. They outlive the passage, since the network stays bound to the last one's tensor.
    while (fleet_.size() < Overlap::fleet(slots, kept.size())) fleet_.push_back(line_->flight(views_.front().bytes));
    const auto made = Overlap(line_->work(*network_), slots, std::stoll(words.at(2))).run(views_, kept, fleet_);
    for (const auto* flight : made.kept) keep(*flight, words.at(3) + "/" + std::to_string(flight->number) + "_");
    std::string text = std::to_string(made.wall_ns);
    for (std::size_t at = 0; at < kStages.size(); ++at) {
      text += "\t";
      for (const auto& taken : made.taken) text += std::to_string(taken[at]) + ",";
    }
    return text + "\t" + listed(made.dropped) + "\t" + listed(made.delays_ns) + "\t" + std::to_string(made.most_in_flight);
  }

  // What came of a frame.
  static void keep(const Flight& flight, const std::string& prefix) {
    keep(flight.outputs, prefix);
    write_npy(prefix + "tensor.npy", flight.tensor);
    write_npy(prefix + "drawn.npy", flight.drawn);
  }

  static void keep(const std::vector<Array>& outputs, const std::string& prefix) {
    for (std::size_t at = 0; at < outputs.size(); ++at) write_npy(prefix + std::to_string(at) + ".npy", outputs[at]);
  }

  std::string facts(const std::string& folder) {
    auto found = network_->facts(folder);
    found["denormals"] = denormals();
    return joined(found);
  }

  static std::set<std::int64_t> numbers(const std::string& text) {
    std::set<std::int64_t> found;
    for (const auto& word : split(text, ',')) found.insert(std::stoll(word));
    return found;
  }

  template <class Values>
  static std::string listed(const Values& values) {
    std::string text;
    for (const auto value : values) text += std::to_string(value) + ",";
    return text;
  }

  static std::string joined(const Facts& facts) {
    std::string text;
    for (const auto& [name, value] : facts) text += (text.empty() ? "" : "\t") + name + "=" + value;
    return text;
  }

  struct Batch {
    std::vector<Array> arrays;
    std::vector<View> views;
  };

  std::unique_ptr<Network> network_;
  std::unique_ptr<Line> line_;
  Flight alone_;
  Array held_;
  std::vector<View> views_;  // the frames of `held_`
  std::deque<Flight> fleet_;
  std::vector<Batch> batches_;
};

}  // namespace

int main(int count, char** words) {
  if (count != 3) return std::fprintf(stderr, "usage: %s COMMANDS_FD ANSWERS_FD\n", words[0]), 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::FILE* commands = fdopen(std::stoi(words[1]), "r");
  std::FILE* answers = fdopen(std::stoi(words[2]), "w");
  Runner runner;
  char* line = nullptr;
  std::size_t room = 0;
  for (ssize_t length; (length = getline(&line, &room, commands)) > 0;) {
    std::string text;
    try {
      text = "ok\t" + runner.answer(split(std::string(line, length - 1), '\t'));
    } catch (const std::exception& error) {
      text = std::string("error\t") + error.what();
      for (auto& letter : text)
        if (letter == '\n') letter = ' ';
    }
    std::fprintf(answers, "%s\n", text.c_str());
    std::fflush(answers);
  }
  std::free(line);
  _exit(0);  // runtimes that hang or crash when they are torn down have given their answer
}
