// The same network behind a C interface, as a program in another language calls it.
#include <cstring>

#include "network.hpp"

using namespace evenbench;

namespace {

struct Handle {
  std::unique_ptr<Network> network;
  std::vector<Array> inputs, outputs;
  std::string text;
};

thread_local std::string last_error;

template <class Call>
auto guarded(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& error) {
    last_error = error.what();
    return {};
  }
}

}  // namespace

extern "C" {

const char* evenbench_error() { return last_error.c_str(); }

// `options` are lines of name=value. Null where it failed.
void* evenbench_load(const char* options) {
  return guarded([&]() -> void* {
    Options given;
    std::string line;
    for (const char* at = options;; ++at) {
      if (*at && *at != '\n') {
        line += *at;
        continue;
      }
      if (const auto equals = line.find('='); equals != std::string::npos) given.given[line.substr(0, equals)] = line.substr(equals + 1);
      line.clear();
      if (!*at) break;
    }
    auto handle = std::make_unique<Handle>();
    handle->network = load(given);
    return handle.release();
  });
}

// Declares input number `at`, once. 1 where it went well.
int evenbench_input(void* handle, int at, const char* name, const char* type, const std::int64_t* shape, int rank) {
  return guarded([&] {
    auto& inputs = static_cast<Handle*>(handle)->inputs;
    if (static_cast<int>(inputs.size()) <= at) inputs.resize(at + 1);
    inputs[at] = Array{name, type, std::vector<std::int64_t>(shape, shape + rank), {}};
    inputs[at].data.resize(inputs[at].count() * inputs[at].item_bytes());
    return 1;
  });
}

// Copies the caller's arrays, in the declared order, and binds them.
int evenbench_bind(void* handle, const void* const* arrays) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    for (std::size_t at = 0; at < own.inputs.size(); ++at) std::memcpy(own.inputs[at].data.data(), arrays[at], own.inputs[at].data.size());
    own.network->bind(own.inputs);
    return 1;
  });
}

// One inference; how long it took by steady_clock, in ns, or 0 where it failed.
std::int64_t evenbench_step(void* handle) {
  return guarded([&] {
    const auto begin = now_ns();
    static_cast<Handle*>(handle)->network->step();
    return now_ns() - begin;
  });
}

// Number of outputs, whose values stay until the next fetch; 0 where it failed.
int evenbench_fetch(void* handle) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    own.outputs = own.network->fetch();
    return static_cast<int>(own.outputs.size());
  });
}

const void* evenbench_output(void* handle, int at, const char** type, const std::int64_t** shape, int* rank) {
  const auto& found = static_cast<Handle*>(handle)->outputs.at(at);
  *type = found.type.c_str();
  *shape = found.shape.data();
  *rank = static_cast<int>(found.shape.size());
  return found.data.data();
}

// Lines of name=value.
const char* evenbench_facts(void* handle) {
  return guarded([&]() -> const char* {
    auto& own = *static_cast<Handle*>(handle);
    own.text.clear();
    auto found = own.network->facts();
    found["denormals"] = denormals();
    for (const auto& [name, value] : found) own.text += name + "=" + value + "\n";
    return own.text.c_str();
  });
}

void evenbench_close(void* handle) { delete static_cast<Handle*>(handle); }
}
