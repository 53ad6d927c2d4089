#include "tenure/session/bystanders.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "tenure/base/error.h"

namespace tenure {
namespace {

bool is_comparable(const at::Tensor& tensor) {
  return tensor.defined() && tensor.layout() == at::kStrided && tensor.device().is_cpu() && tensor.nbytes() != 0 &&
         tensor.is_non_overlapping_and_dense();
}

ByteRange storage_of(const at::Tensor& tensor) {
  const char* const begin = static_cast<const char*>(tensor.storage().data());
  return {begin, begin + tensor.storage().nbytes()};
}

}  // namespace

std::optional<size_t> Snapshot::change_outside(const std::vector<ByteRange>& allowed) const {
  const char* const end = range().end;
  const char* from = base;
  std::optional<size_t> changed;
  const auto compare_to = [&](const char* to) {
    const auto [now, before] = std::mismatch(from, to, bytes.data() + (from - base));
    if (now != to) changed = static_cast<size_t>(now - base);
  };
  for (const ByteRange& other : allowed) {
    if (other.end <= from || other.begin >= end) continue;
    if (other.begin > from) compare_to(other.begin);
    if (changed) return changed;
    from = std::min(other.end, end);
  }
  if (from < end) compare_to(end);
  return changed;
}

void Snapshot::refresh(const std::vector<ByteRange>& ranges) {
  for (const ByteRange& other : ranges) {
    const char *begin = std::max(other.begin, base), *end = std::min(other.end, range().end);
    if (begin < end) std::copy(begin, end, bytes.data() + (begin - base));
  }
}

Bystanders::Bystanders(const Program& program, const Registers& registers, const Frame& frame, int64_t run)
    : program_(program), registers_(registers), frame_(frame), run_(run) {
  const auto& state = program.ownership().state;
  for (const GraphInput& input : program.graph().inputs) {
    const at::Tensor* tensor = input.value.valid() ? stored_tensor(registers[input.value.index]) : nullptr;
    if (tensor == nullptr || !is_comparable(*tensor)) continue;
    const bool is_state = std::binary_search(state.begin(), state.end(), input.target);
    const bool is_user = input.kind == GraphInput::Kind::kUser;
    const std::string& name = is_user ? program.graph().value(input.value).name : input.target;
    watched_.push_back(watch(concat(is_state  ? "the state "
                                    : is_user ? "the input "
                                              : "the weight ",
                                    name),
                             *tensor, is_state || tensor->nbytes() <= kEachCall));
  }
  look_at_cells();
}

Bystanders::Watched Bystanders::watch(std::string what, const at::Tensor& tensor, bool each_call) {
  const char* const base = static_cast<const char*>(tensor.const_data_ptr());
  return {std::move(what), {base, std::vector<char>(base, base + tensor.nbytes())}, each_call, tensor.storage()};
}

bool Bystanders::Watched::is_there() const {
  if (!storage) return true;
  const char* const begin = static_cast<const char*>(storage.data());
  return begin <= before.base && before.range().end <= begin + storage.nbytes();
}

std::vector<ByteRange> Bystanders::written_operands(size_t node) const {
  std::vector<ByteRange> ranges;
  for (ValueId value : program_.ownership().facts[node].mutates) {
    const at::Tensor* tensor = stored_tensor(registers_[value.index]);
    if (tensor != nullptr && tensor->layout() == at::kStrided && tensor->device().is_cpu()) ranges.push_back(storage_of(*tensor));
  }
  std::ranges::sort(ranges, {}, &ByteRange::begin);
  return ranges;
}

void Bystanders::before(const Node& node, std::vector<ByteRange> allowed) {
  allowed_ = std::move(allowed);
  keep_operands(node);
  look_at_cells();
  has_run_ = true;
}

void Bystanders::keep_operands(const Node& node) {
  operands_.clear();
  for_each_input(node, [&](ValueId value) {
    const at::Tensor* tensor = stored_tensor(registers_[value.index]);
    if (tensor == nullptr || !is_comparable(*tensor)) return;
    const char* const base = static_cast<const char*>(tensor->const_data_ptr());
    const ByteRange range{base, base + tensor->nbytes()};
    const auto is_in = [&](const Watched& watched) { return watched.before.range().overlaps(range); };
    if (frame_.arenas.contains(base) || std::any_of(watched_.begin(), watched_.end(), is_in)) return;
    if (std::any_of(allowed_.begin(), allowed_.end(), [&](const ByteRange& other) { return other.overlaps(range); })) return;
    operands_.push_back(watch(concat("its operand ", program_.graph().value(value).name), *tensor, true));
  });
}

void Bystanders::look_at_cells() {
  Held held;
  frame_.cells.for_each([&](CellPool& pool, int owner) {
    const bool of_result = owner == frame_.cells.results_node();
    const std::string& maker = of_result ? "a copy of a result" : program_.graph().nodes[static_cast<size_t>(owner)].name;
    pool.for_each([&](const Cell& cell) {
      cell.while_held([&](uint64_t lease, const char* data, size_t bytes) {
        auto known = held_.extract(lease);
        if (!known.empty()) {
          held.insert(std::move(known));
        } else {
          std::string what =
              concat(has_run_ ? "what this run had made by " : "a result of an earlier run that is still held, made by ", maker);
          held.emplace(lease, Watched{std::move(what), {data, std::vector<char>(data, data + bytes)}, true, {}});
        }
      });
    });
  });
  held_ = std::move(held);
}

std::string Bystanders::difference(Watched& watched, bool at_end) {
  if (!watched.is_there()) return "";
  std::optional<size_t> changed;
  if (watched.each_call || at_end) changed = watched.before.change_outside(allowed_);
  watched.before.refresh(allowed_);
  return changed ? concat(watched.what, " at byte ", *changed) : "";
}

std::string Bystanders::cells_difference() {
  std::string found;
  frame_.cells.for_each([&](CellPool& pool, int) {
    pool.for_each([&](const Cell& cell) {
      cell.while_held([&](uint64_t lease, const char*, size_t) {
        const auto known = held_.find(lease);  // else the call under way took it
        if (known != held_.end() && found.empty()) found = difference(known->second, false);
      });
    });
  });
  return found;
}

void Bystanders::check_after(const Node& node) {
  std::string found;
  const auto note = [&](std::string other) {
    if (found.empty()) found = std::move(other);
  };
  for (Watched& watched : operands_) note(difference(watched, false));
  for (Watched& watched : watched_) note(difference(watched, false));
  note(cells_difference());
  operands_.clear();
  check(found.empty(), ErrorCode::kOwnership, "run ", run_, ": ", node.name, " (", node.target, "): wrote to ", found,
        ", which is not its to write");
}

void Bystanders::check_at_end() {
  allowed_.clear();
  for (Watched& watched : watched_) {
    const std::string found = watched.each_call ? "" : difference(watched, true);
    check(found.empty(), ErrorCode::kOwnership, "run ", run_, ": an operator or engine wrote to ", found,
          ", which is not its to write");
  }
}

}  // namespace tenure
