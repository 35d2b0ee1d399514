// OpenVINO: one infer request, reused; inputs are copied into its tensors, as the Python API does by default.
#include <openvino/openvino.hpp>

#include "network.hpp"

namespace evenbench {
namespace {

struct Type {
  ov::element::Type_t kind;
  const char* name;
};
constexpr Type kTypes[] = {{ov::element::f32, "f4"}, {ov::element::f64, "f8"}, {ov::element::f16, "f2"}, {ov::element::i64, "i8"},
                           {ov::element::i32, "i4"}, {ov::element::u8, "u1"}, {ov::element::i8, "i1"}, {ov::element::boolean, "b1"}};

std::string name_of(const ov::element::Type& kind) {
  for (const auto& type : kTypes)
    if (kind == type.kind) return type.name;
  throw std::runtime_error("OpenVINO's element type " + kind.get_type_name() + " has no NumPy counterpart here");
}

class Request final : public Network {
 public:
  explicit Request(const Options& options) {
    auto model = core_.read_model(options.at("model"));
    if (model->is_dynamic()) {
      std::map<std::string, ov::PartialShape> shapes;
      for (const auto& [name, value] : options.given)
        if (name.rfind("shape ", 0) == 0) shapes[name.substr(6)] = ov::PartialShape("[" + value + "]");
      model->reshape(shapes);
    }
    ov::AnyMap properties{{"PERFORMANCE_HINT", "LATENCY"},
                          {"NUM_STREAMS", "1"},
                          {"INFERENCE_NUM_THREADS", options.at("threads")},
                          {"CPU_DENORMALS_OPTIMIZATION", "NO"},
                          {"ENABLE_CPU_PINNING", "NO"},
                          {"INFERENCE_PRECISION_HINT", options.at("precision_hint")}};
    compiled_ = core_.compile_model(model, options.at("device"), properties);
    request_ = compiled_.create_infer_request();
  }

  void bind(const std::vector<Array>& inputs) override {
    for (const auto& input : inputs) {
      auto tensor = request_.get_tensor(input.name);
      if (tensor.get_byte_size() != input.data.size()) throw std::runtime_error("input " + input.name + " has another size than the model's");
      std::memcpy(tensor.data(), input.data.data(), input.data.size());
    }
  }

  void step() override { request_.infer(); }

  std::vector<Array> fetch() override {
    std::vector<Array> made;
    for (std::size_t at = 0; at < compiled_.outputs().size(); ++at) {
      const auto tensor = request_.get_output_tensor(at);
      Array array{"", name_of(tensor.get_element_type()), {}, {}};
      for (auto size : tensor.get_shape()) array.shape.push_back(static_cast<std::int64_t>(size));
      const auto* data = static_cast<const char*>(tensor.data());
      array.data.assign(data, data + tensor.get_byte_size());
      made.push_back(std::move(array));
    }
    return made;
  }

  Facts facts() override {
    Facts found{{"version", ov::get_openvino_version().buildNumber}};
    for (const auto* name : {"INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT", "ENABLE_CPU_PINNING",
                             "CPU_DENORMALS_OPTIMIZATION", "EXECUTION_DEVICES"})
      found[name] = compiled_.get_property(name).as<std::string>();
    std::map<std::string, int> executed;
    for (const auto& node : compiled_.get_runtime_model()->get_ordered_ops()) {
      const auto& info = node->get_rt_info();
      const auto kind = info.find("layerType"), precision = info.find("runtimePrecision");
      if (kind != info.end() && precision != info.end()) ++executed[kind->second.as<std::string>() + " " + precision->second.as<std::string>()];
    }
    for (const auto& [name, count] : executed) found["executed " + name] = std::to_string(count);
    return found;
  }

 private:
  ov::Core core_;
  ov::CompiledModel compiled_;
  ov::InferRequest request_;
};

}  // namespace

std::unique_ptr<Network> load(const Options& options) { return std::make_unique<Request>(options); }

}  // namespace evenbench
