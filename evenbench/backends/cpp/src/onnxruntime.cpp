// ONNX Runtime through its stable C ABI. The wheel has the library but no headers, so functions are
// identified by their index in OrtApi, which only grows at the end. Contract tests call all
// functions, and the caller compares versions.
#include <dlfcn.h>

#include <filesystem>
#include <utility>

#include "network.hpp"

namespace evenbench {
namespace {

using Status = void*;

struct ApiBase {
  const void* const* (*api)(std::uint32_t version);
  const char* (*version)();
};

enum Slot {
  kErrorCode = 1,
  kErrorMessage = 2,
  kCreateEnv = 3,
  kDisableTelemetry = 6,
  kCreateSession = 7,
  kRun = 9,
  kCreateOptions = 10,
  kOptimizedPath = 11,
  kExecutionMode = 13,
  kEnableProfiling = 14,
  kLogLevel = 22,
  kOptimization = 23,
  kIntraThreads = 24,
  kInterThreads = 25,
  kInputCount = 30,
  kOutputCount = 31,
  kInputName = 36,
  kOutputName = 37,
  kCreateTensor = 49,
  kTensorData = 51,
  kElementType = 60,
  kDimensionCount = 61,
  kDimensions = 62,
  kTypeAndShape = 65,
  kCpuMemory = 69,
  kAllocatorFree = 76,
  kDefaultAllocator = 78,
  kReleaseEnv = 92,
  kReleaseStatus = 93,
  kReleaseMemory = 94,
  kReleaseSession = 95,
  kReleaseValue = 96,
  kReleaseTypeAndShape = 99,
  kReleaseOptions = 100,
  kEndProfiling = 110,
  kConfigEntry = 130,
  kGetConfigEntry = 238
};

constexpr std::uint32_t kApiVersion = 20;  // ONNX Runtime 1.20; all functions used here are older

constexpr int kNotImplemented = 9;  // OrtErrorCode

struct Type {
  int code;
  const char* name;
};
constexpr Type kTypes[] = {{1, "f4"}, {2, "u1"}, {3, "i1"},  {6, "i4"},
                           {7, "i8"}, {9, "b1"}, {10, "f2"}, {11, "f8"}};

int code_of(const std::string& name) {
  for (const auto& type : kTypes)
    if (name == type.name) return type.code;
  throw std::runtime_error("ONNX Runtime has no tensors of " + name + " here");
}

std::string name_of(int code) {
  for (const auto& type : kTypes)
    if (code == type.code) return type.name;
  throw std::runtime_error("ONNX Runtime's element type " + std::to_string(code) +
                           " has no NumPy counterpart here");
}

// Opens the library; repeated calls return the same library.
const ApiBase* base_of(const Options& options) {
  void* library = dlopen(options.at("library").c_str(), RTLD_NOW | RTLD_LOCAL);
  void* entry = library ? dlsym(library, "OrtGetApiBase") : nullptr;
  if (!entry) throw std::runtime_error(dlerror());
  return reinterpret_cast<const ApiBase* (*)()>(entry)();
}

// Returns the number of threads of this process.
int threads_here() {
  int count = 0;
  for ([[maybe_unused]] const auto& thread : std::filesystem::directory_iterator("/proc/self/task"))
    ++count;
  return count;
}

class Session final : public Network {
 public:
  explicit Session(const Options& options) : options_(options) {
    const auto base = base_of(options);
    api_ = base->api(kApiVersion);
    if (!api_)
      throw std::runtime_error(std::string("ONNX Runtime ") + base->version() + " has no version " +
                               std::to_string(kApiVersion) + " of its C API");
    try {
      open();
    } catch (...) {
      close();
      throw;
    }
  }

  ~Session() override { close(); }

  void bind(const std::vector<View>& inputs) override {
    release(bound_);
    bound_.clear();
    for (const auto& name : inputs_) {
      const View* result = nullptr;
      for (const auto& input : inputs)
        if (input.name == name) result = &input;
      if (!result) throw std::runtime_error("the model's input " + name + " is missing");
      void* value = nullptr;
      call(kCreateTensor, memory_, const_cast<char*>(result->data), result->bytes,
           result->shape.data(), result->shape.size(), code_of(result->type), &value);
      bound_.push_back(value);
    }
  }

  void step() override {
    release(results_);
    run(session_, results_);
  }

  std::vector<Array> fetch() override {
    std::vector<Array> arrays;
    for (std::size_t at = 0; at < results_.size(); ++at) {
      void *facts = nullptr, *data = nullptr;
      std::size_t rank = 0;
      int code = 0;
      call(kTypeAndShape, results_[at], &facts);
      call(kElementType, facts, &code);
      call(kDimensionCount, facts, &rank);
      Array array{outputs_[at], name_of(code), std::vector<std::int64_t>(rank), {}};
      call(kDimensions, facts, array.shape.data(), rank);
      call(kTensorData, results_[at], &data);
      const auto bytes = array.count() * array.item_bytes();
      array.data.assign(static_cast<char*>(data), static_cast<char*>(data) + bytes);
      release(kReleaseTypeAndShape, facts);
      arrays.push_back(std::move(array));
    }
    return arrays;
  }

  // Profiles a second session on the bound inputs, as the first session doesn't report executed
  // nodes.
  Facts facts(const std::string& folder) override {
    if (bound_.empty())
      throw std::runtime_error("no inputs are bound; bind inputs before reading facts");
    void *settings = make_settings(), *profiled = nullptr;
    const auto written = folder + "/optimised.onnx", prefix = folder + "/profile";
    std::vector<void*> results(outputs_.size(), nullptr);
    call(kEnableProfiling, settings, prefix.c_str());
    if (options_.is("write_optimized", "yes")) call(kOptimizedPath, settings, written.c_str());
    call(kCreateSession, environment_, options_.at("model").c_str(), settings, &profiled);
    for (int times = 0; times < options_.number("profiled_runs"); ++times)
      release(results), run(profiled, results);
    release(results);
    void* allocator = nullptr;
    char* profile = nullptr;
    call(kDefaultAllocator, &allocator);
    call(kEndProfiling, profiled, allocator, &profile);
    Facts result{{"threads", std::to_string(threads_)},
                 {"spinning", entry("session.intra_op.allow_spinning") == "1" ? "on" : "off"},
                 {"denormals_as_zero", entry("session.set_denormal_as_zero")},
                 {"profile", profile}};
    if (std::filesystem::exists(written)) result["optimised"] = written;
    call(kAllocatorFree, allocator, profile);
    release(kReleaseSession, profiled), release(kReleaseOptions, settings);
    return result;
  }

 private:
  void open() {
    call(kCreateEnv, 3, "evenbench", &environment_);
    call(kDisableTelemetry, environment_);
    settings_ = make_settings();
    const auto before = threads_here();
    call(kCreateSession, environment_, options_.at("model").c_str(), settings_, &session_);
    threads_ = 1 + threads_here() - before;  // includes the calling thread; the C API has no getter
    call(kCpuMemory, 1, 0, &memory_);
    inputs_ = names(kInputCount, kInputName);
    outputs_ = names(kOutputCount, kOutputName);
    input_names_ = pointers(inputs_), output_names_ = pointers(outputs_);
    results_.resize(outputs_.size(), nullptr);
  }

  void close() {
    release(bound_), release(results_);
    release(kReleaseMemory, memory_), release(kReleaseSession, session_),
        release(kReleaseOptions, settings_), release(kReleaseEnv, environment_);
  }

  void* make_settings() const {
    void* settings = nullptr;
    call(kCreateOptions, &settings);
    call(kIntraThreads, settings, options_.number("threads"));
    call(kInterThreads, settings, 1);
    call(kExecutionMode, settings, 0);  // sequential
    call(kOptimization, settings, 99);  // all
    call(kLogLevel, settings, 3);       // errors
    for (const auto& [name, value] : options_.all("entry"))
      call(kConfigEntry, settings, name.c_str(), value.c_str());
    return settings;
  }

  std::string entry(const char* name) const {
    char value[64] = {};
    std::size_t room = sizeof value;
    call(kGetConfigEntry, settings_, name, value, &room);
    return value;
  }

  void run(void* session, std::vector<void*>& results) const {
    call(kRun, session, nullptr, input_names_.data(), bound_.data(), bound_.size(),
         output_names_.data(), results.size(), results.data());
  }

  template <class... Arguments>
  void call(Slot slot, Arguments... arguments) const {
    const auto status =
        reinterpret_cast<Status (*)(Arguments...)>(const_cast<void*>(api_[slot]))(arguments...);
    if (!status) return;
    std::string message =
        reinterpret_cast<const char* (*)(Status)>(const_cast<void*>(api_[kErrorMessage]))(status);
    if (reinterpret_cast<int (*)(Status)>(const_cast<void*>(api_[kErrorCode]))(status) ==
        kNotImplemented)
      message = "NOT_IMPLEMENTED : " + message;
    reinterpret_cast<void (*)(Status)>(const_cast<void*>(api_[kReleaseStatus]))(status);
    throw std::runtime_error(message);
  }

  std::vector<std::string> names(Slot count, Slot name) const {
    std::size_t many = 0;
    void* allocator = nullptr;
    call(count, session_, &many);
    call(kDefaultAllocator, &allocator);
    std::vector<std::string> result;
    for (std::size_t at = 0; at < many; ++at) {
      char* text = nullptr;
      call(name, session_, at, allocator, &text);
      result.emplace_back(text);
      call(kAllocatorFree, allocator, text);
    }
    return result;
  }

  static std::vector<const char*> pointers(const std::vector<std::string>& names) {
    std::vector<const char*> result;
    for (const auto& name : names) result.push_back(name.c_str());
    return result;
  }

  void release(Slot slot, void* value) const {
    if (value) reinterpret_cast<void (*)(void*)>(const_cast<void*>(api_[slot]))(value);
  }

  void release(std::vector<void*>& values) const {
    for (auto& value : values) release(kReleaseValue, std::exchange(value, nullptr));
  }

  const Options options_;
  const void* const* api_ = nullptr;
  int threads_ = 0;
  void *environment_ = nullptr, *settings_ = nullptr, *session_ = nullptr, *memory_ = nullptr;
  std::vector<std::string> inputs_, outputs_;
  std::vector<const char*> input_names_, output_names_;
  std::vector<void*> bound_, results_;
};

}  // namespace

Facts about(const Options& options) {
  const auto base = base_of(options);
  return {{"version", base->version()},
          {"library", file_of(reinterpret_cast<const void*>(base->version))}};
}

std::unique_ptr<Network> load(const Options& options) { return std::make_unique<Session>(options); }

}  // namespace evenbench
