// The interface that each runtime implements for both program and shared library.
#pragma once

#include <dlfcn.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "array.hpp"

namespace evenbench {

using Facts = std::map<std::string, std::string>;

struct Options {
  Facts given;  // model, threads, and the runtime's options

  const std::string& at(const std::string& name) const {
    const auto result = given.find(name);
    if (result == given.end()) throw std::runtime_error("the option " + name + " is missing");
    return result->second;
  }
  int number(const std::string& name) const { return std::stoi(at(name)); }
  bool is(const std::string& name, const std::string& value) const { return at(name) == value; }

  // Returns the options with the prefix `kind` and a space, without the prefix.
  Facts all(const std::string& kind) const {
    Facts result;
    for (const auto& [name, value] : given)
      if (name.rfind(kind + " ", 0) == 0) result[name.substr(kind.size() + 1)] = value;
    return result;
  }
};

class Network {
 public:
  virtual ~Network() = default;
  virtual void bind(const std::vector<View>&
                        inputs) = 0;  // the caller's memory must stay unchanged until the next bind
  virtual void step() = 0;
  virtual std::vector<Array> fetch() = 0;  // copies, in the order of the model's outputs
  virtual Facts facts(const std::string& folder) = 0;  // read back from the runtime; large facts
                                                       // become files in the folder
};

// Defined once, by the compiled runtime.
Facts about(const Options& options);  // the loaded library: reported version and file
std::unique_ptr<Network> load(const Options& options);

// Parses words of name=value.
inline Options options_of(const std::vector<std::string>& words) {
  Options options;
  for (const auto& word : words)
    if (const auto equals = word.find('='); equals != std::string::npos)
      options.given[word.substr(0, equals)] = word.substr(equals + 1);
  return options;
}

inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Tests on this thread whether a denormal number survives a product with 1.
inline std::string denormals() {
  volatile float small = 1e-39f, one = 1.0f;
  return small * one != 0.0f ? "preserved" : "flushed";
}

// Returns the file that contains the function.
inline std::string file_of(const void* function) {
  Dl_info result{};
  return dladdr(function, &result) && result.dli_fname ? result.dli_fname : "";
}

}  // namespace evenbench
