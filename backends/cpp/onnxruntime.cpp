// ONNX Runtime through its stable C ABI. The wheel carries the library and no headers: the functions below are named by their place in
// OrtApi, to which entries are only ever appended. Each is called when a model is loaded, and the version is compared by the caller.
#include <dlfcn.h>

#include "network.hpp"

namespace evenbench {
namespace {

using Status = void*;

struct ApiBase {
  const void* const* (*api)(std::uint32_t version);
  const char* (*version)();
};

enum Slot {
  kErrorMessage = 2, kCreateEnv = 3, kDisableTelemetry = 6, kCreateSession = 7, kRun = 9, kCreateOptions = 10, kExecutionMode = 13,
  kLogLevel = 22, kOptimization = 23, kIntraThreads = 24, kInterThreads = 25, kInputCount = 30, kOutputCount = 31, kInputName = 36,
  kOutputName = 37, kCreateTensor = 49, kTensorData = 51, kElementType = 60, kDimensionCount = 61, kDimensions = 62, kTypeAndShape = 65,
  kCpuMemory = 69, kDefaultAllocator = 78, kReleaseStatus = 93, kReleaseValue = 96, kReleaseTypeAndShape = 99, kConfigEntry = 130
};

constexpr std::uint32_t kApiVersion = 20;  // ONNX Runtime 1.20; everything used here is older

struct Type {
  int code;
  const char* name;
};
constexpr Type kTypes[] = {{1, "f4"}, {2, "u1"}, {3, "i1"}, {6, "i4"}, {7, "i8"}, {9, "b1"}, {10, "f2"}, {11, "f8"}};

int code_of(const std::string& name) {
  for (const auto& type : kTypes)
    if (name == type.name) return type.code;
  throw std::runtime_error("ONNX Runtime has no tensors of " + name + " here");
}

std::string name_of(int code) {
  for (const auto& type : kTypes)
    if (code == type.code) return type.name;
  throw std::runtime_error("ONNX Runtime's element type " + std::to_string(code) + " has no NumPy counterpart here");
}

class Session final : public Network {
 public:
  explicit Session(const Options& options) {
    void* library = dlopen(options.at("library").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) throw std::runtime_error(dlerror());
    const auto base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"))();
    version_ = base->version();
    api_ = base->api(kApiVersion);
    if (!api_) throw std::runtime_error("ONNX Runtime " + version_ + " does not speak version " + std::to_string(kApiVersion) + " of its C API");
    void *environment = nullptr, *settings = nullptr;
    call(kCreateEnv, 3, "evenbench", &environment);
    call(kDisableTelemetry, environment);
    call(kCreateOptions, &settings);
    threads_ = options.number("threads");
    call(kIntraThreads, settings, threads_);
    call(kInterThreads, settings, 1);
    call(kExecutionMode, settings, 0);
    call(kOptimization, settings, 99);
    call(kLogLevel, settings, 3);
    call(kConfigEntry, settings, "session.set_denormal_as_zero", "0");
    spinning_ = options.is("spinning", "on");
    call(kConfigEntry, settings, "session.intra_op.allow_spinning", spinning_ ? "1" : "0");
    call(kCreateSession, environment, options.at("model").c_str(), settings, &session_);
    call(kCpuMemory, 1, 0, &memory_);
    inputs_ = names(kInputCount, kInputName);
    outputs_ = names(kOutputCount, kOutputName);
    results_.resize(outputs_.size(), nullptr);
  }

  ~Session() override { release(bound_), release(results_); }

  void bind(const std::vector<Array>& inputs) override {
    release(bound_);
    bound_.clear();
    for (const auto& name : inputs_) {
      const Array* found = nullptr;
      for (const auto& input : inputs)
        if (input.name == name) found = &input;
      if (!found) throw std::runtime_error("the model wants " + name + ", which is not among the inputs");
      void* value = nullptr;
      call(kCreateTensor, memory_, const_cast<char*>(found->data.data()), found->data.size(), found->shape.data(), found->shape.size(),
           code_of(found->type), &value);
      bound_.push_back(value);
    }
  }

  void step() override {
    release(results_);
    call(kRun, session_, nullptr, pointers(inputs_).data(), bound_.data(), bound_.size(), pointers(outputs_).data(), outputs_.size(),
         results_.data());
  }

  std::vector<Array> fetch() override {
    std::vector<Array> made;
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
      reinterpret_cast<void (*)(void*)>(const_cast<void*>(api_[kReleaseTypeAndShape]))(facts);
      made.push_back(std::move(array));
    }
    return made;
  }

  Facts facts() override {
    return {{"version", version_}, {"threads", std::to_string(threads_)}, {"spinning", spinning_ ? "on" : "off"}};
  }

 private:
  template <class... Arguments>
  void call(Slot slot, Arguments... arguments) const {
    const auto status = reinterpret_cast<Status (*)(Arguments...)>(const_cast<void*>(api_[slot]))(arguments...);
    if (!status) return;
    const std::string message = reinterpret_cast<const char* (*)(Status)>(const_cast<void*>(api_[kErrorMessage]))(status);
    reinterpret_cast<void (*)(Status)>(const_cast<void*>(api_[kReleaseStatus]))(status);
    throw std::runtime_error(message);
  }

  std::vector<std::string> names(Slot count, Slot name) const {
    std::size_t many = 0;
    void* allocator = nullptr;
    call(count, session_, &many);
    call(kDefaultAllocator, &allocator);
    std::vector<std::string> found;
    for (std::size_t at = 0; at < many; ++at) {
      char* text = nullptr;
      call(name, session_, at, allocator, &text);
      found.emplace_back(text);
    }
    return found;
  }

  static std::vector<const char*> pointers(const std::vector<std::string>& names) {
    std::vector<const char*> found;
    for (const auto& name : names) found.push_back(name.c_str());
    return found;
  }

  void release(std::vector<void*>& values) const {
    for (auto& value : values)
      if (value) reinterpret_cast<void (*)(void*)>(const_cast<void*>(api_[kReleaseValue]))(value), value = nullptr;
  }

  const void* const* api_ = nullptr;
  std::string version_;
  int threads_ = 0;
  bool spinning_ = true;
  void *session_ = nullptr, *memory_ = nullptr;
  std::vector<std::string> inputs_, outputs_;
  std::vector<void*> bound_, results_;
};

}  // namespace

std::unique_ptr<Network> load(const Options& options) { return std::make_unique<Session>(options); }

}  // namespace evenbench
