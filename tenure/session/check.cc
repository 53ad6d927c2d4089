#include "tenure/session/check.h"

#include <algorithm>
#include <cstring>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using Kind = Placement::Kind;

}  // namespace

OwnershipCheck::OwnershipCheck(const Program& program, const PreparedRun& prepared, Frame& frame, int64_t run)
    : program_(program), prepared_(prepared), frame_(frame), run_(run), bystanders_(program, prepared.registers, frame, run) {
  const Arena& arena = frame.arenas[Space::kHost];
  const size_t written = find_unpoisoned(arena.base(), arena.bytes());
  if (written < arena.bytes())
    report(nullptr, concat("byte ", written, " of the arena, where ", owner_at(arena.base() + written, -1),
                           " lies in a run, was written between two runs"));
  check_cells(nullptr);
  arena_ = {arena.base(), std::vector<char>(arena.base(), arena.base() + arena.bytes())};
}

OwnershipCheck::~OwnershipCheck() {
  const Arena& arena = frame_.arenas[Space::kHost];
  fill_poison(arena.base(), arena.bytes());
}

void OwnershipCheck::report(const Node* node, const std::string& what) const {
  throw Error(ErrorCode::kOwnership, concat("run ", run_, ": ", node ? concat(node->name, " (", node->target, "): ") : "", what));
}

// The values that the plan puts at `p`: those alive at `node` if there are any, else all. For messages.
std::string OwnershipCheck::owner_at(const char* p, int node) const {
  std::string living, others;
  const auto& observation = prepared_.plan->observation;
  for (size_t v = 0; v < observation.values.size(); ++v) {
    if (observation.values[v].origin != ValueRecord::Origin::kRequest) continue;
    const size_t r = static_cast<size_t>(observation.values[v].request);
    const char* begin = static_cast<const char*>(prepared_.addresses[r]);
    const Request& request = observation.requests[r];
    if (begin == nullptr || p < begin || p >= begin + request.bytes) continue;
    std::string& list = request.node <= node && node <= request.end_node ? living : others;
    list += (list.empty() ? "" : ", ") + program_.graph().values[v].name;
  }
  if (!living.empty()) return living;
  return others.empty() ? "no value (scratch, or a gap)" : others;
}

void OwnershipCheck::before(const PreparedCall& call) {
  check_lives(call);
  allowed_ = may_write(call);
  bystanders_.before(program_.graph().nodes[static_cast<size_t>(call.node)], allowed_);
}

void OwnershipCheck::check_lives(const PreparedCall& call) const {
  const Node& node = program_.graph().nodes[static_cast<size_t>(call.node)];
  const auto& requests = prepared_.plan->observation.requests;
  for_each_input(node, [&](ValueId value) {
    const at::Tensor* tensor = stored_tensor(prepared_.registers[value.index]);
    if (tensor == nullptr || tensor->storage().nbytes() == 0 || !frame_.arenas.contains(tensor->storage().data())) return;
    const void* at = tensor->storage().data();
    bool lives = false;
    for (size_t r = 0; r < requests.size() && !lives; ++r)
      lives = prepared_.addresses[r] == at && requests[r].node < call.node && call.node <= requests[r].end_node;
    if (!lives) report(&node, concat("reads ", program_.graph().value(value).name, ", whose life has ended"));
  });
}

std::vector<ByteRange> OwnershipCheck::may_write(const PreparedCall& call) const {
  std::vector<ByteRange> ranges = bystanders_.written_operands(static_cast<size_t>(call.node));
  const auto& requests = prepared_.plan->observation.requests;
  for (int r = call.first_request; r < call.first_request + call.requests; ++r) {
    const char* begin = static_cast<const char*>(prepared_.addresses[static_cast<size_t>(r)]);
    if (begin != nullptr) ranges.push_back({begin, begin + requests[static_cast<size_t>(r)].bytes});
  }
  std::sort(ranges.begin(), ranges.end(), [](const ByteRange& a, const ByteRange& b) { return a.begin < b.begin; });
  return ranges;
}

void OwnershipCheck::compare_arena(const Node& node, int index) {
  if (const std::optional<size_t> changed = arena_.change_outside(allowed_))
    report(&node, concat("wrote to byte ", *changed, " of the arena, where ", owner_at(arena_.base + *changed, index),
                         " lies, which is not its to write"));
  arena_.refresh(allowed_);
}

void OwnershipCheck::after(const PreparedCall& call) {
  const Node& node = program_.graph().nodes[static_cast<size_t>(call.node)];
  compare_arena(node, call.node);
  bystanders_.check_after(node);
  check_cells(&node);
  end_lives(call.node);
}

// Poison in the place of what lived up to that node, but for what others that live have there (scratch gives its place away). Nodes
// that a replay leaves out end lives too.
void OwnershipCheck::end_lives(int node) {
  const auto& requests = prepared_.plan->observation.requests;
  const Arena& arena = frame_.arenas[Space::kHost];
  const auto offset = [&](size_t r) { return static_cast<size_t>(static_cast<char*>(prepared_.addresses[r]) - arena.base()); };
  const auto in_arena = [&](size_t r) {
    return prepared_.plan->placements[r].kind == Kind::kArena && requests[r].space == Space::kHost;
  };
  std::vector<char> ended(arena_.bytes.size());
  for (size_t r = 0; r < requests.size(); ++r)
    if (in_arena(r) && requests[r].end_node > ended_to_ && requests[r].end_node <= node)
      std::fill_n(ended.begin() + static_cast<long>(offset(r)), requests[r].bytes, 1);
  for (size_t r = 0; r < requests.size(); ++r)
    if (in_arena(r) && requests[r].node <= node && requests[r].end_node > node)
      std::fill_n(ended.begin() + static_cast<long>(offset(r)), requests[r].bytes, 0);
  const char* const pattern = reinterpret_cast<const char*>(&kPoison);
  for (size_t i = 0; i < ended.size(); ++i)
    if (ended[i]) arena.base()[i] = arena_.bytes[i] = pattern[i % sizeof(kPoison)];
  ended_to_ = node;
}

void OwnershipCheck::check_cells(const Node* node) const {
  frame_.cells.for_each([&](CellPool& pool, int owner) {
    pool.for_each([&](const Cell& cell) {
      const bool of_result = owner == frame_.cells.results_node();
      const std::string& whose =
          of_result ? std::string("a copied result") : program_.graph().nodes[static_cast<size_t>(owner)].name;
      if (!cell.is_guard_intact()) report(node, concat("memory behind a buffer of ", whose, " was written"));
      if (!cell.is_poison_intact()) report(node, concat("a free buffer of ", whose, " was written by somebody who had let it go"));
    });
  });
}

}  // namespace tenure
