// What a network's outputs say of a frame, and that drawn onto it, as harness/pipeline/postprocess.py has both. Letters are left out: no library here has any.
#pragma once

#include <array>
#include <cmath>
#include <sstream>

#include "network.hpp"
#include "pixels.hpp"

namespace evenbench {

struct Answer {
  std::int64_t best = -1;  // of a classifier, with its share after a softmax
  double share = 0.0;
  int width = 0, height = 0;          // of what follows
  std::vector<std::uint8_t> classes;  // a class per pixel, 0 for what stays as it is
  std::vector<std::array<float, 4>> boxes;
  std::vector<std::int64_t> kinds;                // of the boxes
  std::vector<std::vector<std::uint8_t>> masks;  // of the boxes: 1 where the object is

  // Without the pixels.
  std::string words() const {
    std::stringstream text;
    if (best >= 0) text << best << ' ' << share;
    for (const auto kind : kinds) text << kind << ' ';
    return text.str();
  }
};

template <class T>
const T* values(const Array& array, const char* type) {
  if (array.type != type) throw std::runtime_error("an output holds " + array.type + "; frames are drawn from " + type);
  return reinterpret_cast<const T*>(array.data.data());
}

// How outputs are read: of which task, where among the outputs each part is, and from which score on an object counts.
class Reader {
 public:
  explicit Reader(const Options& told) : task_(told.at("task")) {
    if (task_ == "detection") {
      threshold_ = std::stof(told.at("threshold")), mask_level_ = std::stof(told.at("mask_level"));
      boxes_ = place(told, "boxes"), labels_ = place(told, "labels"), scores_ = place(told, "scores");
      if (told.given.count("masks")) has_masks_ = true, masks_ = place(told, "masks");
    } else if (task_ == "classification" || task_ == "segmentation") {
      scores_ = place(told, "scores");
    } else {
      throw std::runtime_error("frames of the task " + task_ + " cannot be drawn");
    }
  }

  Answer read(const std::vector<Array>& outputs) const {
    if (task_ == "classification") return label(outputs.at(scores_));
    return task_ == "segmentation" ? pixels(outputs.at(scores_)) : objects(outputs);
  }

 private:
  static std::size_t place(const Options& told, const std::string& name) { return std::stoul(told.at(name)); }

  // The best class of [1, classes].
  static Answer label(const Array& scores) {
    const auto* found = values<float>(scores, "f4");
    const auto* end = found + scores.count();
    const auto* best = std::max_element(found, end);
    double total = 0.0;
    for (const auto* score = found; score != end; ++score) total += std::exp(static_cast<double>(*score) - static_cast<double>(*best));
    Answer made;
    made.best = best - found, made.share = 1.0 / total;
    return made;
  }

  // The best class of every pixel of [1, classes, height, width]; the first one where several are.
  static Answer pixels(const Array& scores) {
    const auto* found = values<float>(scores, "f4");
    Answer made;
    made.height = static_cast<int>(scores.shape.at(2)), made.width = static_cast<int>(scores.shape.at(3));
    const auto plane = static_cast<std::size_t>(made.height) * made.width;
    std::vector<float> best(found, found + plane);
    std::vector<std::int32_t> which(plane, 0);
    for (std::int32_t kind = 1; kind < scores.shape.at(1); ++kind) {
      const auto* level = found + plane * kind;
      for (std::size_t at = 0; at < plane; ++at) {
        const bool more = level[at] > best[at];
        which[at] = more ? kind : which[at];
        best[at] = more ? level[at] : best[at];
      }
    }
    made.classes.assign(which.begin(), which.end());
    return made;
  }

  // Those of boxes [count, 4] that score at least the threshold, with their masks [count, height, width] or [count, 1, height, width].
  Answer objects(const std::vector<Array>& outputs) const {
    const auto& labels = outputs.at(labels_);
    if (outputs.at(boxes_).count() != 4 * labels.count() || outputs.at(scores_).count() != labels.count())
      throw std::runtime_error("there are " + std::to_string(labels.count()) + " labels, and not as many boxes and scores");
    const auto *boxes = values<float>(outputs.at(boxes_), "f4"), *scores = values<float>(outputs.at(scores_), "f4");
    const auto* kinds = values<std::int64_t>(labels, "i8");
    Answer made;
    for (std::int64_t at = 0; at < labels.count(); ++at) {
      if (!(scores[at] >= threshold_)) continue;
      made.boxes.push_back({boxes[4 * at], boxes[4 * at + 1], boxes[4 * at + 2], boxes[4 * at + 3]});
      made.kinds.push_back(kinds[at]);
      if (has_masks_) cover(outputs.at(masks_), at, made);
    }
    return made;
  }

  void cover(const Array& masks, std::int64_t at, Answer& made) const {
    if (masks.shape.size() < 3 || masks.shape.front() <= at) throw std::runtime_error("there are fewer masks than labels");
    made.height = static_cast<int>(masks.shape[masks.shape.size() - 2]), made.width = static_cast<int>(masks.shape.back());
    const auto plane = static_cast<std::size_t>(made.height) * made.width;
    const auto* level = values<float>(masks, "f4") + plane * at;
    auto* mask = made.masks.emplace_back(plane).data();
    const auto least = mask_level_;
    for (std::size_t pixel = 0; pixel < plane; ++pixel) mask[pixel] = level[pixel] > least;
  }

  const std::string task_;
  std::size_t boxes_ = 0, labels_ = 0, scores_ = 0, masks_ = 0;
  bool has_masks_ = false;
  float threshold_ = 0.0f, mask_level_ = 0.0f;
};

// Where on a frame the network looked, and what is laid over it.
class Pen {
 public:
  Pen(const Options& told, Array palette) : palette_(std::move(palette)), opacity_(told.number("opacity")) {
    if (palette_.type != "u1" || palette_.shape != std::vector<std::int64_t>{256, 3}) throw std::runtime_error("a palette is u1 [256, 3]");
    std::stringstream view(told.at("view")), box(told.at("box"));
    view >> left_ >> top_ >> right_ >> bottom_ >> width_ >> height_;
    box >> box_.left >> box_.top >> box_.right >> box_.bottom;
    if (!view || !box) throw std::runtime_error("the view is not six numbers, or its box is not four");
  }

  // Onto the pixels of a frame, [height, width, 3].
  void draw(const Answer& answer, std::uint8_t* levels, int width, int height) const {
    const Sheet sheet{levels, width, height};
    if (!answer.classes.empty()) lay(sheet, answer.classes.data(), answer, 0);
    for (std::size_t at = 0; at < answer.masks.size(); ++at) lay(sheet, answer.masks[at].data(), answer, colour_of(answer.kinds[at]));
    static constexpr std::uint8_t kWhite[] = {255, 255, 255};
    if (box_.left || box_.top || box_.right != width || box_.bottom != height)
      outline(sheet, {box_.left, box_.top, box_.right - 1, box_.bottom - 1}, 1, kWhite);
    for (std::size_t at = 0; at < answer.boxes.size(); ++at) outline(sheet, placed(answer.boxes[at]), 2, colour(colour_of(answer.kinds[at])));
  }

 private:
  struct Box {
    int left = 0, top = 0, right = 0, bottom = 0;  // the last row and column belong to it, except for the view's
  };

  struct Sheet {
    std::uint8_t* levels;
    int width, height;

    void fill(Box box, const std::uint8_t* colour) const {
      for (int y = std::max(box.top, 0); y <= std::min(box.bottom, height - 1); ++y)
        for (int x = std::max(box.left, 0); x <= std::min(box.right, width - 1); ++x) std::copy_n(colour, 3, at(x, y));
    }
    std::uint8_t* at(int x, int y) const { return levels + (static_cast<std::ptrdiff_t>(y) * width + x) * 3; }
  };

  // The colour of a class; 0 is that of nothing.
  static int colour_of(std::int64_t kind) { return static_cast<int>(1 + ((kind - 1) % 255 + 255) % 255); }
  const std::uint8_t* colour(int kind) const { return reinterpret_cast<const std::uint8_t*>(palette_.data.data()) + 3 * kind; }

  // Colours over the view, each pixel of the answer as large as it is there; of `one` kind, or where that is 0 of the kinds themselves.
  void lay(const Sheet& sheet, const std::uint8_t* kinds, const Answer& answer, int one) const {
    if (box_.right <= box_.left || box_.bottom <= box_.top) return;
    const auto columns = nearest(answer.width, box_.right - box_.left), rows = nearest(answer.height, box_.bottom - box_.top);
    for (int y = std::max(box_.top, 0); y < std::min(box_.bottom, sheet.height); ++y) {
      const auto* row = kinds + static_cast<std::ptrdiff_t>(rows[y - box_.top]) * answer.width;
      for (int x = std::max(box_.left, 0); x < std::min(box_.right, sheet.width); ++x) {
        const int kind = row[columns[x - box_.left]];
        if (!kind) continue;
        const auto* over = colour(one ? one : kind);
        auto* under = sheet.at(x, y);
        for (int c = 0; c < 3; ++c) {
          const int mixed = under[c] * (255 - opacity_) + over[c] * opacity_ + 128;
          under[c] = static_cast<std::uint8_t>(((mixed >> 8) + mixed) >> 8);  // over 255, rounded, as Pillow does
        }
      }
    }
  }

  // A box in the network's pixels as one in the frame's, its corners in order; beyond any frame where they are no numbers.
  Box placed(const std::array<float, 4>& box) const {
    const double across = (right_ - left_) / width_, down = (bottom_ - top_) / height_;
    const double x[] = {left_ + box[0] * across, left_ + box[2] * across}, y[] = {top_ + box[1] * down, top_ + box[3] * down};
    return {pixel(std::min(x[0], x[1])), pixel(std::min(y[0], y[1])), pixel(std::max(x[0], x[1])), pixel(std::max(y[0], y[1]))};
  }
  static int pixel(double place) {
    constexpr double kFar = 1e6;
    return std::isnan(place) ? static_cast<int>(kFar) : static_cast<int>(std::clamp(place, -kFar, kFar));
  }

  // Its edges, `thick` pixels inwards; where it is thinner than two of them, as Pillow has it.
  static void outline(const Sheet& sheet, Box box, int thick, const std::uint8_t* colour) {
    const int from = box.top + thick, to = box.bottom - thick + 1;
    const int first = std::min(from, to + 1), last = std::max(from, to - 1);
    for (int at = 0; at < thick; ++at) {
      sheet.fill({box.left, box.top + at, box.right, box.top + at}, colour);
      sheet.fill({box.left, box.bottom - at, box.right, box.bottom - at}, colour);
      sheet.fill({box.right - at, first, box.right - at, last}, colour);
      sheet.fill({box.left + at, first, box.left + at, last}, colour);
    }
  }

  const Array palette_;
  const int opacity_;
  double left_ = 0, top_ = 0, right_ = 0, bottom_ = 0, width_ = 1, height_ = 1;
  Box box_;  // the view in whole pixels
};

}  // namespace evenbench
