// What each runtime fills in, once for the program and for the shared library: load, bind, step, fetch, facts.
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
  Facts given;  // model, threads, and what else the runtime is told

  const std::string& at(const std::string& name) const {
    const auto found = given.find(name);
    if (found == given.end()) throw std::runtime_error("the option " + name + " is missing");
    return found->second;
  }
  int number(const std::string& name) const { return std::stoi(at(name)); }
  bool is(const std::string& name, const std::string& value) const { return at(name) == value; }

  // Those whose name begins with `kind` and a space, without it: settings that are handed on as they are.
  Facts all(const std::string& kind) const {
    Facts found;
    for (const auto& [name, value] : given)
      if (name.rfind(kind + " ", 0) == 0) found[name.substr(kind.size() + 1)] = value;
    return found;
  }
};

class Network {
 public:
  virtual ~Network() = default;
  virtual void bind(const std::vector<View>& inputs) = 0;  // the memory is the caller's, and stays as it is until the next bind
  virtual void step() = 0;
  virtual std::vector<Array> fetch() = 0;                // copies, in the order of the model's outputs, as large as this answer has them
  virtual Facts facts(const std::string& folder) = 0;    // read back from the runtime; larger files go into the folder
};

// Both are defined once, by the runtime that is compiled in.
Facts about(const Options& options);  // the library that is loaded: the version it reports, and its file
std::unique_ptr<Network> load(const Options& options);

// From words of name=value.
inline Options options_of(const std::vector<std::string>& words) {
  Options options;
  for (const auto& word : words)
    if (const auto equals = word.find('='); equals != std::string::npos) options.given[word.substr(0, equals)] = word.substr(equals + 1);
  return options;
}

inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Multiplies a denormal number by one and looks whether it survives on this thread.
inline std::string denormals() {
  volatile float small = 1e-39f, one = 1.0f;
  return small * one != 0.0f ? "preserved" : "flushed";
}

// The file that the function was loaded from.
inline std::string file_of(const void* function) {
  Dl_info found{};
  return dladdr(function, &found) && found.dli_fname ? found.dli_fname : "";
}

}  // namespace evenbench
