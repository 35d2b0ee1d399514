// The same network behind a C interface, as a program in another language calls it.
#include <sstream>

#include "network.hpp"

using namespace evenbench;

namespace {

struct Handle {
  std::unique_ptr<Network> network;
  std::vector<View> inputs;
  std::vector<Array> outputs;
  std::string text;
};

std::vector<std::string> lines(const char* text) {
  std::vector<std::string> found;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) found.push_back(line);
  return found;
}

std::string joined(const Facts& facts) {
  std::string text;
  for (const auto& [name, value] : facts) text += name + "=" + value + "\n";
  return text;
}

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

// `options` are lines of name=value. Lines of name=value that stay until the next call, or null where it failed.
const char* evenbench_about(const char* options) {
  static thread_local std::string text;
  return guarded([&] { return (text = joined(evenbench::about(options_of(lines(options))))).c_str(); });
}

// Null where it failed.
void* evenbench_load(const char* options) {
  return guarded([&]() -> void* {
    auto handle = std::make_unique<Handle>();
    handle->network = load(options_of(lines(options)));
    return handle.release();
  });
}

// Declares input number `at`, once. 1 where it went well.
int evenbench_input(void* handle, int at, const char* name, const char* type, const std::int64_t* shape, int rank) {
  return guarded([&] {
    auto& inputs = static_cast<Handle*>(handle)->inputs;
    if (static_cast<int>(inputs.size()) <= at) inputs.resize(at + 1);
    const Array declared{name, type, std::vector<std::int64_t>(shape, shape + rank), {}};
    inputs[at] = View{name, type, declared.shape, nullptr, declared.count() * declared.item_bytes()};
    return 1;
  });
}

// Binds the caller's arrays, in the declared order, where they lie; they must stay there until the next bind.
int evenbench_bind(void* handle, const void* const* arrays) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    for (std::size_t at = 0; at < own.inputs.size(); ++at) own.inputs[at].data = static_cast<const char*>(arrays[at]);
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

// Lines of name=value that stay until the next call, or null where it failed.
const char* evenbench_facts(void* handle, const char* folder) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    auto found = own.network->facts(folder);
    found["denormals"] = denormals();
    return (own.text = joined(found)).c_str();
  });
}

void evenbench_close(void* handle) { delete static_cast<Handle*>(handle); }
}
