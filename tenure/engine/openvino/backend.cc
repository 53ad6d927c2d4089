#include <ATen/Parallel.h>

#include <istream>
#include <openvino/core/version.hpp>
#include <openvino/op/parameter.hpp>
#include <openvino/runtime/core.hpp>
#include <openvino/runtime/properties.hpp>
#include <streambuf>
#include <utility>

#include "tenure/engine/openvino/compiled.h"
#include "tenure/engine/openvino/convert.h"
#include "tenure/engine/openvino/openvino_backend.h"

namespace tenure {
namespace openvino {
namespace {

constexpr const char* kDevice = "CPU";

/// Reads bytes where they are. OpenVINO copies what it keeps.
class BlobBuffer final : public std::streambuf {
 public:
  explicit BlobBuffer(std::span<const char> blob) {
    char* const begin = const_cast<char*>(blob.data());  // a get area is never written to
    setg(begin, begin, begin + blob.size());
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir way, std::ios_base::openmode mode) override {
    const off_type base = way == std::ios_base::beg ? 0 : way == std::ios_base::cur ? gptr() - eback() : egptr() - eback();
    return seekpos(base + offset, mode);
  }

  pos_type seekpos(pos_type position, std::ios_base::openmode) override {
    const off_type offset = position;
    if (offset < 0 || offset > egptr() - eback()) return pos_type(off_type(-1));
    setg(eback(), eback() + offset, egptr());
    return position;
  }
};

/// One for the process: it holds the plugins and their threads. Never destroyed, since engines may outlive static objects.
ov::Core& core() {
  static ov::Core& core = *new ov::Core;
  return core;
}

/// What a model is imported with, unless the engine's options say otherwise.
ov::AnyMap import_config(const EngineSpec& spec) {
  ov::AnyMap config;
  // Some CPUs would otherwise compute float32 in bfloat16.
  config[ov::hint::inference_precision.name()] = "f32";
  // As many threads as PyTorch's operators use, on the cores the system gives them: pinned ones fight with PyTorch's over a core.
  config[ov::inference_num_threads.name()] = std::to_string(at::get_num_threads());
  config[ov::hint::enable_cpu_pinning.name()] = "NO";
  for (const auto& [name, value] : spec.options) config[name] = value;
  return config;
}

std::string sizes_of(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return "[...]";
  std::vector<int64_t> sizes;
  for (const ov::Dimension& size : shape) sizes.push_back(size.is_static() ? size.get_length() : -1);
  return sizes_text(sizes);
}

/// Can a tensor that fits the binding have the shape that the model wants?
bool agrees(const ov::PartialShape& shape, std::span<const int64_t> sizes) {
  if (shape.rank().is_dynamic()) return true;
  if (static_cast<size_t>(shape.rank().get_length()) != sizes.size()) return false;
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    const ov::Dimension expected = sizes[dim] < 0 ? ov::Dimension::dynamic() : ov::Dimension(sizes[dim]);
    if (!shape[dim].compatible(expected)) return false;
  }
  return true;
}

Port make_port(const ov::Output<const ov::Node>& port, BindingGuard guard) {
  const ov::element::Type type = with_context([&] { return guard.label(); }, [&] { return to_element_type(guard.dtype()); });
  const ov::PartialShape& shape = port.get_partial_shape();
  check(port.get_element_type() == type && agrees(shape, guard.static_sizes()), ErrorCode::kBadFile, guard.label(),
        ": the manifest says ", guard.expected(), ", the blob ", port.get_element_type().to_string(), " ", sizes_of(shape));
  return Port{.guard = std::move(guard), .type = type, .is_dynamic = shape.is_dynamic(), .copy_of_input = std::nullopt};
}

std::vector<Port> make_ports(const std::vector<ov::Output<const ov::Node>>& ports, std::vector<BindingGuard> guards,
                             const EngineSpec& spec, std::string_view role) {
  check(ports.size() == guards.size(), ErrorCode::kBadFile, "engine \"", spec.name, "\": the manifest tells of ", guards.size(),
        " ", role, ", the blob has ", ports.size());
  std::vector<Port> result;
  for (size_t index = 0; index < ports.size(); ++index) result.push_back(make_port(ports[index], std::move(guards[index])));
  return result;
}

/// Fills in Port::copy_of_input: which results of the executed graph hang directly on a parameter.
void find_unchanged_inputs(const ov::CompiledModel& model, std::vector<Port>& outputs) {
  const auto executed = model.get_runtime_model();
  const auto& results = executed->get_results();
  check(results.size() == outputs.size(), ErrorCode::kEngine, "OpenVINO executes ", results.size(), " outputs of ", outputs.size());
  for (size_t index = 0; index < outputs.size(); ++index) {
    const auto producer = results[index]->get_input_node_shared_ptr(0);
    if (!ov::is_type<ov::op::v0::Parameter>(producer)) continue;
    for (size_t input = 0; input < model.inputs().size(); ++input) {
      if (model.input(input).get_node()->get_friendly_name() == producer->get_friendly_name()) outputs[index].copy_of_input = input;
    }
    check(outputs[index].copy_of_input.has_value(), ErrorCode::kEngine, outputs[index].guard.label(), " is the unknown input ",
          producer->get_friendly_name());
  }
}

class OpenVinoBackend final : public Backend {
 public:
  std::string_view name() const override { return "openvino"; }
  std::string runtime() const override { return concat("OpenVINO ", ov::get_openvino_version().buildNumber); }
  std::optional<c10::DeviceType> device_type() const override { return c10::kCPU; }

  std::unique_ptr<CompiledEngine> load(const EngineSpec& spec, std::span<const char> blob, const std::filesystem::path&) override {
    refuse_data_dependent_outputs(spec);
    for (const Binding& output : spec.outputs) {
      check(!output.aliases_input, ErrorCode::kUnsupported, "engine \"", spec.name, "\": output \"", output.name,
            "\" is written into an input's memory, which OpenVINO engines cannot do");
    }
    const auto describe = [&] {
      return concat("load engine \"", spec.name, "\" (its blob is damaged or from another version, this is OpenVINO ",
                    ov::get_openvino_version().buildNumber, ", or an option is wrong: compile the program again)");
    };
    return guarded(describe, [&] {
      BlobBuffer buffer(blob);
      std::istream stream(&buffer);
      return std::make_unique<Compiled>(core().import_model(stream, kDevice, import_config(spec)), spec);
    });
  }
};

}  // namespace

Compiled::Compiled(ov::CompiledModel model, const EngineSpec& spec)
    : model_(std::move(model)),
      name_(spec.name),
      is_timed_(model_.get_property(ov::enable_profiling)),
      inputs_(make_ports(model_.inputs(), make_guards(spec, BindingRole::kInput), spec, "inputs")),
      outputs_(make_ports(model_.outputs(), make_guards(spec, BindingRole::kOutput), spec, "outputs")) {
  find_unchanged_inputs(model_, outputs_);
}

std::unique_ptr<EngineContext> Compiled::make_context() {
  return guarded([&] { return concat("make a context of engine \"", name_, "\""); },
                 [&] { return std::make_unique<Context>(model_.create_infer_request(), name_, is_timed_, inputs_, outputs_); });
}

}  // namespace openvino

std::unique_ptr<Backend> make_openvino_backend() { return std::make_unique<openvino::OpenVinoBackend>(); }

}  // namespace tenure
