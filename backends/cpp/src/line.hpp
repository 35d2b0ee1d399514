// Frames through every stage after decoding: preprocessed, inferred, read and drawn. What comes of a frame lies in a flight of its own, so that
// several can be on their way (passage.hpp); `pass` is one frame alone, each stage timed by steady_clock.
#pragma once

#include <functional>

#include "answers.hpp"

namespace evenbench {

constexpr std::array<const char*, 4> kStages{"preprocess", "infer", "postprocess", "draw"};

using Taken = std::array<std::int64_t, kStages.size()>;  // nanoseconds of each stage

// A frame and what every stage made of it so far. Never copied: what a network is bound to lies in it.
struct Flight {
  Flight() = default;
  Flight(Flight&&) = default;
  Flight& operator=(Flight&&) = default;

  const View* frame = nullptr;  // u1 [height, width, 3], somebody else's, while the flight is on its way
  std::int64_t number = 0, due_ns = 0;  // among the frames of a passage, and its moment at a camera's pace
  Array tensor;
  std::vector<View> inputs;
  std::vector<Array> outputs;
  Answer answer;
  Array drawn;
  Taken taken{};
};

using Work = std::array<std::function<void(Flight&)>, kStages.size()>;  // what every stage does, in order

inline View frame_of(const Array& frame) {
  if (frame.type != "u1" || frame.shape.size() != 3 || frame.shape[2] != 3) throw std::runtime_error("a frame is u1 [height, width, 3]");
  return view_of(frame);
}

// Each of u1 [frames, height, width, 3].
inline std::vector<View> frames_of(const Array& frames) {
  std::vector<View> made;
  for (std::int64_t number = 0; number < frames.shape[0]; ++number) {
    const auto bytes = frames.data.size() / frames.shape[0];
    made.push_back({"frame", frames.type, {frames.shape[1], frames.shape[2], 3}, frames.data.data() + number * bytes, bytes});
  }
  return made;
}

class Line {
 public:
  // Told by harness/pipeline/frame_spec.py: the steps of the recipe in order, the name and shape of the input, how outputs are read and drawn.
  explicit Line(const Options& told) : reader_(told), pen_(told, read_npy(told.at("palette"), "palette")) {
    for (int at = 0; told.given.count("step " + std::to_string(at)); ++at) add(told.at("step " + std::to_string(at)));
    if (!laid_out_) throw std::runtime_error("the last step of a recipe lays its numbers out");
    input_ = told.at("input");
    std::stringstream sizes(told.at("shape"));
    for (std::int64_t size = 0; sizes >> size;) shape_.push_back(size);
  }

  // With room for a tensor, and for a drawing of so many bytes: whoever makes it decides that no clock runs.
  Flight flight(std::size_t frame_bytes = 0) const {
    Flight made;
    made.tensor.name = input_, made.tensor.type = "f4", made.tensor.shape = shape_;
    made.tensor.data.resize(made.tensor.count() * made.tensor.item_bytes());
    made.inputs = {view_of(made.tensor)};
    made.drawn.data.resize(frame_bytes);
    return made;
  }

  // The stages of this line around that network. Any thread may have one of them, and no two the same: preprocessing has memory of its own.
  Work work(Network& network) {
    return {[this](Flight& flight) { preprocess(flight); }, [&network](Flight& flight) { infer(network, flight); },
            [this](Flight& flight) { flight.answer = reader_.read(flight.outputs); }, [this](Flight& flight) { draw(flight); }};
  }

  // One frame alone through all stages; their times are in the flight as well.
  Taken pass(Network& network, const View& frame, Flight& flight) {
    const auto stages = work(network);
    flight.frame = &frame;
    auto last = now_ns();
    for (std::size_t at = 0; at < stages.size(); ++at) {
      stages[at](flight);
      const auto end = now_ns();
      flight.taken[at] = end - last, last = end;
    }
    flight.frame = nullptr;
    return flight.taken;
  }

 private:
  using Step = std::function<Image(const Image&)>;

  // resize WIDTH HEIGHT FILTER ANTIALIAS TALL_FIRST · crop LEFT TOP SIZE · lay_out CHANNELS_FIRST SCALE and pairs of MEAN DEVIATION
  void add(const std::string& text) {
    std::stringstream words(text);
    std::string verb;
    words >> verb;
    if (laid_out_) throw std::runtime_error("nothing comes after the numbers are laid out");
    if (verb == "resize") {
      int width = 0, height = 0, filter = 0, antialias = 0, tall_first = 0;
      words >> width >> height >> filter >> antialias >> tall_first;
      check(words, text);
      if (filter < 0 || filter >= kFilters) throw std::runtime_error("there is no filter number " + std::to_string(filter));
      auto resampler = std::make_shared<Resampler>(width, height, static_cast<Filter>(filter), antialias != 0, tall_first != 0);
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
      for (float mean = 0, deviation = 0; words >> mean >> deviation;) numbers_.means.push_back(mean), numbers_.deviations.push_back(deviation);
      words.clear();
      numbers_.channels_first = channels_first != 0, laid_out_ = true;
      table_ = table_of(numbers_, 3);
    } else {
      throw std::runtime_error("there is no step " + verb);
    }
  }

  static void check(const std::stringstream& words, const std::string& text) {
    if (!words) throw std::runtime_error("the step " + text + " is not whole");
  }

  void preprocess(Flight& flight) {
    const auto& frame = *flight.frame;
    Image image{reinterpret_cast<const std::uint8_t*>(frame.data), static_cast<int>(frame.shape[1]), static_cast<int>(frame.shape[0]), 3,
                static_cast<std::ptrdiff_t>(frame.shape[1] * 3)};
    for (const auto& step : steps_) image = step(image);
    if (static_cast<std::int64_t>(image.width) * image.height * 3 != flight.tensor.count())
      throw std::runtime_error("the recipe makes another number of values than " + flight.tensor.name + " has");
    lay_out(image, table_, numbers_.channels_first, reinterpret_cast<float*>(flight.tensor.data.data()));
  }

  static void infer(Network& network, Flight& flight) {
    network.bind(flight.inputs);
    network.step();
    flight.outputs = network.fetch();
  }

  // Onto a copy of the frame.
  void draw(Flight& flight) const {
    const auto& frame = *flight.frame;
    auto& drawn = flight.drawn;
    drawn.data.assign(frame.data, frame.data + frame.bytes);
    pen_.draw(flight.answer, reinterpret_cast<std::uint8_t*>(drawn.data.data()), static_cast<int>(frame.shape[1]), static_cast<int>(frame.shape[0]));
    drawn.type = frame.type, drawn.shape = frame.shape;
  }

  const Reader reader_;
  const Pen pen_;
  std::vector<Step> steps_;
  Numbers numbers_;
  bool laid_out_ = false;
  std::vector<float> table_;
  std::string input_;
  std::vector<std::int64_t> shape_;
};

}  // namespace evenbench
