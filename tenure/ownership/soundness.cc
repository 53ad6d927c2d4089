#include "tenure/ownership/soundness.h"

#include <algorithm>

namespace tenure {
namespace {

bool is_only_view(const AliasFacts& facts) {
  return facts.always_aliases && facts.mutates.empty() && !facts.custom && !facts.may_alias.empty() &&
         std::none_of(facts.may_alias.begin(), facts.may_alias.end(), [](const auto& aliased) { return aliased.empty(); });
}

bool reads_only_sizes(const Node& node) { return node.target.starts_with("aten::sym_"); }

}  // namespace

Soundness::Soundness(size_t values, ValueId target)
    : shared_(values), content_(values, -1), made_by_(values, nullptr), written_(values, -1) {
  shared_[target.index] = 1;
}

void Soundness::pass(const Step& step) {
  ++now_;
  const AliasFacts& facts = step.facts;
  const bool writes =
      std::any_of(facts.mutates.begin(), facts.mutates.end(), [&](ValueId value) { return shared_[value.index] != 0; });
  if (step.is_scatter) {
    sound_ &= is_current(step.scattered) && changed_only_by_scattered(step);
  } else if (!is_only_view(facts) && !reads_only_sizes(step.node)) {
    for_each_input(step.node, [&](ValueId value) {
      const bool overwritten = step.node.target == "aten::copy_" && value == step.node.inputs[0].value.value();
      sound_ &= overwritten || is_current(value);
    });
  }
  if (writes) writes_.push_back(now_);
  size_t k = 0;
  for_each_output(step.node, [&](ValueId value) {
    int content = now_;
    for (ValueId other : facts.may_alias[k]) {
      shared_[value.index] |= shared_[other.index];
      content = std::min(content, content_[other.index]);
    }
    ++k;
    content_[value.index] = writes || step.is_scatter ? now_ : content;
    written_[value.index] = writes ? now_ : -1;
    made_by_[value.index] = &step;
  });
}

bool Soundness::is_sound_at_end(const Graph& graph) const {
  bool sound = sound_;
  for (const GraphOutput& output : graph.outputs) for_each_value(output.value, [&](ValueId value) { sound &= is_current(value); });
  return sound;
}

// Its memory, if it lies in the input's, still has the content that it was made with.
bool Soundness::is_current(ValueId value) const {
  return shared_[value.index] == 0 || writes_.empty() || writes_.back() <= content_[value.index];
}

// Since the operand of a former scatter was made, nothing was written but what was to be scattered into it.
bool Soundness::changed_only_by_scattered(const Step& step) const {
  std::set<int> own;
  collect_writes(step.scattered, own);
  const int base = content_[step.node.inputs[0].value.value().index];
  return std::all_of(writes_.begin(), writes_.end(), [&](int when) { return when <= base || own.contains(when); });
}

void Soundness::collect_writes(ValueId value, std::set<int>& times) const {
  const Step* step = made_by_[value.index];
  while (step != nullptr && (step->is_scatter || written_[value.index] >= 0)) {
    if (step->is_scatter) collect_writes(step->scattered, times);
    if (written_[value.index] >= 0) times.insert(written_[value.index]);
    value = step->node.inputs[0].value.value();
    step = made_by_[value.index];
  }
}

}  // namespace tenure
