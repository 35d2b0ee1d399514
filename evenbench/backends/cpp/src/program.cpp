// A program that measures its own steps: commands arrive on one descriptor, replies leave on
// another, tensors are .npy files.
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

#include "frame_stream.hpp"
#include "network.hpp"

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
  rusage result{};
  getrusage(RUSAGE_SELF, &result);
  const auto ns = [](timeval t) {
    return static_cast<std::int64_t>(t.tv_sec) * 1000000000 + t.tv_usec * 1000;
  };
  std::int64_t peak = result.ru_maxrss * 1024L;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) peak = std::stoll(line.substr(6)) * 1024;
  std::stringstream text;
  text << peak << '\t' << ns(result.ru_utime) + ns(result.ru_stime) << '\t' << result.ru_nivcsw
       << '\t' << result.ru_minflt << '\t' << result.ru_majflt;
  return text.str();
}

class Runner {
 public:
  std::string reply(const Words& words) {
    const auto& verb = words.at(0);
    if (verb == "about") return joined(about(options_of(words)));
    if (verb == "load") return network_ = evenbench::load(options_of(words)), "";
    if (!network_ && verb != "usage")
      throw std::runtime_error(verb + " needs a loaded network; send load first");
    if (verb == "batch") return read_batch(words);
    if (verb == "bind") return network_->bind(batches_.at(std::stoul(words.at(1))).views), "";
    if (verb == "step") return network_->step(), "";
    if (verb == "fetch") return keep(network_->fetch(), words.at(1) + "/"), "";
    if (verb == "laps") return laps(words);
    if (verb == "pipeline") return configure(words);
    if (verb == "frame") return frame(words);
    if (verb == "hold") return hold(words);
    if (verb == "add") return add_frame(words);
    if (verb == "stream") return stream(words);
    if (verb == "usage") return usage();
    if (verb == "facts") return facts(words.at(1));
    throw std::runtime_error("unknown command " + verb);
  }

 private:
  // batch <number>, then pairs of name and path in the order of the declared inputs
  std::string read_batch(const Words& words) {
    const auto number = std::stoul(words.at(1));
    if (batches_.size() <= number) batches_.resize(number + 1);
    auto& batch = batches_[number];
    batch.arrays.clear(), batch.views.clear();
    for (std::size_t at = 2; at + 1 < words.size(); at += 2)
      batch.arrays.push_back(read_npy(words[at + 1], words[at]));
    for (const auto& array : batch.arrays) batch.views.push_back(view_of(array));
    return "";
  }

  // laps <count> <boundary> <folder> <laps to keep> <rotation of batches>
  std::string laps(const Words& words) {
    const auto count = std::stoll(words.at(1));
    const bool whole = words.at(2) == "host_to_host";
    const auto kept = numbers(words.at(4));
    std::vector<std::size_t> rotation;
    for (const auto& word : split(words.at(5), ',')) rotation.push_back(std::stoul(word));
    std::vector<std::int64_t> times;
    times.reserve(count);
    for (std::int64_t lap = 0; lap < count; ++lap) {
      const auto& batch = batches_.at(rotation[lap % rotation.size()]).views;
      std::vector<Array> outputs;
      if (!whole) network_->bind(batch);
      const auto begin = now_ns();
      if (whole) network_->bind(batch);
      network_->step();
      if (whole) outputs = network_->fetch();
      times.push_back(now_ns() - begin);
      if (kept.count(lap))
        keep(whole ? outputs : network_->fetch(), words.at(3) + "/" + std::to_string(lap) + "_");
    }
    return listed(times);
  }

  std::string configure(const Words& words) {
    pipeline_ = std::make_unique<FramePipeline>(options_of(words));
    single_ = pipeline_->make_state(), states_.clear();
    return "";
  }

  // frame <file> [<folder for outputs, tensor and drawing>]: returns the stages' times, and the
  // prediction without pixels
  std::string frame(const Words& words) {
    if (!pipeline_)
      throw std::runtime_error("frame needs a configured pipeline; send pipeline first");
    const auto read = read_npy(words.at(1), "frame");
    const auto times = pipeline_->process(*network_, frame_of(read), single_);
    if (words.size() > 2) keep(single_, words[2] + "/");
    return listed(times) + "\t" + single_.prediction.text();
  }

  // hold <frames> <height> <width>: allocates memory for decoded frames, filled by `add` and used
  // by `stream`
  std::string hold(const Words& words) {
    views_.clear(), frames_ = {};  // frees the old frames first
    frames_ = {"frames",
               "u1",
               {std::stoll(words.at(1)), std::stoll(words.at(2)), std::stoll(words.at(3)), 3},
               {}};
    frames_.data.reserve(frames_.count());
    return "";
  }

  // add <file>: appends a frame
  std::string add_frame(const Words& words) {
    const auto read = read_npy(words.at(1), "frame");
    if (frame_of(read).shape !=
        std::vector(frames_.shape.begin() + (frames_.shape.empty() ? 0 : 1), frames_.shape.end()))
      throw std::runtime_error("the frame differs in size from hold");
    if (!views_.empty()) throw std::runtime_error("all frames of hold were already added");
    frames_.data.insert(frames_.data.end(), read.data.begin(), read.data.end());
    if (static_cast<std::int64_t>(frames_.data.size()) == frames_.count())
      views_ = frames_of(frames_);
    return "";
  }

  // stream <slots> <period in ns, or 0> <folder> [<frames to keep>]: returns wall time, each
  // stage's times, dropped frames, delays, and the maximum in flight
  std::string stream(const Words& words) {
    if (!pipeline_ || views_.empty())
      throw std::runtime_error("stream needs a configured pipeline and all frames of hold");
    const auto slots = std::min<std::size_t>(std::stoul(words.at(1)),
                                             views_.size());  // further slots would stay unused
    const auto kept = words.size() > 4 ? numbers(words[4]) : std::set<std::int64_t>{};
    // Allocated before the clock runs. The states outlive the stream, since the network stays bound
    // to the last tensor.
    while (states_.size() < Overlap::states_needed(slots, kept.size()))
      states_.push_back(pipeline_->make_state(views_.front().bytes));
    const auto result = Overlap(pipeline_->work(*network_), slots, std::stoll(words.at(2)))
                            .run(views_, kept, states_);
    for (const auto* state : result.kept)
      keep(*state, words.at(3) + "/" + std::to_string(state->number) + "_");
    std::string text = std::to_string(result.wall_ns);
    for (std::size_t at = 0; at < kStages.size(); ++at) {
      text += "\t";
      for (const auto& times : result.times) text += std::to_string(times[at]) + ",";
    }
    return text + "\t" + listed(result.dropped) + "\t" + listed(result.delays_ns) + "\t" +
           std::to_string(result.most_in_flight);
  }

  // Writes a frame's outputs, tensor and drawing.
  static void keep(const FrameState& state, const std::string& prefix) {
    keep(state.outputs, prefix);
    write_npy(prefix + "tensor.npy", state.tensor);
    write_npy(prefix + "drawn.npy", state.drawn);
  }

  static void keep(const std::vector<Array>& outputs, const std::string& prefix) {
    for (std::size_t at = 0; at < outputs.size(); ++at)
      write_npy(prefix + std::to_string(at) + ".npy", outputs[at]);
  }

  std::string facts(const std::string& folder) {
    auto result = network_->facts(folder);
    result["denormals"] = denormals();
    return joined(result);
  }

  static std::set<std::int64_t> numbers(const std::string& text) {
    std::set<std::int64_t> result;
    for (const auto& word : split(text, ',')) result.insert(std::stoll(word));
    return result;
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
  std::unique_ptr<FramePipeline> pipeline_;
  FrameState single_;
  Array frames_;
  std::vector<View> views_;  // views of `frames_`
  std::deque<FrameState> states_;
  std::vector<Batch> batches_;
};

}  // namespace

int main(int count, char** words) {
  if (count != 3) return std::fprintf(stderr, "usage: %s COMMANDS_FD REPLIES_FD\n", words[0]), 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::FILE* commands = fdopen(std::stoi(words[1]), "r");
  std::FILE* replies = fdopen(std::stoi(words[2]), "w");
  Runner runner;
  char* line = nullptr;
  std::size_t room = 0;
  for (ssize_t length; (length = getline(&line, &room, commands)) > 0;) {
    std::string text;
    try {
      text = "ok\t" + runner.reply(split(std::string(line, length - 1), '\t'));
    } catch (const std::exception& error) {
      text = std::string("error\t") + error.what();
      for (auto& letter : text)
        if (letter == '\n') letter = ' ';
    }
    std::fprintf(replies, "%s\n", text.c_str());
    std::fflush(replies);
  }
  std::free(line);
  _exit(0);  // skips the teardown, in which some runtimes hang or crash
}
