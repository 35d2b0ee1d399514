// Reads a network's outputs and draws the result onto a frame, like
// harness/pipeline/postprocess.py, but without text.
#pragma once

#include <array>
#include <cmath>
#include <sstream>

#include "network.hpp"
#include "preprocess.hpp"

namespace evenbench {

struct Prediction {
  std::int64_t best = -1;  // classification: the best class and its probability
  double share = 0.0;
  int width = 0, height = 0;          // of `classes` or `masks`
  std::vector<std::uint8_t> classes;  // class per pixel; 0 leaves the pixel unchanged
  std::vector<std::array<float, 4>> boxes;
  std::vector<std::int64_t> kinds;               // classes of the boxes
  std::vector<std::vector<std::uint8_t>> masks;  // masks of the boxes, 1 inside the object

  // Returns the prediction without pixels.
  std::string text() const {
    std::stringstream stream;
    if (best >= 0) stream << best << ' ' << share;
    for (const auto kind : kinds) stream << kind << ' ';
    return stream.str();
  }
};

template <class T>
const T* values(const Array& array, const char* type) {
  if (array.type != type)
    throw std::runtime_error("an output holds " + array.type + "; expected " + type);
  return reinterpret_cast<const T*>(array.data.data());
}

// Reads outputs: options name the task, each part's position among the outputs, and the score
// threshold.
class OutputReader {
 public:
  explicit OutputReader(const Options& options) : task_(options.at("task")) {
    if (task_ == "detection") {
      threshold_ = std::stof(options.at("threshold")),
      mask_level_ = std::stof(options.at("mask_level"));
      boxes_ = place(options, "boxes"), labels_ = place(options, "labels"),
      scores_ = place(options, "scores");
      if (options.given.count("masks")) has_masks_ = true, masks_ = place(options, "masks");
    } else if (task_ == "classification" || task_ == "segmentation") {
      scores_ = place(options, "scores");
    } else {
      throw std::runtime_error("the task " + task_ + " has no drawing");
    }
  }

  Prediction read(const std::vector<Array>& outputs) const {
    if (task_ == "classification") return label(outputs.at(scores_));
    return task_ == "segmentation" ? pixels(outputs.at(scores_)) : objects(outputs);
  }

 private:
  static std::size_t place(const Options& options, const std::string& name) {
    return std::stoul(options.at(name));
  }

  // Returns the best class of [1, classes].
  static Prediction label(const Array& scores) {
    const auto* logits = values<float>(scores, "f4");
    const auto* end = logits + scores.count();
    const auto* best = std::max_element(logits, end);
    double total = 0.0;
    for (const auto* score = logits; score != end; ++score)
      total += std::exp(static_cast<double>(*score) - static_cast<double>(*best));
    Prediction prediction;
    prediction.best = best - logits, prediction.share = 1.0 / total;
    return prediction;
  }

  // Returns the best class of every pixel of [1, classes, height, width]; the first of equal
  // classes.
  static Prediction pixels(const Array& scores) {
    const auto* logits = values<float>(scores, "f4");
    Prediction prediction;
    prediction.height = static_cast<int>(scores.shape.at(2)),
    prediction.width = static_cast<int>(scores.shape.at(3));
    const auto plane = static_cast<std::size_t>(prediction.height) * prediction.width;
    std::vector<float> best(logits, logits + plane);
    std::vector<std::int32_t> which(plane, 0);
    for (std::int32_t kind = 1; kind < scores.shape.at(1); ++kind) {
      const auto* level = logits + plane * kind;
      for (std::size_t at = 0; at < plane; ++at) {
        const bool more = level[at] > best[at];
        which[at] = more ? kind : which[at];
        best[at] = more ? level[at] : best[at];
      }
    }
    prediction.classes.assign(which.begin(), which.end());
    return prediction;
  }

  // Returns the boxes [count, 4] with scores above the threshold, and masks [count, height, width]
  // or [count, 1, height, width].
  Prediction objects(const std::vector<Array>& outputs) const {
    const auto& labels = outputs.at(labels_);
    if (outputs.at(boxes_).count() != 4 * labels.count() ||
        outputs.at(scores_).count() != labels.count())
      throw std::runtime_error("the numbers of boxes and scores differ from the " +
                               std::to_string(labels.count()) + " labels");
    const auto *boxes = values<float>(outputs.at(boxes_), "f4"),
               *scores = values<float>(outputs.at(scores_), "f4");
    const auto* kinds = values<std::int64_t>(labels, "i8");
    Prediction prediction;
    for (std::int64_t at = 0; at < labels.count(); ++at) {
      if (!(scores[at] >= threshold_)) continue;
      prediction.boxes.push_back(
          {boxes[4 * at], boxes[4 * at + 1], boxes[4 * at + 2], boxes[4 * at + 3]});
      prediction.kinds.push_back(kinds[at]);
      if (has_masks_) cover(outputs.at(masks_), at, prediction);
    }
    return prediction;
  }

  void cover(const Array& masks, std::int64_t at, Prediction& prediction) const {
    if (masks.shape.size() < 3 || masks.shape.front() <= at)
      throw std::runtime_error("the outputs contain fewer masks than labels");
    prediction.height = static_cast<int>(masks.shape[masks.shape.size() - 2]),
    prediction.width = static_cast<int>(masks.shape.back());
    const auto plane = static_cast<std::size_t>(prediction.height) * prediction.width;
    const auto* level = values<float>(masks, "f4") + plane * at;
    auto* mask = prediction.masks.emplace_back(plane).data();
    const auto least = mask_level_;
    for (std::size_t pixel = 0; pixel < plane; ++pixel) mask[pixel] = level[pixel] > least;
  }

  const std::string task_;
  std::size_t boxes_ = 0, labels_ = 0, scores_ = 0, masks_ = 0;
  bool has_masks_ = false;
  float threshold_ = 0.0f, mask_level_ = 0.0f;
};

// Draws predictions onto the network's view of a frame.
class Overlay {
 public:
  Overlay(const Options& options, Array palette)
      : palette_(std::move(palette)), opacity_(options.number("opacity")) {
    if (palette_.type != "u1" || palette_.shape != std::vector<std::int64_t>{256, 3})
      throw std::runtime_error("the palette must be u1 [256, 3]");
    std::stringstream view(options.at("view")), box(options.at("box"));
    view >> left_ >> top_ >> right_ >> bottom_ >> width_ >> height_;
    box >> box_.left >> box_.top >> box_.right >> box_.bottom;
    if (!view || !box) throw std::runtime_error("the view must have six numbers, and its box four");
  }

  // Draws onto the pixels of a frame, [height, width, 3].
  void draw(const Prediction& prediction, std::uint8_t* levels, int width, int height) const {
    const Canvas canvas{levels, width, height};
    if (!prediction.classes.empty()) lay(canvas, prediction.classes.data(), prediction, 0);
    for (std::size_t at = 0; at < prediction.masks.size(); ++at)
      lay(canvas, prediction.masks[at].data(), prediction, colour_of(prediction.kinds[at]));
    static constexpr std::uint8_t kWhite[] = {255, 255, 255};
    if (box_.left || box_.top || box_.right != width || box_.bottom != height)
      outline(canvas, {box_.left, box_.top, box_.right - 1, box_.bottom - 1}, 1, kWhite);
    for (std::size_t at = 0; at < prediction.boxes.size(); ++at)
      outline(canvas, placed(prediction.boxes[at]), 2, colour(colour_of(prediction.kinds[at])));
  }

 private:
  struct Box {
    int left = 0, top = 0, right = 0,
        bottom = 0;  // right and bottom are inclusive, except for the view
  };

  struct Canvas {
    std::uint8_t* levels;
    int width, height;

    void fill(Box box, const std::uint8_t* colour) const {
      for (int y = std::max(box.top, 0); y <= std::min(box.bottom, height - 1); ++y)
        for (int x = std::max(box.left, 0); x <= std::min(box.right, width - 1); ++x)
          std::copy_n(colour, 3, at(x, y));
    }
    std::uint8_t* at(int x, int y) const {
      return levels + (static_cast<std::ptrdiff_t>(y) * width + x) * 3;
    }
  };

  // Returns the colour index of a class; index 0 means background.
  static int colour_of(std::int64_t kind) {
    return static_cast<int>(1 + ((kind - 1) % 255 + 255) % 255);
  }
  const std::uint8_t* colour(int kind) const {
    return reinterpret_cast<const std::uint8_t*>(palette_.data.data()) + 3 * kind;
  }

  // Blends colours over the view, scaling the prediction's pixels to the view. `one` replaces all
  // nonzero classes, if nonzero.
  void lay(const Canvas& canvas, const std::uint8_t* kinds, const Prediction& prediction,
           int one) const {
    if (box_.right <= box_.left || box_.bottom <= box_.top) return;
    const auto columns = nearest(prediction.width, box_.right - box_.left),
               rows = nearest(prediction.height, box_.bottom - box_.top);
    for (int y = std::max(box_.top, 0); y < std::min(box_.bottom, canvas.height); ++y) {
      const auto* row = kinds + static_cast<std::ptrdiff_t>(rows[y - box_.top]) * prediction.width;
      for (int x = std::max(box_.left, 0); x < std::min(box_.right, canvas.width); ++x) {
        const int kind = row[columns[x - box_.left]];
        if (!kind) continue;
        const auto* over = colour(one ? one : kind);
        auto* under = canvas.at(x, y);
        for (int c = 0; c < 3; ++c) {
          const int mixed = under[c] * (255 - opacity_) + over[c] * opacity_ + 128;
          under[c] = static_cast<std::uint8_t>(((mixed >> 8) + mixed) >>
                                               8);  // division by 255 with rounding, as in Pillow
        }
      }
    }
  }

  // Converts a box from network to frame pixels, with sorted corners; NaN becomes a position
  // outside of any frame.
  Box placed(const std::array<float, 4>& box) const {
    const double across = (right_ - left_) / width_, down = (bottom_ - top_) / height_;
    const double x[] = {left_ + box[0] * across, left_ + box[2] * across},
                 y[] = {top_ + box[1] * down, top_ + box[3] * down};
    return {pixel(std::min(x[0], x[1])), pixel(std::min(y[0], y[1])), pixel(std::max(x[0], x[1])),
            pixel(std::max(y[0], y[1]))};
  }
  static int pixel(double place) {
    constexpr double kFar = 1e6;
    return std::isnan(place) ? static_cast<int>(kFar)
                             : static_cast<int>(std::clamp(place, -kFar, kFar));
  }

  // Draws edges of `thick` pixels inwards; boxes thinner than two edges look as in Pillow.
  static void outline(const Canvas& canvas, Box box, int thick, const std::uint8_t* colour) {
    const int from = box.top + thick, to = box.bottom - thick + 1;
    const int first = std::min(from, to + 1), last = std::max(from, to - 1);
    for (int at = 0; at < thick; ++at) {
      canvas.fill({box.left, box.top + at, box.right, box.top + at}, colour);
      canvas.fill({box.left, box.bottom - at, box.right, box.bottom - at}, colour);
      canvas.fill({box.right - at, first, box.right - at, last}, colour);
      canvas.fill({box.left + at, first, box.left + at, last}, colour);
    }
  }

  const Array palette_;
  const int opacity_;
  double left_ = 0, top_ = 0, right_ = 0, bottom_ = 0, width_ = 1, height_ = 1;
  Box box_;  // the view in whole pixels
};

}  // namespace evenbench
