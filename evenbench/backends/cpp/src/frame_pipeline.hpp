// All stages of a decoded frame: preprocess, infer, postprocess and draw. Each frame has a separate
// state, so that several can be in flight (frame_stream.hpp). `process` runs a single frame, with
// each stage timed by steady_clock.
#pragma once

#include <functional>

#include "postprocess.hpp"

namespace evenbench {

constexpr std::array<const char*, 4> kStages{"preprocess", "infer", "postprocess", "draw"};

using StageTimes = std::array<std::int64_t, kStages.size()>;  // nanoseconds of each stage

// A frame and the results of its stages. Never copied, since the network is bound to the tensor
// inside.
struct FrameState {
  FrameState() = default;
  FrameState(FrameState&&) = default;
  FrameState& operator=(FrameState&&) = default;

  const View* frame = nullptr;          // u1 [height, width, 3], owned by the caller
  std::int64_t number = 0, due_ns = 0;  // position in the stream, and due time at a camera's rate
  Array tensor;
  std::vector<View> inputs;
  std::vector<Array> outputs;
  Prediction prediction;
  Array drawn;
  StageTimes times{};
};

using Work =
    std::array<std::function<void(FrameState&)>, kStages.size()>;  // a function per stage, in order

inline View frame_of(const Array& frame) {
  if (frame.type != "u1" || frame.shape.size() != 3 || frame.shape[2] != 3)
    throw std::runtime_error("a frame must be u1 [height, width, 3]");
  return view_of(frame);
}

// Returns views of the frames in u1 [frames, height, width, 3].
inline std::vector<View> frames_of(const Array& frames) {
  std::vector<View> views;
  for (std::int64_t number = 0; number < frames.shape[0]; ++number) {
    const auto bytes = frames.data.size() / frames.shape[0];
    views.push_back({"frame",
                     frames.type,
                     {frames.shape[1], frames.shape[2], 3},
                     frames.data.data() + number * bytes,
                     bytes});
  }
  return views;
}

class FramePipeline {
 public:
  // Options from harness/pipeline/frame_spec.py: the recipe's steps in order, the input's name and
  // shape, and the layout and drawing of outputs.
  explicit FramePipeline(const Options& options)
      : reader_(options), overlay_(options, read_npy(options.at("palette"), "palette")) {
    for (int at = 0; options.given.count("step " + std::to_string(at)); ++at)
      add(options.at("step " + std::to_string(at)));
    if (!laid_out_) throw std::runtime_error("a recipe must end with lay_out");
    input_ = options.at("input");
    std::stringstream sizes(options.at("shape"));
    for (std::int64_t size = 0; sizes >> size;) shape_.push_back(size);
  }

  // Allocates the tensor, and a drawing of `frame_bytes`; the caller ensures that no clock runs.
  FrameState make_state(std::size_t frame_bytes = 0) const {
    FrameState state;
    state.tensor.name = input_, state.tensor.type = "f4", state.tensor.shape = shape_;
    state.tensor.data.resize(state.tensor.count() * state.tensor.item_bytes());
    state.inputs = {view_of(state.tensor)};
    state.drawn.data.resize(frame_bytes);
    return state;
  }

  // Returns the stages around `network`. A stage must stay in a single thread, as preprocessing
  // reuses memory.
  Work work(Network& network) {
    return {[this](FrameState& state) { preprocess(state); },
            [&network](FrameState& state) { infer(network, state); },
            [this](FrameState& state) { state.prediction = reader_.read(state.outputs); },
            [this](FrameState& state) { draw(state); }};
  }

  // Runs a single frame through all stages; the state contains the times, too.
  StageTimes process(Network& network, const View& frame, FrameState& state) {
    const auto stages = work(network);
    state.frame = &frame;
    auto last = now_ns();
    for (std::size_t at = 0; at < stages.size(); ++at) {
      stages[at](state);
      const auto end = now_ns();
      state.times[at] = end - last, last = end;
    }
    state.frame = nullptr;
    return state.times;
  }

 private:
  using Step = std::function<Image(const Image&)>;

  // resize WIDTH HEIGHT FILTER ANTIALIAS TALL_FIRST · crop LEFT TOP SIZE · lay_out CHANNELS_FIRST
  // SCALE and pairs of MEAN DEVIATION
  void add(const std::string& text) {
    std::stringstream words(text);
    std::string verb;
    words >> verb;
    if (laid_out_) throw std::runtime_error("no step may follow lay_out");
    if (verb == "resize") {
      int width = 0, height = 0, filter = 0, antialias = 0, tall_first = 0;
      words >> width >> height >> filter >> antialias >> tall_first;
      check(words, text);
      if (filter < 0 || filter >= kFilters)
        throw std::runtime_error("unknown filter number " + std::to_string(filter));
      auto resampler = std::make_shared<Resampler>(width, height, static_cast<Filter>(filter),
                                                   antialias != 0, tall_first != 0);
      steps_.push_back([resampler](const Image& image) { return resampler->run(image); });
    } else if (verb == "crop") {
      int left = 0, top = 0, size = 0;
      words >> left >> top >> size;
      check(words, text);
      steps_.push_back([=](const Image& image) { return cropped(image, left, top, size); });
    } else if (verb == "lay_out") {
      int channels_first = 0;
      words >> channels_first >> numbers_.scale;
      check(words, text);
      for (float mean = 0, deviation = 0; words >> mean >> deviation;)
        numbers_.means.push_back(mean), numbers_.deviations.push_back(deviation);
      words.clear();
      numbers_.channels_first = channels_first != 0, laid_out_ = true;
      table_ = table_of(numbers_, 3);
    } else {
      throw std::runtime_error("unknown step " + verb);
    }
  }

  static void check(const std::stringstream& words, const std::string& text) {
    if (!words) throw std::runtime_error("the step " + text + " is incomplete");
  }

  void preprocess(FrameState& state) {
    const auto& frame = *state.frame;
    Image image{reinterpret_cast<const std::uint8_t*>(frame.data), static_cast<int>(frame.shape[1]),
                static_cast<int>(frame.shape[0]), 3,
                static_cast<std::ptrdiff_t>(frame.shape[1] * 3)};
    for (const auto& step : steps_) image = step(image);
    if (static_cast<std::int64_t>(image.width) * image.height * 3 != state.tensor.count())
      throw std::runtime_error("the recipe produces a different number of values than " +
                               state.tensor.name + " has");
    lay_out(image, table_, numbers_.channels_first,
            reinterpret_cast<float*>(state.tensor.data.data()));
  }

  static void infer(Network& network, FrameState& state) {
    network.bind(state.inputs);
    network.step();
    state.outputs = network.fetch();
  }

  // Draws onto a copy of the frame.
  void draw(FrameState& state) const {
    const auto& frame = *state.frame;
    auto& drawn = state.drawn;
    drawn.data.assign(frame.data, frame.data + frame.bytes);
    overlay_.draw(state.prediction, reinterpret_cast<std::uint8_t*>(drawn.data.data()),
                  static_cast<int>(frame.shape[1]), static_cast<int>(frame.shape[0]));
    drawn.type = frame.type, drawn.shape = frame.shape;
  }

  const OutputReader reader_;
  const Overlay overlay_;
  std::vector<Step> steps_;
  Numbers numbers_;
  bool laid_out_ = false;
  std::vector<float> table_;
  std::string input_;
  std::vector<std::int64_t> shape_;
};

}  // namespace evenbench
