// Writes arrays to an .npz file like np.savez: an uncompressed zip file (PKWARE's APPNOTE.TXT, 4.3)
// of arr_0.npy, arr_1.npy, ...
#pragma once

#include <array>
#include <initializer_list>
#include <utility>

#include "array.hpp"

namespace evenbench {

// Returns the CRC-32 of zip files (lowest bit first); `before` is the checksum of the preceding
// bytes.
inline std::uint32_t checksum(const char* data, std::size_t bytes, std::uint32_t before = 0) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t at = 0; at < entries.size(); ++at) {
      entries[at] = at;
      for (int bit = 0; bit < 8; ++bit)
        entries[at] = (entries[at] >> 1) ^ ((entries[at] & 1) ? 0xEDB88320u : 0u);
    }
    return entries;
  }();
  auto value = ~before;
  for (std::size_t at = 0; at < bytes; ++at)
    value = (value >> 8) ^ table[(value ^ static_cast<std::uint8_t>(data[at])) & 0xff];
  return ~value;
}

// Returns the numbers in sequence, each with its size in bytes, little endian.
inline std::string packed(std::initializer_list<std::pair<std::uint64_t, int>> numbers) {
  std::string bytes;
  for (auto [number, size] : numbers)
    for (; size > 0; --size, number >>= 8) bytes += static_cast<char>(number & 0xff);
  return bytes;
}

inline void write_npz(const std::string& path, const std::vector<Array>& arrays) {
  constexpr std::uint64_t kMostBytes = 0xffffffff,
                          kMostMembers = 0xffff;  // limits of the format without zip64
  std::ofstream file(path, std::ios::binary);
  std::string listing;
  std::uint64_t begin = 0;
  for (std::size_t at = 0; at < arrays.size(); ++at) {
    const auto name = "arr_" + std::to_string(at) + ".npy", header = npy_header(arrays[at]);
    const auto& data = arrays[at].data;
    const auto size = header.size() + data.size();
    const auto sum = checksum(data.data(), data.size(), checksum(header.data(), header.size()));
    // version 1.0, no flags, stored, midnight of 1980-01-01, no extra fields
    const auto fields = packed({{10, 2},
                                {0, 2},
                                {0, 2},
                                {0, 2},
                                {0x21, 2},
                                {sum, 4},
                                {size, 4},
                                {size, 4},
                                {name.size(), 2},
                                {0, 2}});
    const auto entry = packed({{0x04034b50, 4}}) + fields + name;
    // made on Unix; no comment, first disk, binary, -rw-r--r--
    listing += packed({{0x02014b50, 4}, {0x0314, 2}}) + fields +
               packed({{0, 2}, {0, 2}, {0, 2}, {0x81a40000, 4}, {begin, 4}}) + name;
    begin += entry.size() + size;
    if (begin >= kMostBytes || at + 1 >= kMostMembers)
      throw std::runtime_error(
          path +
          " exceeds the limits of a zip file (4 GB, 65534 arrays); use fewer batches at once");
    file << entry << header;
    file.write(data.data(), static_cast<std::streamsize>(data.size()));
  }
  const auto count = arrays.size();
  file << listing
       << packed({{0x06054b50, 4},
                  {0, 2},
                  {0, 2},
                  {count, 2},
                  {count, 2},
                  {listing.size(), 4},
                  {begin, 4},
                  {0, 2}});
  if (!file.flush()) throw std::runtime_error(path + " could not be written");
}

}  // namespace evenbench
