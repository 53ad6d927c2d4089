#include "tenure/engine/tensorrt/compiled.h"

#include <algorithm>
#include <utility>

#include "tenure/engine/tensorrt/aliases.h"
#include "tenure/engine/tensorrt/convert.h"
#include "tenure/engine/tensorrt/log.h"

namespace tenure::tensorrt {
namespace {

using nvinfer1::OptProfileSelector;
using nvinfer1::TensorIOMode;

std::string_view plural(BindingRole role) { return role == BindingRole::kInput ? "inputs" : "outputs"; }

// In the order of the manifest: by name where the blob has all of its names, else the two orders are one.
std::vector<std::string> names_of(const nvinfer1::ICudaEngine& engine, const EngineSpec& spec, BindingRole role) {
  const TensorIOMode wanted = role == BindingRole::kInput ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  std::vector<std::string> names;
  for (int32_t index = 0; index < engine.getNbIOTensors(); ++index)
    if (const char* name = engine.getIOTensorName(index); engine.getTensorIOMode(name) == wanted) names.emplace_back(name);
  std::vector<std::string> told;
  for (const Binding& binding : bindings_of(spec, role)) told.push_back(binding.name);
  return std::is_permutation(names.begin(), names.end(), told.begin(), told.end()) ? told : names;
}

}  // namespace

Compiled::Compiled(std::unique_ptr<nvinfer1::ICudaEngine> engine, const EngineSpec& spec, c10::Device device)
    : name_(spec.name),
      device_(device),
      engine_(std::move(engine)),
      inputs_(make_ports(spec, BindingRole::kInput)),
      outputs_(make_ports(spec, BindingRole::kOutput)),
      profiles_(make_profiles()),
      has_host_inputs_(std::any_of(inputs_.begin(), inputs_.end(), [](const Port& port) { return port.on_host; })),
      no_elements_(allocate(device, 256)),
      execution_contexts_(make_execution_contexts(*engine_, spec.options)) {}

std::vector<Port> Compiled::make_ports(const EngineSpec& spec, BindingRole role) const {
  const std::vector<std::string> names = names_of(*engine_, spec, role);
  std::vector<BindingGuard> guards = make_guards(spec, role);
  check(names.size() == guards.size(), ErrorCode::kBadFile, "engine \"", name_, "\": the manifest tells of ", guards.size(), " ",
        plural(role), ", the blob has ", names.size());
  std::vector<Port> ports;
  for (size_t index = 0; index < names.size(); ++index)
    ports.push_back(make_port(names[index].c_str(), std::move(guards[index]), spec, role, index));
  return ports;
}

Port Compiled::make_port(const char* name, BindingGuard guard, const EngineSpec& spec, BindingRole role, size_t index) const {
  const nvinfer1::DataType type = engine_->getTensorDataType(name);
  const nvinfer1::Dims dims = engine_->getTensorShape(name);
  const nvinfer1::DataType expected = with_context([&] { return guard.label(); }, [&] { return to_data_type(guard.dtype()); });
  check(type == expected && agree(dims, guard.static_sizes()), ErrorCode::kBadFile, guard.label(), ": the manifest says ",
        guard.expected(), ", the blob ", name_of(type), " ", text_of(dims));
  check(engine_->getTensorFormat(name) == nvinfer1::TensorFormat::kLINEAR, ErrorCode::kUnsupported, guard.label(),
        ": the blob wants it as ", engine_->getTensorFormatDesc(name),
        "; tensors at the border of an engine are dense: build the "
        "engine with linear formats for its inputs and outputs");
  Port port{.guard = std::move(guard),
            .name = name,
            .on_host = engine_->getTensorLocation(name) == nvinfer1::TensorLocation::kHOST,
            .aliases = std::nullopt};
  if (role == BindingRole::kInput) return port;
  port.is_made = sizes_depend_on_data(spec.outputs[index]);
  if (const char* const input = aliased_input(*engine_, name)) {
    for (size_t i = 0; i < inputs_.size(); ++i)
      if (inputs_[i].name == input) port.aliases = i;
  }
  const std::optional<size_t> told = spec.outputs[index].aliases_input;
  check(!told || port.aliases == told, ErrorCode::kUnsupported, port.guard.label(), " is to be written into the memory of input ",
        told.value_or(0), ", which this TensorRT engine does not do");
  check(port.aliases == told, ErrorCode::kBadFile, port.guard.label(),
        ": the blob writes it into the memory of an input, of which the manifest says nothing");
  return port;
}

std::vector<Compiled::Profile> Compiled::make_profiles() const {
  std::vector<Profile> profiles(static_cast<size_t>(std::max(engine_->getNbOptimizationProfiles(), 1)));
  for (size_t index = 0; index < profiles.size(); ++index) {
    for (const Port& input : inputs_) {
      const auto bound = [&](OptProfileSelector select) {
        return engine_->getProfileShape(input.name.c_str(), static_cast<int32_t>(index), select);
      };
      profiles[index].push_back({bound(OptProfileSelector::kMIN), bound(OptProfileSelector::kMAX)});
    }
  }
  return profiles;
}

size_t Compiled::profile_for(const std::vector<std::vector<int64_t>>& sizes) const {
  for (size_t index = 0; index < profiles_.size(); ++index) {
    const Profile& profile = profiles_[index];
    bool fits = true;
    for (size_t input = 0; input < sizes.size(); ++input) {
      const bool is_told = profile[input].low.nbDims == static_cast<int32_t>(sizes[input].size());
      fits &= !is_told || is_within(sizes[input], profile[input].low, profile[input].high);
    }
    if (fits) return index;
  }
  std::string given;
  for (const auto& each : sizes) given += (given.empty() ? "" : ", ") + sizes_text(each);
  throw Error(ErrorCode::kInvalidArgument, concat("engine \"", name_, "\": no optimisation profile takes inputs of the sizes ",
                                                  given, "; it has ", profiles_text(), "; compile the program for these sizes"));
}

std::string Compiled::profiles_text() const {
  std::string text;
  for (const Profile& profile : profiles_) {
    text += text.empty() ? "" : " and ";
    for (size_t input = 0; input < profile.size(); ++input)
      text += concat(input == 0 ? "" : ", ", text_of(profile[input].low), " to ", text_of(profile[input].high));
  }
  return text;
}

std::unique_ptr<EngineContext> Compiled::make_context() { return std::make_unique<Context>(*this); }

std::unique_ptr<nvinfer1::IExecutionContext> Compiled::make_execution_context(size_t profile) {
  const auto describe = [&] { return concat("make a context of engine \"", name_, "\""); };
  std::unique_ptr<nvinfer1::IExecutionContext> context;
  {
    const std::lock_guard lock(mutex_);
    context = execution_contexts_->make();
  }
  check_call(context != nullptr, describe);
  if (profile > 0) {
    const cudaStream_t stream = current_stream(device_);
    check_call(context->setOptimizationProfileAsync(static_cast<int32_t>(profile), stream), describe);
  }
  return context;
}

}  // namespace tenure::tensorrt
