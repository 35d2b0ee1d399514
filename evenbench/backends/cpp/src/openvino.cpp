// OpenVINO: a reused infer request; inputs are copied into its tensors, as the Python API does by
// default.
#include <algorithm>
#include <cstring>
#include <openvino/op/constant.hpp>
#include <openvino/openvino.hpp>

#include "network.hpp"

namespace evenbench {
namespace {

struct Type {
  ov::element::Type_t kind;
  const char* name;
};
constexpr Type kTypes[] = {{ov::element::f32, "f4"}, {ov::element::f64, "f8"},
                           {ov::element::f16, "f2"}, {ov::element::i64, "i8"},
                           {ov::element::i32, "i4"}, {ov::element::u8, "u1"},
                           {ov::element::i8, "i1"},  {ov::element::boolean, "b1"}};

std::string name_of(const ov::element::Type& kind) {
  for (const auto& type : kTypes)
    if (kind == type.kind) return type.name;
  throw std::runtime_error("OpenVINO's element type " + kind.get_type_name() +
                           " has no NumPy counterpart here");
}

class Request final : public Network {
 public:
  explicit Request(const Options& options) : read_("," + options.at("read") + ",") {
    auto model = core_.read_model(options.at("model"));
    if (model->is_dynamic()) {
      std::map<std::string, ov::PartialShape> shapes;
      for (const auto& [name, sizes] : options.all("shape"))
        shapes[name] = ov::PartialShape("[" + sizes + "]");
      model->reshape(shapes);
    }
    for (const auto& node : model->get_ordered_ops())
      if (const auto held = ov::as_type_ptr<ov::op::v0::Constant>(node))
        stored_[held->get_element_type().get_type_name()] += held->get_byte_size();
    const auto& device = options.at("device");
    const auto known = core_.get_property(device, ov::supported_properties);
    ov::AnyMap properties;
    for (const auto& [name, value] : options.all("property"))
      if (name == "CPU_DENORMALS_OPTIMIZATION" ||
          std::find(known.begin(), known.end(), name) != known.end())
        properties[name] = value;
    if (options.given.count("hint")) {
      const auto able = core_.get_property(device, ov::device::capabilities);
      const bool narrow =
          std::find(able.begin(), able.end(), options.at("hint_needs")) != able.end();
      properties["INFERENCE_PRECISION_HINT"] = narrow ? options.at("hint") : "f32";
    }
    compiled_ = core_.compile_model(model, device, properties);
    request_ = compiled_.create_infer_request();
  }

  void bind(const std::vector<View>& inputs) override {
    for (const auto& input : inputs) {
      auto tensor = request_.get_tensor(input.name);
      if (tensor.get_byte_size() != input.bytes)
        throw std::runtime_error("input " + input.name + " differs in size from the model's input");
      std::memcpy(tensor.data(), input.data, input.bytes);
    }
  }

  void step() override { request_.infer(); }

  std::vector<Array> fetch() override {
    std::vector<Array> arrays;
    for (std::size_t at = 0; at < compiled_.outputs().size(); ++at) {
      const auto tensor = request_.get_output_tensor(at);
      Array array{"", name_of(tensor.get_element_type()), {}, {}};
      for (auto size : tensor.get_shape()) array.shape.push_back(static_cast<std::int64_t>(size));
      if (tensor.get_size()) {  // a tensor without elements may have no memory
        const auto* data = static_cast<const char*>(tensor.data());
        array.data.assign(data, data + tensor.get_byte_size());
      }
      arrays.push_back(std::move(array));
    }
    return arrays;
  }

  Facts facts(const std::string&) override {
    Facts facts;
    for (const auto& name : compiled_.get_property(ov::supported_properties))
      if (read_.find("," + name + ",") != std::string::npos)
        facts["property " + name] = compiled_.get_property(name).as<std::string>();
    std::size_t most = 0;
    for (const auto& [name, bytes] : stored_)
      if (bytes > most) most = bytes, facts["stored"] = name;
    std::map<std::string, int> executed;
    for (const auto& node : compiled_.get_runtime_model()->get_ordered_ops()) {
      const auto& info = node->get_rt_info();
      const auto kind = info.find("layerType"), precision = info.find("runtimePrecision");
      if (kind != info.end() && precision != info.end())
        ++executed[kind->second.as<std::string>() + " " + precision->second.as<std::string>()];
    }
    for (const auto& [name, count] : executed) facts["executed " + name] = std::to_string(count);
    return facts;
  }

 private:
  const std::string read_;  // comma-separated names of properties
  ov::Core core_;
  ov::CompiledModel compiled_;
  ov::InferRequest request_;
  std::map<std::string, std::size_t> stored_;
};

}  // namespace

Facts about(const Options&) {
  return {{"version", ov::get_openvino_version().buildNumber},
          {"library", file_of(reinterpret_cast<void*>(&ov::get_openvino_version))}};
}

std::unique_ptr<Network> load(const Options& options) { return std::make_unique<Request>(options); }

}  // namespace evenbench
