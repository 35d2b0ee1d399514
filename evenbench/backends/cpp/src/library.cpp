// The network behind a C interface, for programs in other languages.
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
  std::vector<std::string> result;
  std::stringstream stream(text);
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
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

// Takes lines of name=value. Returns such lines, valid until the next call, or null on failure.
const char* evenbench_about(const char* options) {
  static thread_local std::string text;
  return guarded(
      [&] { return (text = joined(evenbench::about(options_of(lines(options))))).c_str(); });
}

// Returns null on failure.
void* evenbench_load(const char* options) {
  return guarded([&]() -> void* {
    auto handle = std::make_unique<Handle>();
    handle->network = load(options_of(lines(options)));
    return handle.release();
  });
}

// Declares input number `at`, once. Returns 1 on success.
int evenbench_input(void* handle, int at, const char* name, const char* type,
                    const std::int64_t* shape, int rank) {
  return guarded([&] {
    auto& inputs = static_cast<Handle*>(handle)->inputs;
    if (static_cast<int>(inputs.size()) <= at) inputs.resize(at + 1);
    const Array declared{name, type, std::vector<std::int64_t>(shape, shape + rank), {}};
    inputs[at] =
        View{name, type, declared.shape, nullptr, declared.count() * declared.item_bytes()};
    return 1;
  });
}

// Binds the caller's arrays, in declared order, without a copy: the memory must stay valid until
// the next bind. Returns 1 on success.
int evenbench_bind(void* handle, const void* const* arrays) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    for (std::size_t at = 0; at < own.inputs.size(); ++at)
      own.inputs[at].data = static_cast<const char*>(arrays[at]);
    own.network->bind(own.inputs);
    return 1;
  });
}

// Runs an inference. Returns its duration by steady_clock in ns, or 0 on failure.
std::int64_t evenbench_step(void* handle) {
  return guarded([&] {
    const auto begin = now_ns();
    static_cast<Handle*>(handle)->network->step();
    return now_ns() - begin;
  });
}

// Returns the number of outputs, or 0 on failure. The values stay valid until the next fetch.
int evenbench_fetch(void* handle) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    own.outputs = own.network->fetch();
    return static_cast<int>(own.outputs.size());
  });
}

const void* evenbench_output(void* handle, int at, const char** type, const std::int64_t** shape,
                             int* rank) {
  const auto& result = static_cast<Handle*>(handle)->outputs.at(at);
  *type = result.type.c_str();
  *shape = result.shape.data();
  *rank = static_cast<int>(result.shape.size());
  return result.data.data();
}

// Returns lines of name=value, valid until the next call, or null on failure.
const char* evenbench_facts(void* handle, const char* folder) {
  return guarded([&] {
    auto& own = *static_cast<Handle*>(handle);
    auto result = own.network->facts(folder);
    result["denormals"] = denormals();
    return (own.text = joined(result)).c_str();
  });
}

void evenbench_close(void* handle) { delete static_cast<Handle*>(handle); }
}
