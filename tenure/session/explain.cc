// tenure/session/explain.cc: an Explanation from the file alone, and over it what an observing run showed.
#include "tenure/session/explain.h"

#include <algorithm>
#include <map>
#include <utility>

#include "tenure/base/error.h"
#include "tenure/plan/plan.h"
#include "tenure/session/plan.h"

namespace tenure {
namespace {

using Origin = ValueRecord::Origin;

// Each device has an arena of its own.
std::string arena_on(c10::Device device) { return device.is_cpu() ? "arena" : concat("arena on ", device); }

std::string place_of(const Program& program, const Value& value, const Owner& owner) {
  switch (owner.ownership) {
    case Ownership::kBorrowed:
      return owner.reason.starts_with("input") ? "caller" : owner.reason.starts_with("state") ? "state" : "weight";
    case Ownership::kView: return concat("view of ", program.graph().value(owner.viewed).name);
    case Ownership::kStanding:
      return owner.data_dependent ? "own buffer" : arena_on(value.meta ? value.meta->device : c10::Device(c10::kCPU));
    case Ownership::kLeased: return "slot";
    case Ownership::kFresh: return "allocator";
  }
  return "";
}

using Sizes = std::map<std::string, int64_t>;

std::optional<int64_t> bytes_for(const Value& value, const Sizes& sizes) {
  if (!value.meta) return std::nullopt;
  int64_t bytes = static_cast<int64_t>(c10::elementSize(value.meta->dtype));
  for (const Expr& expr : value.meta->sizes) {
    const std::optional<int64_t> size = expr.evaluate([&](std::string_view symbol) -> std::optional<int64_t> {
      const auto known = sizes.find(std::string(symbol));
      return known == sizes.end() ? std::nullopt : std::optional(known->second);
    });
    if (!size || *size < 0 || __builtin_mul_overflow(bytes, *size, &bytes)) return std::nullopt;
  }
  return bytes;
}

// Throws Error(kInvalidArgument) for a symbol that the file does not have, or a size out of its range.
void check_sizes(const Graph& graph, const Sizes& sizes) {
  for (const auto& [symbol, size] : sizes) {
    const auto found = graph.symbol_ranges.find(symbol);
    std::string known;
    for (const auto& [name, range] : graph.symbol_ranges) known += (known.empty() ? "" : ", ") + name;
    check(found != graph.symbol_ranges.end(), ErrorCode::kInvalidArgument, "the program has no size named ", symbol, "; it has ",
          known.empty() ? "none: its sizes are fixed" : known);
    const SymbolRange& range = found->second;
    check((!range.min || size >= *range.min) && (!range.max || size <= *range.max), ErrorCode::kInvalidArgument, symbol, " is ",
          size, ", but the program was exported for ", range.min ? std::to_string(*range.min) : "any size", " to ",
          range.max ? std::to_string(*range.max) : "any size");
  }
}

// Where the standing values would lie in one arena if operators took no scratch; its bytes. Nothing if the size of one is not in
// the file, or their sum is more than any memory.
std::optional<int64_t> lay_out(Explanation& explanation, const std::string& arena) {
  std::vector<plan::Buffer> buffers;
  std::vector<ValueExplanation*> entries;
  int64_t total = 0;
  for (ValueExplanation& entry : explanation.values) {
    if (entry.ownership != Ownership::kStanding || entry.where != arena) continue;
    if (!entry.bytes) return std::nullopt;
    if (*entry.bytes == 0) continue;
    if (__builtin_add_overflow(total, *entry.bytes, &total) || __builtin_add_overflow(total, plan::Buffer{}.alignment, &total))
      return std::nullopt;
    buffers.push_back({.begin = entry.first_node, .end = std::max(entry.last_node, entry.first_node) + 1, .size = *entry.bytes});
    entries.push_back(&entry);
  }
  const plan::Layout layout = plan::greedy_by_size(buffers);
  for (size_t i = 0; i < entries.size(); ++i) entries[i]->arena_offset = layout.offsets[i];
  return layout.arena_size;
}

Explanation from_file(const Program& program, const Sizes& sizes) {
  Explanation explanation;
  explanation.sizes = sizes;
  const Graph& graph = program.graph();
  int64_t slots = 0;
  for (size_t v = 0; v < graph.values.size(); ++v) {
    const Value& value = graph.values[v];
    if (value.kind != ValueKind::kTensor) continue;
    const Owner& owner = program.ownership().owners[v];
    ValueExplanation entry;
    entry.value = value.name;
    if (value.producer.valid()) {
      entry.node = graph.node(value.producer).name;
      entry.target = graph.node(value.producer).target;
      entry.first_node = static_cast<int>(value.producer.index);
    }
    entry.last_node = program.ownership().last_use[v];
    entry.ownership = owner.ownership;
    entry.where = place_of(program, value, owner);
    entry.reason = owner.reason;
    if (owner.ownership != Ownership::kView) entry.bytes = bytes_for(value, sizes);
    if (owner.ownership == Ownership::kLeased) {
      entry.slot = slots++;
      entry.where = concat("slot ", *entry.slot);
    }
    explanation.values.push_back(std::move(entry));
  }
  return explanation;
}

/// Puts what a plan knows in the place of what the file promised.
class Refinement {
 public:
  Refinement(const Program& program, const Plan& plan) : program_(program), graph_(program.graph()), plan_(plan) {
    find_ways_out();
  }

  void apply(Explanation& explanation) {
    explanation.signature = plan_.observation.signature;
    explanation.arena_bytes = plan_.arena_bytes[Space::kHost] + plan_.arena_bytes[Space::kDevice];
    size_t at = 0;
    for (size_t v = 0; v < graph_.values.size(); ++v)
      if (graph_.values[v].kind == ValueKind::kTensor) refine(explanation.values[at++], ValueId(v));
    add_scratch(explanation);
  }

 private:
  const ValueRecord& record(ValueId value) const { return plan_.observation.values[value.index]; }
  const std::string& name(ValueId value) const { return graph_.value(value).name; }
  const Owner& owner(ValueId value) const { return program_.ownership().owners[value.index]; }

  bool share_memory(ValueId a, ValueId b) const {
    const ValueRecord &x = record(a), &y = record(b);
    if (x.origin != y.origin) return false;
    if (x.origin == Origin::kRequest) return x.request == y.request;
    return (x.origin == Origin::kInput || x.origin == Origin::kWeight) && x.input == y.input;
  }

  // Whose memory the value was seen in: the operand of its operator, else the first value in it. Invalid for memory of its own.
  ValueId base_of(ValueId value) const {
    const NodeId producer = graph_.value(value).producer;
    const ValueRecord& seen = record(value);
    ValueId base;
    if (!producer.valid()) return base;
    for_each_input(graph_.node(producer), [&](ValueId operand) {
      if (!base.valid() && share_memory(operand, value)) base = operand;
    });
    if (base.valid()) return base;
    if (seen.origin == Origin::kInput || seen.origin == Origin::kWeight) return seen.input;
    for (size_t v = 0; v < value.index; ++v)
      if (seen.origin == Origin::kRequest && share_memory(ValueId(v), value)) return ValueId(v);
    return base;
  }

  bool schema_admits(ValueId value) const { return owner(value).ownership == Ownership::kView; }

  // From each output back through the values it was seen to share memory with.
  void find_ways_out() {
    int number = 0;
    for (const GraphOutput& output : graph_.outputs) {
      if (output.kind != GraphOutput::Kind::kUser) continue;
      const std::string returned = concat("returned to the caller as output ", number++);
      if (!output.value.is_value()) continue;
      std::string way;
      for (ValueId value = output.value.value(); value.valid(); value = base_of(value)) {
        way_out_.try_emplace(value.index, way.empty() ? returned : concat(returned, " through ", way));
        way += concat(way.empty() ? "" : ", ", name(value),
                      schema_admits(value) || !base_of(value).valid() ? "" : ", whose schema hides it");
      }
    }
  }

  const std::string* way_out(ValueId value) const {
    const auto found = way_out_.find(value.index);
    return found == way_out_.end() ? nullptr : &found->second;
  }

  const GraphOutput* input_mutation(ValueId value) const {
    for (const GraphOutput& output : graph_.outputs)
      if (output.kind == GraphOutput::Kind::kInputMutation && output.value.is_value() && output.value.value() == value)
        return &output;
    return nullptr;
  }

  void refine(ValueExplanation& entry, ValueId value) {
    const ValueRecord& seen = record(value);
    entry.slot = std::nullopt;
    entry.arena_offset = std::nullopt;
    switch (seen.origin) {
      case Origin::kUnseen:
      case Origin::kNumber: return;
      case Origin::kEmpty: entry.bytes = 0; return;
      case Origin::kElsewhere:
        if (entry.ownership == Ownership::kView || entry.ownership == Ownership::kBorrowed) return;
        return set(entry, Ownership::kFresh, "allocator",
                   "its memory came from no request of the run's thread, so its life cannot be foreseen");
      case Origin::kInput:
      case Origin::kWeight:
      case Origin::kRequest: break;
    }
    const ValueId base = base_of(value);
    if (base.valid() && base != value) return refine_view(entry, value, base);
    if (seen.origin == Origin::kRequest) return refine_own(entry, value);
    refine_borrowed(entry, value);
  }

  static void set(ValueExplanation& entry, Ownership ownership, std::string where, std::string reason) {
    entry.ownership = ownership;
    entry.where = std::move(where);
    entry.reason = std::move(reason);
  }

  void refine_borrowed(ValueExplanation& entry, ValueId value) const {
    const ValueRecord& seen = record(value);
    int64_t bytes = static_cast<int64_t>(c10::elementSize(seen.dtype));
    bool fits = true;  // an expanded tensor may say more than any memory holds
    for (int64_t size : seen.sizes) fits = fits && !__builtin_mul_overflow(bytes, size, &bytes);
    entry.bytes = fits ? std::optional(bytes) : std::nullopt;
    add_copy(entry, value);
  }

  void add_copy(ValueExplanation& entry, ValueId value) const {
    const std::string* way = way_out(value);
    const ValueId input = record(value).input;
    const bool is_state = input.valid() && owner(input).reason.starts_with("state");
    if (way == nullptr) return;
    entry.reason += concat("; ", *way, is_state ? ", as a copy in a slot, since the next run changes it" : ", as it is");
  }

  void refine_view(ValueExplanation& entry, ValueId value, ValueId base) const {
    const bool hidden = !schema_admits(value);
    const bool borrowed = record(value).origin != Origin::kRequest;
    entry.bytes = std::nullopt;
    set(entry, Ownership::kView, concat("view of ", name(base)),
        hidden ? concat("the operator's schema hides that it returned memory of ", name(base))
               : concat("shares the memory of ", name(base)));
    if (borrowed) {
      add_copy(entry, value);
    } else {
      entry.reason += also_returned(value);
    }
  }

  void refine_own(ValueExplanation& entry, ValueId value) {
    const size_t r = static_cast<size_t>(record(value).request);
    const Request& request = plan_.observation.requests[r];
    const Placement& placement = plan_.placements[r];
    const std::string copied = owner(value).conditional ? "for these sizes it is memory of its own; " : "";
    entry.bytes = request.bytes;
    entry.first_node = request.node;
    entry.last_node = request.end_node;
    switch (placement.kind) {
      case Placement::Kind::kArena:
        set(entry, Ownership::kStanding, arena_on(record(value).device), copied + inside(value, request));
        entry.arena_offset = placement.offset;
        break;
      case Placement::Kind::kOwn:
        set(entry, Ownership::kStanding, "own buffer", copied + inside(value, request) + why_own(request));
        break;
      case Placement::Kind::kState:
        set(entry, Ownership::kStanding, "state",
            concat("made where ", name(placement.state), " lies, as its new content", also_returned(value)));
        break;
      case Placement::Kind::kSlot:
        entry.slot = slot_of(r);
        set(entry, Ownership::kLeased, concat("slot ", *entry.slot),
            copied + leased(value) + written_back(value) + size_depends_on_data(request));
        break;
      case Placement::Kind::kOrdinary:
        set(entry, Ownership::kFresh, "allocator",
            concat("its memory was still held when the run ended, so its life cannot be foreseen", size_depends_on_data(request)));
        break;
    }
  }

  std::string inside(ValueId value, const Request& request) const {
    if (const GraphOutput* output = input_mutation(value))
      return concat("the new content of the caller's input ", output->target, ", copied there at the end of the run",
                    way_out(value) != nullptr ? concat("; ", *way_out(value), " in that input") : std::string());
    const auto& nodes = graph_.nodes;
    if (request.end_node >= static_cast<int>(nodes.size())) return "never leaves the program; written back at the end of the run";
    return concat("never leaves the program; last used by ", nodes[static_cast<size_t>(request.end_node)].name);
  }

  std::string also_returned(ValueId value) const {
    const std::string* way = way_out(value);
    return way == nullptr ? "" : concat("; ", *way);
  }

  // A result that is also what a buffer or an input is to hold.
  std::string written_back(ValueId value) const {
    std::string targets;
    for (const GraphOutput& output : graph_.outputs)
      if (output.kind != GraphOutput::Kind::kUser && output.value.is_value() && output.value.value() == value)
        targets += concat(targets.empty() ? "; copied into " : ", ", output.target);
    return targets.empty() ? targets : targets + " at the end of the run";
  }

  std::string size_depends_on_data(const Request& request) const {
    return plan_.varies[static_cast<size_t>(request.node)] ? "; its size depends on data" : "";
  }

  // What operators and engines take and let go of again while they run: a row for each that does.
  void add_scratch(Explanation& explanation) const {
    std::map<std::pair<int, Space>, std::pair<int64_t, int64_t>> reached;  // by node: the first byte in the arena, and the end
    const auto& requests = plan_.observation.requests;
    for (size_t r = 0; r < requests.size(); ++r) {
      const Placement& placement = plan_.placements[r];
      if (!requests[r].scratch || placement.kind != Placement::Kind::kArena) continue;
      const std::pair<int64_t, int64_t> range{placement.offset, placement.offset + requests[r].bytes};
      const auto [known, is_first] = reached.try_emplace({requests[r].node, requests[r].space}, range);
      auto& [begin, end] = known->second;
      begin = std::min(begin, range.first);
      end = std::max(end, range.second);
    }
    for (const auto& [where, range] : reached) {
      const auto& [node, space] = where;
      ValueExplanation entry;
      entry.value = concat("scratch of ", graph_.nodes[static_cast<size_t>(node)].name);
      entry.ownership = Ownership::kStanding;
      entry.bytes = range.second - range.first;
      entry.arena_offset = range.first;
      entry.first_node = entry.last_node = node;
      entry.where = arena_on(space == Space::kHost ? c10::Device(c10::kCPU) : *program_.accelerator());
      entry.reason = "taken and let go of while that runs";
      explanation.values.push_back(std::move(entry));
    }
  }

  std::string why_own(const Request& request) const {
    if (plan_.varies[static_cast<size_t>(request.node)]) return "; its size depends on data, so it has a buffer that grows";
    return "; a custom operator reads or makes it and might keep it, so its buffer is reused only when nobody holds it";
  }

  std::string leased(ValueId value) const {
    const std::string* way = way_out(value);
    return way != nullptr ? *way : "declared an output that the caller gets (set_output_tensors_as_unowned)";
  }

  int64_t slot_of(size_t request) {
    const auto slot = slots_.try_emplace(request, static_cast<int64_t>(slots_.size())).first;
    return slot->second;
  }

  const Program& program_;
  const Graph& graph_;
  const Plan& plan_;
  std::map<uint32_t, std::string> way_out_;  // by value
  std::map<size_t, int64_t> slots_;          // by request
};

}  // namespace

Explanation explain(const Program& program, const Plan* plan, const std::map<std::string, int64_t>& sizes) {
  check_sizes(program.graph(), sizes);
  Explanation explanation = from_file(program, sizes);
  if (plan == nullptr) {
    explanation.arena_bytes = lay_out(explanation, arena_on(c10::kCPU));
    const std::optional<int64_t> there =
        program.accelerator() ? lay_out(explanation, arena_on(*program.accelerator())) : std::optional<int64_t>(0);
    explanation.arena_bytes = explanation.arena_bytes && there ? std::optional(*explanation.arena_bytes + *there) : std::nullopt;
  } else {
    Refinement(program, *plan).apply(explanation);
  }
  return explanation;
}

}  // namespace tenure
