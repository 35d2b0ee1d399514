// What each runtime fills in, once for the program and for the shared library: load, bind, step, fetch, facts.
#pragma once

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
  Facts given;  // model, threads, spinning, and what else the runtime is told

  const std::string& at(const std::string& name) const {
    const auto found = given.find(name);
    if (found == given.end()) throw std::runtime_error("the option " + name + " is missing");
    return found->second;
  }
  int number(const std::string& name) const { return std::stoi(at(name)); }
  bool is(const std::string& name, const std::string& value) const { return at(name) == value; }
};

class Network {
 public:
  virtual ~Network() = default;
  virtual void bind(const std::vector<Array>& inputs) = 0;  // what is bound stays where it is until the next bind
  virtual void step() = 0;
  virtual std::vector<Array> fetch() = 0;  // copies, in the order of the model's outputs
  virtual Facts facts() = 0;               // read back from the runtime
};

std::unique_ptr<Network> load(const Options& options);  // defined once, by the runtime that is compiled in

inline std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Multiplies the smallest normal number down and looks whether the result survives on this thread.
inline std::string denormals() {
  volatile float small = 1e-39f, one = 1.0f;
  return small * one != 0.0f ? "preserved" : "flushed";
}

}  // namespace evenbench
