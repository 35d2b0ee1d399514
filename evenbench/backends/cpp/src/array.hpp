// Named tensors in host memory, and .npy files (format versions 1 to 3, C order, little endian).
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace evenbench {

struct Array {
  std::string name;
  std::string type;  // NumPy's code without byte order: f4, f2, f8, i8, i4, u1, b1
  std::vector<std::int64_t> shape;
  std::vector<char> data;

  std::int64_t count() const {
    std::int64_t total = 1;
    for (auto size : shape) total *= size;
    return total;
  }
  std::size_t item_bytes() const { return std::stoul(type.substr(1)); }
};

// An array without ownership: the memory belongs to the caller and outlives the view.
struct View {
  std::string name;
  std::string type;
  std::vector<std::int64_t> shape;
  const char* data;
  std::size_t bytes;
};

inline View view_of(const Array& array) {
  return {array.name, array.type, array.shape, array.data.data(), array.data.size()};
}

inline Array read_npy(const std::string& path, const std::string& name) {
  std::ifstream file(path, std::ios::binary);
  char magic[8];
  if (!file.read(magic, 8) || std::memcmp(magic, "\x93NUMPY", 6) != 0)
    throw std::runtime_error(path + " is not a .npy file");
  std::uint32_t length = 0;
  file.read(reinterpret_cast<char*>(&length), magic[6] == 1 ? 2 : 4);
  std::string header(length, ' ');
  file.read(header.data(), length);
  const auto field = [&](const std::string& key) {
    const auto at = header.find("'" + key + "'");
    if (at == std::string::npos)
      throw std::runtime_error(path + " has no " + key + " in its header");
    return header.find(':', at) + 1;
  };
  Array array;
  array.name = name;
  const auto quote = header.find('\'', field("descr"));
  array.type = header.substr(quote + 1, header.find('\'', quote + 1) - quote - 1);
  if (array.type.front() == '>')
    throw std::runtime_error(path + " is big endian; expected little endian");
  array.type = array.type.substr(1);
  if (header.compare(header.find_first_not_of(' ', field("fortran_order")), 4, "True") == 0)
    throw std::runtime_error(path + " is in Fortran order; expected C order");
  const auto open = header.find('(', field("shape")), close = header.find(')', open);
  std::string number;
  for (auto letter : header.substr(open + 1, close - open - 1) + ",") {
    if (letter >= '0' && letter <= '9')
      number += letter;
    else if (letter == ',' && !number.empty())
      array.shape.push_back(std::stoll(number)), number.clear();
  }
  array.data.resize(array.count() * array.item_bytes());
  if (!file.read(array.data.data(), static_cast<std::streamsize>(array.data.size())))
    throw std::runtime_error(path + " is truncated");
  return array;
}

// Returns the bytes before the numbers in a .npy file.
inline std::string npy_header(const Array& array) {
  std::string shape;
  for (auto size : array.shape) shape += std::to_string(size) + ", ";
  const char order = array.item_bytes() == 1 ? '|' : '<';
  std::string header = std::string("{'descr': '") + order + array.type +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  const char lengths[] = {1, 0, static_cast<char>(header.size() & 0xff),
                          static_cast<char>(header.size() >> 8)};
  return "\x93NUMPY" + std::string(lengths, 4) + header;
}

inline void write_npy(const std::string& path, const Array& array) {
  const auto header = npy_header(array);
  std::ofstream file(path, std::ios::binary);
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  file.write(array.data.data(), static_cast<std::streamsize>(array.data.size()));
  if (!file.flush()) throw std::runtime_error(path + " could not be written");
}

}  // namespace evenbench
