// The steps of a preprocessing recipe on 8-bit pixels: resize, crop, and conversion to floats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace evenbench {

// A view of pixels: rows of `row_bytes`, with interleaved channels.
struct Image {
  const std::uint8_t* levels = nullptr;
  int width = 0, height = 0, channels = 0;
  std::ptrdiff_t row_bytes = 0;

  const std::uint8_t* row(int y) const { return levels + y * row_bytes; }
};

inline Image cropped(const Image& from, int left, int top, int size) {
  if (left < 0 || top < 0 || left + size > from.width || top + size > from.height)
    throw std::runtime_error("the crop exceeds the image");
  return {from.row(top) + left * from.channels, size, size, from.channels, from.row_bytes};
}

enum class Filter {
  bilinear,
  bicubic,
  nearest
};  // order of FILTERS in backends/cpp/preprocessor.py

constexpr int kFilters = 3;
constexpr int kBits =
    22;  // of a weight: 32, minus 8 of a level, minus 2 for intermediate overshoot
constexpr std::int32_t kHalf = 1 << (kBits - 1);

// Weights of source pixels per target pixel: `count` weights from pixel `first`, in units of 2^-22.
struct Weights {
  int most = 0;
  std::vector<int> first, count;
  std::vector<std::int32_t> values;  // [target, most]

  const std::int32_t* of(int target) const {
    return values.data() + static_cast<std::ptrdiff_t>(target) * most;
  }
};

inline double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

// R. Keys' cubic convolution with a = -0.5 (IEEE TASSP 29, 1981).
inline double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  return x < 1.0   ? ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
         : x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a
                   : 0.0;
}

// With `antialias`, shrinking widens the filter to the step between two targets. Pixels beyond an
// edge are left out and the rest is reweighted. Weights are rounded to fixed point as in Pillow,
// for equal levels.
inline Weights weights_of(int size, int target, Filter filter, bool antialias) {
  const double step = static_cast<double>(size) / target;
  const double wide = antialias ? std::max(step, 1.0) : 1.0, narrow = 1.0 / wide;
  const double reach = (filter == Filter::bicubic ? 2.0 : 1.0) * wide;
  Weights result;
  result.most = 2 * static_cast<int>(std::ceil(reach)) + 1;
  result.first.resize(target), result.count.resize(target);
  result.values.resize(static_cast<std::size_t>(target) * result.most);
  std::vector<double> shares;
  for (int at = 0; at < target; ++at) {
    const double centre = (at + 0.5) * step;
    const int first = std::max(0, static_cast<int>(centre - reach + 0.5)),
              last = std::min(size, static_cast<int>(centre + reach + 0.5));
    double total = 0.0;
    shares.clear();
    for (int pixel = first; pixel < last; ++pixel) {
      const double away = (pixel - centre + 0.5) * narrow;
      shares.push_back(filter == Filter::bicubic ? cubic(away) : triangle(away));
      total += shares.back();
    }
    result.first[at] = first, result.count[at] = last - first;
    for (std::size_t k = 0; k < shares.size(); ++k) {
      const double share = (total != 0.0 ? shares[k] / total : shares[k]) * (1 << kBits);
      result.values[static_cast<std::size_t>(at) * result.most + k] =
          static_cast<std::int32_t>(share + (share < 0 ? -0.5 : 0.5));
    }
  }
  return result;
}

// Returns the pixel at each target's centre. Positions are summed as in Pillow, for the same choice
// at borders.
inline std::vector<int> nearest(int size, int target) {
  const double step = static_cast<double>(size) / target;
  std::vector<int> result(target);
  double centre = step * 0.5;
  for (auto& pixel : result) pixel = std::min(size - 1, static_cast<int>(centre)), centre += step;
  return result;
}

// Resizes images; weights and buffers are reused while the size stays the same.
class Resampler {
 public:
  // With `tall_first`, an image that loses more than twice as many rows as columns is first reduced
  // in height.
  Resampler(int width, int height, Filter filter, bool antialias, bool tall_first)
      : width_(width),
        height_(height),
        filter_(filter),
        antialias_(antialias),
        tall_first_(tall_first) {
    if (width < 1 || height < 1)
      throw std::runtime_error("the target size of a resize must be positive");
  }

  // Returns pixels that stay valid until the next call.
  Image run(const Image& from) {
    if (from.channels != 1 && from.channels != 3)
      throw std::runtime_error("an image of " + std::to_string(from.channels) +
                               " channels; expected 1 or 3");
    if (from.width < 1 || from.height < 1) throw std::runtime_error("the image has no pixels");
    if (from.width != from_width_ || from.height != from_height_) measure(from);
    const auto row = static_cast<std::size_t>(width_) * from.channels;
    resized_.resize(row * height_);
    const Image result{resized_.data(), width_, height_, from.channels,
                       static_cast<std::ptrdiff_t>(row)};
    if (filter_ == Filter::nearest) return gather(from), result;
    // Both passes round to whole levels, so that their order decides the last bit.
    const auto lost = from.height - height_;
    const bool lower = tall_first_ && lost > 0 && lost > 2 * (from.width - width_);
    const int width = lower ? from.width : width_, height = lower ? height_ : from.height;
    const auto between_row = static_cast<std::size_t>(width) * from.channels;
    between_.resize(between_row * height);
    const Image between{between_.data(), width, height, from.channels,
                        static_cast<std::ptrdiff_t>(between_row)};
    if (lower) {
      down(from, between_.data()), across(between, resized_.data());
    } else {
      across(from, between_.data()), down(between, resized_.data());
    }
    return result;
  }

 private:
  void measure(const Image& from) {
    from_width_ = from.width, from_height_ = from.height;
    if (filter_ == Filter::nearest) {
      columns_ = nearest(from.width, width_), rows_ = nearest(from.height, height_);
    } else {
      across_ = weights_of(from.width, width_, filter_, antialias_),
      down_ = weights_of(from.height, height_, filter_, antialias_);
    }
  }

  static std::uint8_t whole(std::int32_t sum) {
    return static_cast<std::uint8_t>(std::clamp(sum >> kBits, 0, 255));
  }

  void across(const Image& from, std::uint8_t* to) const {
    from.channels == 1 ? across<1>(from, to) : across<3>(from, to);
  }

  // Resizes each row to whole levels.
  template <int kChannels>
  void across(const Image& from, std::uint8_t* to) const {
    const auto *first = across_.first.data(),
               *count = across_.count
                            .data();  // hoisted: writes through a byte pointer may alias any memory
    const int width = width_;
    for (int y = 0; y < from.height; ++y) {
      const auto* row = from.row(y);
      const auto* weights = across_.values.data();
      for (int x = 0; x < width; ++x, to += kChannels, weights += across_.most) {
        const auto* pixel = row + first[x] * kChannels;
        std::int32_t sums[kChannels];
        std::fill_n(sums, kChannels, kHalf);
        for (int k = 0; k < count[x]; ++k, pixel += kChannels)
          for (int c = 0; c < kChannels; ++c) sums[c] += pixel[c] * weights[k];
        for (int c = 0; c < kChannels; ++c) to[c] = whole(sums[c]);
      }
    }
  }

  // Resizes all columns, a row of sums at a time.
  void down(const Image& from, std::uint8_t* to) {
    const auto row = static_cast<std::size_t>(from.width) * from.channels;
    sums_.resize(row);
    auto* sums = sums_.data();
    for (int y = 0; y < height_; ++y, to += row) {
      std::fill_n(sums, row, kHalf);
      for (int k = 0; k < down_.count[y]; ++k) {
        const auto* levels = from.row(down_.first[y] + k);
        const auto weight = down_.of(y)[k];
        for (std::size_t at = 0; at < row; ++at) sums[at] += levels[at] * weight;
      }
      for (std::size_t at = 0; at < row; ++at) to[at] = whole(sums[at]);
    }
  }

  void gather(const Image& from) {
    auto* to = resized_.data();
    for (int y = 0; y < height_; ++y)
      for (int x = 0; x < width_; ++x, to += from.channels)
        std::copy_n(from.row(rows_[y]) + columns_[x] * from.channels, from.channels, to);
  }

  const int width_, height_;
  const Filter filter_;
  const bool antialias_, tall_first_;
  int from_width_ = 0, from_height_ = 0;
  Weights across_, down_;
  std::vector<int> columns_, rows_;
  std::vector<std::uint8_t> between_, resized_;
  std::vector<std::int32_t> sums_;
};

// Conversion of levels to floats: scaled, then normalised by the channel's mean and deviation if
// given.
struct Numbers {
  float scale = 1.0f;
  std::vector<float> means, deviations;  // one per channel, or one for all channels
  bool channels_first = true;
};

// Returns the float of each of the 256 levels by channel. Every operation rounds to float32, as in
// NumPy.
inline std::vector<float> table_of(const Numbers& wanted, int channels) {
  const auto count = wanted.means.size();
  if (count != wanted.deviations.size() ||
      (count > 1 && count != static_cast<std::size_t>(channels)))
    throw std::runtime_error(std::to_string(count) + " means and " +
                             std::to_string(wanted.deviations.size()) + " deviations for " +
                             std::to_string(channels) + " channels");
  std::vector<float> result;
  result.reserve(static_cast<std::size_t>(channels) * 256);
  for (int c = 0; c < channels; ++c) {
    const std::size_t place = count > 1 ? c : 0;
    for (int level = 0; level < 256; ++level) {
      const float scaled = static_cast<float>(level) * wanted.scale;
      result.push_back(count ? (scaled - wanted.means[place]) / wanted.deviations[place] : scaled);
    }
  }
  return result;
}

// Writes every level's float, as [channels, height, width] or [height, width, channels].
inline void lay_out(const Image& from, const std::vector<float>& table, bool channels_first,
                    float* to) {
  const std::ptrdiff_t plane = static_cast<std::ptrdiff_t>(from.width) * from.height;
  for (int c = 0; c < from.channels; ++c) {
    const auto* numbers = table.data() + c * 256;
    auto* out = channels_first ? to + c * plane : to + c;
    const std::ptrdiff_t apart = channels_first ? 1 : from.channels;
    for (int y = 0; y < from.height; ++y) {
      const auto* level = from.row(y) + c;
      for (int x = 0; x < from.width; ++x, level += from.channels, out += apart)
        *out = numbers[*level];
    }
  }
}

}  // namespace evenbench
