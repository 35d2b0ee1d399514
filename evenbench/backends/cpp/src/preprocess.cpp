// The recipe's steps behind a C interface, for backends/cpp/preprocessor.py.
#include "preprocess.hpp"

using namespace evenbench;

namespace {

thread_local std::string last_error;

template <class Call>
int guarded(Call call) {
  try {
    return call(), 1;
  } catch (const std::exception& error) {
    last_error = error.what();
    return 0;
  }
}

}  // namespace

extern "C" {

const char* preprocess_error() { return last_error.c_str(); }

// Writes the resized image, dense, to `to`. Returns 1 on success.
int preprocess_resize(const std::uint8_t* levels, int width, int height, int channels,
                      std::ptrdiff_t row_bytes, int filter, int antialias, int tall_first,
                      int to_width, int to_height, std::uint8_t* to) {
  return guarded([&] {
    if (filter < 0 || filter >= kFilters)
      throw std::runtime_error("unknown filter number " + std::to_string(filter));
    Resampler resampler(to_width, to_height, static_cast<Filter>(filter), antialias != 0,
                        tall_first != 0);
    const auto resized = resampler.run({levels, width, height, channels, row_bytes});
    std::copy_n(resized.levels, resized.row_bytes * resized.height, to);
  });
}

// Writes a number per level to `to`. Returns 1 on success.
int preprocess_lay_out(const std::uint8_t* levels, int width, int height, int channels,
                       std::ptrdiff_t row_bytes, float scale, const float* means,
                       const float* deviations, int count, int channels_first, float* to) {
  return guarded([&] {
    const Numbers wanted{
        scale, {means, means + count}, {deviations, deviations + count}, channels_first != 0};
    lay_out({levels, width, height, channels, row_bytes}, table_of(wanted, channels),
            wanted.channels_first, to);
  });
}
}
