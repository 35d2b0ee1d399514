// Frames through every stage after decoding, one at a time: preprocessed, inferred, read and drawn, each stage timed by steady_clock.
#pragma once

#include <functional>

#include "answers.hpp"

namespace evenbench {

class Line {
 public:
  // Told by harness/orders.py: the steps of the recipe in order, the name and shape of the input, how outputs are read and drawn.
  explicit Line(const Options& told) : reader_(told), pen_(told, read_npy(told.at("palette"), "palette")) {
    for (int at = 0; told.given.count("step " + std::to_string(at)); ++at) add(told.at("step " + std::to_string(at)));
    if (!laid_out_) throw std::runtime_error("the last step of a recipe lays its numbers out");
    tensor_.name = told.at("input"), tensor_.type = "f4";
    std::stringstream sizes(told.at("shape"));
    for (std::int64_t size = 0; sizes >> size;) tensor_.shape.push_back(size);
    tensor_.data.resize(tensor_.count() * tensor_.item_bytes());
    inputs_ = {view_of(tensor_)};
  }

  // Nanoseconds of each stage. `frame` is u1 [height, width, 3].
  std::array<std::int64_t, 4> pass(Network& network, const Array& frame) {
    if (frame.type != "u1" || frame.shape.size() != 3 || frame.shape[2] != 3) throw std::runtime_error("a frame is u1 [height, width, 3]");
    std::array<std::int64_t, 5> moments{now_ns()};
    preprocess(frame);
    moments[1] = now_ns();
    network.bind(inputs_);
    network.step();
    outputs_ = network.fetch();
    moments[2] = now_ns();
    answer_ = reader_.read(outputs_);
    moments[3] = now_ns();
    drawn_.data = frame.data;
    pen_.draw(answer_, reinterpret_cast<std::uint8_t*>(drawn_.data.data()), static_cast<int>(frame.shape[1]), static_cast<int>(frame.shape[0]));
    moments[4] = now_ns();
    drawn_.type = frame.type, drawn_.shape = frame.shape;
    std::array<std::int64_t, 4> taken{};
    for (std::size_t at = 0; at < taken.size(); ++at) taken[at] = moments[at + 1] - moments[at];
    return taken;
  }

  // Of the last frame.
  const Array& tensor() const { return tensor_; }
  const std::vector<Array>& outputs() const { return outputs_; }
  const Answer& answer() const { return answer_; }
  const Array& drawn() const { return drawn_; }

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

  void preprocess(const Array& frame) {
    Image image{reinterpret_cast<const std::uint8_t*>(frame.data.data()), static_cast<int>(frame.shape[1]), static_cast<int>(frame.shape[0]), 3,
                static_cast<std::ptrdiff_t>(frame.shape[1] * 3)};
    for (const auto& step : steps_) image = step(image);
    if (static_cast<std::int64_t>(image.width) * image.height * 3 != tensor_.count())
      throw std::runtime_error("the recipe makes another number of values than " + tensor_.name + " has");
    lay_out(image, table_, numbers_.channels_first, reinterpret_cast<float*>(tensor_.data.data()));
  }

  const Reader reader_;
  const Pen pen_;
  std::vector<Step> steps_;
  Numbers numbers_;
  bool laid_out_ = false;
  std::vector<float> table_;
  Array tensor_, drawn_;
  std::vector<View> inputs_;
  std::vector<Array> outputs_;
  Answer answer_;
};

}  // namespace evenbench
