// libtorch: a frozen TorchScript file, or an AOTInductor package through its C++ loader.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/passes/frozen_graph_optimizations.h>
#include <torch/script.h>

#include <set>

#include "network.hpp"

namespace evenbench {
namespace {

struct Type {
  c10::ScalarType kind;
  const char* name;
};
constexpr Type kTypes[] = {{at::kFloat, "f4"}, {at::kDouble, "f8"}, {at::kHalf, "f2"},
                           {at::kLong, "i8"},  {at::kInt, "i4"},    {at::kByte, "u1"},
                           {at::kChar, "i1"},  {at::kBool, "b1"}};

// Loads the module in a file. A module with torchvision's operators, such as a detector, first
// needs the library that registers these operators.
torch::jit::Module read(const Options& options) {
  const auto& file = options.at("model");
  try {
    return torch::jit::load(file);
  } catch (const std::exception& error) {
    if (!options.given.count("operators") ||
        std::string(error.what()).find("torchvision::") == std::string::npos)
      throw;
  }
  const auto& library = options.at("operators");
  if (!dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL))
    throw std::runtime_error(
        "the module calls operators of torchvision::, but their library cannot be loaded: " +
        std::string(dlerror()));
  return torch::jit::load(file);
}

class Module final : public Network {
 public:
  explicit Module(const Options& options) {
    at::set_num_threads(options.number("threads"));
    if (at::get_num_interop_threads() != 1) at::set_num_interop_threads(1);
    at::globalContext().setFlushDenormal(false);
    at::globalContext().setFloat32MatmulPrecision("highest");
    if (options.is("artifact", "aot")) {
      package_ =
          std::make_unique<torch::inductor::AOTIModelPackageLoader>(options.at("model"), "model");
    } else {
      auto module = read(options);
      script_ = torch::jit::optimize_for_inference(module);
      for (const auto* node : torch::jit::findAllNodes(*script_.get_method("forward").graph(),
                                                       c10::prim::Constant, true))
        if (node->hasAttribute(c10::attr::value) &&
            node->kindOf(c10::attr::value) == torch::jit::AttributeKind::t &&
            node->t(c10::attr::value).dim())  // numbers without a dimension are arguments
          held_.insert(node->t(c10::attr::value).scalar_type());
    }
  }

  void bind(const std::vector<View>& inputs) override {
    tensors_.clear();
    for (const auto& input : inputs)
      tensors_.push_back(at::from_blob(const_cast<char*>(input.data), input.shape,
                                       at::TensorOptions().dtype(kind_of(input.type))));
  }

  void step() override {
    c10::InferenceMode guard;
    if (package_) {
      results_ = package_->run(tensors_);
      return;
    }
    std::vector<c10::IValue> stack(tensors_.begin(), tensors_.end());
    results_ = flattened(script_.forward(std::move(stack)));
  }

  std::vector<Array> fetch() override {
    std::vector<Array> arrays;
    for (const auto& result : results_) {
      const auto tensor = result.contiguous();
      Array array{"", name_of(tensor.scalar_type()), tensor.sizes().vec(), {}};
      const auto* data = static_cast<const char*>(tensor.const_data_ptr());
      array.data.assign(data, data + tensor.nbytes());
      arrays.push_back(std::move(array));
    }
    return arrays;
  }

  Facts facts(const std::string&) override {
    std::string types;
    auto seen = held_;
    if (seen.empty())  // a package doesn't expose its constants
      for (const auto& result : results_) seen.insert(result.scalar_type());
    for (auto kind : seen)
      if (c10::isFloatingType(kind))
        types += (types.empty() ? "" : ",") + std::string(c10::toString(kind));
    const bool highest =
        at::globalContext().float32MatmulPrecision() == at::Float32MatmulPrecision::HIGHEST;
    return {{"threads", std::to_string(at::get_num_threads())},
            {"interop_threads", std::to_string(at::get_num_interop_threads())},
            {"float32_matmul_precision", highest ? "highest" : "lower"},
            {"cpu_capability", at::get_cpu_capability()},
            {"types", types}};
  }

 private:
  static c10::ScalarType kind_of(const std::string& name) {
    for (const auto& type : kTypes)
      if (name == type.name) return type.kind;
    throw std::runtime_error("libtorch has no tensors of " + name + " here");
  }
  static std::string name_of(c10::ScalarType kind) {
    for (const auto& type : kTypes)
      if (kind == type.kind) return type.name;
    throw std::runtime_error(std::string("libtorch's type ") + c10::toString(kind) +
                             " has no NumPy counterpart here");
  }
  static std::vector<at::Tensor> flattened(const c10::IValue& value) {
    if (value.isTensor()) return {value.toTensor()};
    if (value.isTensorList()) return value.toTensorVector();
    std::vector<at::Tensor> tensors;
    if (value.isTuple())
      for (const auto& element : value.toTupleRef().elements())
        for (auto& tensor : flattened(element)) tensors.push_back(tensor);
    else if (value.isGenericDict())
      for (const auto& entry : value.toGenericDict())
        for (auto& tensor : flattened(entry.value())) tensors.push_back(tensor);
    else
      throw std::runtime_error("the module returns a " + value.tagKind() + "; expected tensors");
    return tensors;
  }

  torch::jit::Module script_;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> package_;
  std::vector<at::Tensor> tensors_, results_;
  std::set<c10::ScalarType> held_;
};

}  // namespace

Facts about(const Options&) {
  const auto number =
      aoti_torch_abi_version();  // compiled into the library, unlike the headers' TORCH_VERSION
  const auto byte = [&](int at) { return std::to_string((number >> at) & 0xff); };
  return {{"version", byte(56) + "." + byte(48) + "." + byte(40)},
          {"library", file_of(reinterpret_cast<void*>(&aoti_torch_abi_version))}};
}

std::unique_ptr<Network> load(const Options& options) { return std::make_unique<Module>(options); }

}  // namespace evenbench
