#include "tenure/session/program.h"

#include <c10/core/DeviceGuard.h>
#include <dlfcn.h>

#include <algorithm>
#include <set>

#include "tenure/archive/devices.h"
#include "tenure/base/error.h"
#include "tenure/engine/registry.h"
#include "tenure/ownership/in_place.h"
#include "tenure/session/cuda/cuda.h"
#include "tenure/session/sharing.h"

namespace tenure {
namespace {

void open_libraries(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    // Never closed: the dispatcher keeps pointers into it.
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    check(library != nullptr, ErrorCode::kNotFound, "cannot open the custom-operator library ", path, ": ",
          library ? "" : dlerror());
  }
}

std::shared_ptr<Engine> load_engine(EngineRecord& record, c10::DeviceType device, const std::filesystem::path& file) {
  return with_context([&] { return concat("engine ", record.spec.name); },
                      [&] {
                        Backend& backend = find_backend(record.spec.backend);
                        const c10::DeviceType wanted = backend.device_type().value_or(device);
                        check(wanted == device, ErrorCode::kUnsupported, backend.name(), " engines run on ",
                              c10::DeviceTypeName(wanted, true), ", and the program lies on ", c10::DeviceTypeName(device, true),
                              "; load it with device=\"", c10::DeviceTypeName(wanted, true), "\"");
                        auto compiled = backend.load(record.spec, record.blob, file);
                        record.blob = {};
                        return std::make_shared<Engine>(record.spec, std::move(compiled));
                      });
}

// Whose memory no other weight shares and no two of its elements.
std::set<ValueId> inputs_with_own_memory(const Graph& graph, const std::map<std::string, at::Tensor>& weights) {
  std::map<const c10::StorageImpl*, int> users;
  for (const auto& [name, weight] : weights) ++users[weight.storage().unsafeGetStorageImpl()];
  std::set<ValueId> own;
  for (const GraphInput& input : graph.inputs) {
    const auto weight = weights.find(input.target);
    const bool is_own = input.kind == GraphInput::Kind::kUser ||  // looked at in each run
                        (weight != weights.end() && users[weight->second.storage().unsafeGetStorageImpl()] == 1 &&
                         !may_overlap_itself(weight->second));
    if (is_own && input.value.valid()) own.insert(input.value);
  }
  return own;
}

// What the analysis learned about an engine's outputs, told to the engine: the default of its ownership switches.
void tell_escapes(const Graph& graph, const Node& node, const OwnershipTable& table, Engine& engine) {
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    for (ValueId value : node.outputs[i].values) {
      if (!value.valid() || !table.owners[value.index].escapes) continue;
      engine.set_output_escapes(i, concat(graph.value(value).name, " is ", table.owners[value.index].reason));
    }
  }
}

}  // namespace

std::shared_ptr<const Program> Program::load(const std::string& path, const LoadOptions& options) {
  open_libraries(options.custom_op_libraries);
  ProgramFile file = read_archive(path);
  if (!options.engine_cache) file.path.clear();
  return make(std::move(file), path, options.device);
}

std::shared_ptr<const Program> Program::make(ProgramFile file, const std::string& name, std::optional<c10::Device> device) {
  return with_context([&] { return concat("file ", name); },
                      [&] {
                        std::shared_ptr<Program> program(new Program);
                        program->path_ = name;
                        program->file_ = std::move(file);
                        verify(program->file_.graph);
                        if (device) program->move_to(*device);
                        program->accelerator_ = find_accelerator(program->file_.graph);
                        if (program->accelerator_) cuda::install_allocator();
                        place_weights(program->file_);
                        program->load_engines();
                        program->decide_owners();
                        program->resolve_nodes();
                        return std::shared_ptr<const Program>(std::move(program));
                      });
}

void Program::move_to(c10::Device device) {
  const c10::Device from = find_accelerator(file_.graph).value_or(c10::kCPU);
  move_to_device(file_.graph, device);
  const bool moves = find_accelerator(file_.graph).value_or(c10::kCPU) != from;
  const bool may_move = std::all_of(file_.engines.begin(), file_.engines.end(), [&](const EngineRecord& record) {
    return find_backend(record.spec.backend).device_type() == device.type();
  });
  check(!moves || may_move, ErrorCode::kUnsupported, "the program has engines, which were compiled for ", from,
        ": it cannot run on ", device, "; compile the model for that device");
}

void Program::load_engines() {
  const c10::OptionalDeviceGuard on_its_device(accelerator_);
  const c10::DeviceType device = accelerator_.value_or(c10::kCPU).type();
  for (EngineRecord& record : file_.engines) {
    check(engines_.emplace(record.spec.name, load_engine(record, device, file_.path)).second, ErrorCode::kBadFile,
          "two engines are named ", record.spec.name);
  }
}

AliasFacts Program::facts_of(const Node& node) const {
  if (node.kind == NodeKind::kEngine) return alias_facts(node, find_engine(node)->spec());
  if (node.kind == NodeKind::kScalar) return alias_facts(node, nullptr);
  const c10::OperatorHandle op = find_operator(node.target);
  return alias_facts(node, &op);
}

void Program::decide_owners() {
  Graph& graph = file_.graph;
  std::vector<AliasFacts> facts;
  for (Node& node : graph.nodes)
    with_context([&] { return concat("node ", node.name); },
                 [&] {
                   if (node.kind == NodeKind::kOperator) order_arguments(node, find_operator(node.target));
                   facts.push_back(facts_of(node));
                 });
  written_in_place_ = write_in_place(graph, facts, inputs_with_own_memory(graph, file_.weights));
  ownership_ = analyze_ownership(graph, std::move(facts));
  signature_rules_ = make_signature_rules(graph, ownership_);
}

void Program::resolve_nodes() {
  const Graph& graph = file_.graph;
  nodes_.resize(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    with_context([&] { return concat("node ", node.name); },
                 [&] {
                   switch (node.kind) {
                     case NodeKind::kOperator: nodes_[i].call.emplace(resolve_call(node)); break;
                     case NodeKind::kScalar: nodes_[i].scalar = find_scalar_function(node.target, node.inputs.size()); break;
                     case NodeKind::kEngine:
                       nodes_[i].engine = find_engine(node);
                       nodes_[i].output_options = output_options(node, nodes_[i].engine->spec());
                       break;
                   }
                 });
    if (nodes_[i].engine) tell_escapes(graph, node, ownership_, *nodes_[i].engine);
  }
}

std::vector<at::TensorOptions> Program::output_options(const Node& node, const EngineSpec& spec) const {
  std::vector<at::TensorOptions> options;
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const std::vector<ValueId>& values = node.outputs[i].values;
    const bool is_told = !values.empty() && values[0].valid() && graph().value(values[0]).meta;
    const c10::Device device = is_told ? graph().value(values[0]).meta->device : accelerator_.value_or(c10::kCPU);
    options.push_back(at::TensorOptions().dtype(spec.outputs[i].dtype).device(device));
  }
  return options;
}

bool Program::is_written_in_place(ValueId input) const {
  return std::find(written_in_place_.begin(), written_in_place_.end(), input) != written_in_place_.end();
}

std::shared_ptr<Engine> Program::find_engine(const Node& node) const {
  const auto found = engines_.find(node.target);
  check(found != engines_.end(), ErrorCode::kBadFile, "calls the engine ", node.target, ", which the file does not hold");
  const EngineSpec& spec = found->second->spec();
  check(node.inputs.size() == spec.inputs.size() && node.outputs.size() == spec.outputs.size(), ErrorCode::kBadFile,
        "calls the engine ", node.target, " with ", node.inputs.size(), " inputs and ", node.outputs.size(),
        " outputs, but it has ", spec.inputs.size(), " and ", spec.outputs.size());
  for (const NamedArgument& input : node.inputs) {
    check(input.value.is_value(), ErrorCode::kBadFile, "passes the engine ", node.target, " something other than a tensor");
  }
  return found->second;
}

int64_t Program::engine_blocks() const {
  const auto& nodes = graph().nodes;
  return std::count_if(nodes.begin(), nodes.end(), [](const Node& node) { return node.kind == NodeKind::kEngine; });
}

int64_t Program::aten_blocks() const {
  int64_t blocks = 0;
  bool inside = false;
  for (const Node& node : graph().nodes) {
    if (node.kind == NodeKind::kScalar) continue;
    const bool aten = node.kind == NodeKind::kOperator;
    blocks += aten && !inside;
    inside = aten;
  }
  return blocks;
}

}  // namespace tenure
