// The steps of a recipe behind a C interface, for backends/cpp/preprocessor.py.
#include "pixels.hpp"

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

const char* pixels_error() { return last_error.c_str(); }

// `to` has room for the new image, without gaps between rows. 1 where it went well.
int pixels_resize(const std::uint8_t* levels, int width, int height, int channels, std::ptrdiff_t row_bytes, int filter, int antialias, int tall_first,
                  int to_width, int to_height, std::uint8_t* to) {
  return guarded([&] {
    if (filter < 0 || filter >= kFilters) throw std::runtime_error("there is no filter number " + std::to_string(filter));
    Resampler resampler(to_width, to_height, static_cast<Filter>(filter), antialias != 0, tall_first != 0);
    const auto made = resampler.run({levels, width, height, channels, row_bytes});
    std::copy_n(made.levels, made.row_bytes * made.height, to);
  });
}

// `to` has room for one number per level. 1 where it went well.
int pixels_lay_out(const std::uint8_t* levels, int width, int height, int channels, std::ptrdiff_t row_bytes, float scale, const float* means,
                   const float* deviations, int count, int channels_first, float* to) {
  return guarded([&] {
    const Numbers wanted{scale, {means, means + count}, {deviations, deviations + count}, channels_first != 0};
    lay_out({levels, width, height, channels, row_bytes}, table_of(wanted, channels), wanted.channels_first, to);
  });
}
}
