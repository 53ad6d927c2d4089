#include "tenure/session/explain.h"

#include <c10/util/accumulate.h>

#include <algorithm>
#include <array>

#include "tenure/base/error.h"
#include "tenure/session/plan.h"

namespace tenure {
namespace {

using Origin = ValueRecord::Origin;

// What the observing run showed, over what the schemas promised.
void refine(ValueExplanation& entry, const Program& program, const Plan& plan, ValueId value) {
  const ValueRecord& seen = plan.observation.values[value.index];
  const Owner& owner = program.ownership().owners[value.index];
  switch (seen.origin) {
    case Origin::kUnseen:
    case Origin::kNumber: return;
    case Origin::kInput:
    case Origin::kWeight:
      if (owner.ownership == Ownership::kBorrowed)
        entry.bytes = c10::multiply_integers(seen.sizes) * static_cast<int64_t>(c10::elementSize(seen.dtype));
      return;
    case Origin::kEmpty: entry.bytes = 0; return;
    case Origin::kElsewhere:
      if (owner.ownership == Ownership::kView || owner.ownership == Ownership::kBorrowed) return;
      entry.ownership = Ownership::kFresh;
      entry.where = "allocator";
      entry.reason = "its memory came from no request of the run's thread, so its life cannot be foreseen";
      return;
    case Origin::kRequest: break;
  }
  const Request& request = plan.observation.requests[static_cast<size_t>(seen.request)];
  const bool own_memory = program.graph().value(value).producer.index == static_cast<uint32_t>(request.node);
  if (!own_memory) {
    if (owner.ownership != Ownership::kView) {
      entry.ownership = Ownership::kView;
      entry.where = concat("memory made by ", program.graph().nodes[static_cast<size_t>(request.node)].name);
      entry.reason = concat("the operator's schema hides that it returned memory made by ",
                            program.graph().nodes[static_cast<size_t>(request.node)].name);
    }
    return;
  }
  const Placement& placement = plan.placements[static_cast<size_t>(seen.request)];
  entry.bytes = request.bytes;
  switch (placement.kind) {
    case Placement::Kind::kArena:
      entry.ownership = Ownership::kStanding;
      entry.where = "arena";
      entry.arena_offset = placement.offset;
      if (owner.conditional) entry.reason += "; for these sizes it is memory of its own";
      break;
    case Placement::Kind::kOwn:
      entry.ownership = Ownership::kStanding;
      entry.where = "own buffer";
      break;
    case Placement::Kind::kState:
      entry.ownership = Ownership::kBorrowed;
      entry.where = "state";
      entry.reason = concat("made where ", program.graph().value(placement.state).name, " lies: it is its new content");
      break;
    case Placement::Kind::kSlot:
      entry.ownership = Ownership::kLeased;
      entry.where = "slot";
      if (!owner.escapes && request.returned) entry.reason = "reached the caller though no schema says so";
      if (!owner.escapes && !request.returned)
        entry.reason = "declared an output that the caller gets (set_output_tensors_as_unowned)";
      break;
    case Placement::Kind::kOrdinary:
      entry.ownership = Ownership::kFresh;
      entry.where = "allocator";
      entry.reason = "its memory was still held when the run ended, so its life cannot be foreseen";
      break;
  }
}

std::string place_of(const Program& program, const Owner& owner) {
  switch (owner.ownership) {
    case Ownership::kBorrowed:
      return owner.reason.starts_with("input") ? "caller" : owner.reason.starts_with("state") ? "state" : "weight";
    case Ownership::kView: return concat("view of ", program.graph().value(owner.viewed).name);
    case Ownership::kStanding: return owner.data_dependent ? "own buffer" : "arena";
    case Ownership::kLeased: return "slot";
    case Ownership::kFresh: return "allocator";
  }
  return "";
}

std::optional<int64_t> static_bytes(const Value& value) {
  if (!value.meta) return std::nullopt;
  int64_t bytes = static_cast<int64_t>(c10::elementSize(value.meta->dtype));
  for (const Expr& size : value.meta->sizes) {
    if (!size.constant()) return std::nullopt;
    bytes *= *size.constant();
  }
  return bytes;
}

}  // namespace

Explanation explain(const Program& program, const Plan* plan) {
  Explanation explanation;
  if (plan != nullptr) explanation.signature = plan->observation.signature;
  const Graph& graph = program.graph();
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
    entry.where = place_of(program, owner);
    entry.reason = owner.reason;
    if (owner.ownership != Ownership::kView) entry.bytes = static_bytes(value);
    if (plan != nullptr) refine(entry, program, *plan, ValueId(v));
    explanation.values.push_back(std::move(entry));
  }
  return explanation;
}

std::string Explanation::table() const {
  using Row = std::array<std::string, 5>;
  std::vector<Row> rows = {{"value", "owner", "bytes", "where", "why"}};
  for (const ValueExplanation& entry : values) {
    const std::string where = entry.arena_offset ? concat(entry.where, " + ", *entry.arena_offset) : entry.where;
    rows.push_back({entry.value, std::string(to_string(entry.ownership)), entry.bytes ? std::to_string(*entry.bytes) : "-", where,
                    entry.reason});
  }
  std::array<size_t, 5> widths{};
  for (const Row& row : rows)
    for (size_t c = 0; c + 1 < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text;
  for (const Row& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string padding(widths[c] > row[c].size() ? widths[c] - row[c].size() : 0, ' ');
      const bool number = c == 2;
      text += number ? padding + row[c] : row[c] + (c + 1 < row.size() ? padding : "");
      text += c + 1 < row.size() ? "  " : "\n";
    }
  }
  return text;
}

}  // namespace tenure
