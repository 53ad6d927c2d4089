// tenure/ownership/analyze.cc: the owner of every value, from the graph and the operators' schemas alone.
//
// 1. facts: per node, what the schema says of aliasing and mutation
// 2. groups: values that may share memory (union-find over the facts)
// 3. data dependence: sizes and numbers that the inputs' sizes do not determine, forward through the nodes
// 4. escape: from the user outputs backward through the aliases, remembering the way for the reason
// 5. owners: one rule a value
// Not handled here: aliases that a custom operator's schema hides. The observing run sees those; a run's end checks that nothing
// planned leaves.
#include <algorithm>
#include <numeric>
#include <set>

#include "tenure/base/error.h"
#include "tenure/ownership/ownership.h"

namespace tenure {
namespace {

class Groups {
 public:
  explicit Groups(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), size_t{0}); }
  size_t find(size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(ValueId a, ValueId b) { parent_[find(a.index)] = find(b.index); }

 private:
  std::vector<size_t> parent_;
};

/// The analysis of one graph; analyze_ownership() runs its stages in order.
class Analysis {
 public:
  Analysis(const Graph& graph, std::vector<AliasFacts> facts)
      : graph_(graph), groups_(graph.values.size()), escape_(graph.values.size()) {
    table_.owners.resize(graph.values.size());
    table_.last_use.assign(graph.values.size(), -1);
    table_.facts = std::move(facts);
  }

  OwnershipTable run() {
    group_aliases();
    find_data_dependence();
    find_last_uses();
    find_escapes();
    own_inputs();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) own_outputs(i);
    return std::move(table_);
  }

 private:
  // Calls visit(value, aliased values) for everything that the node makes.
  template <typename Visit>
  void for_each_made(size_t node, const Visit& visit) const {
    size_t k = 0;
    for_each_output(graph_.nodes[node], [&](ValueId value) { visit(value, table_.facts[node].may_alias[k++]); });
  }

  void group_aliases() {
    std::set<size_t> moving;
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for_each_made(i, [&](ValueId value, const std::vector<ValueId>& aliased) {
        for (ValueId other : aliased) groups_.join(value, other);
      });
    }
    for (const AliasFacts& facts : table_.facts) {
      if (!facts.changes_metadata_in_place) continue;
      for (ValueId value : facts.mutates) moving.insert(groups_.find(value.index));
    }
    for (size_t v = 0; v < graph_.values.size(); ++v) table_.owners[v].movable = moving.contains(groups_.find(v));
  }

  void find_data_dependence() {
    std::set<std::string> known;
    const auto learn = [&](const Expr& expr) {
      for (std::string& symbol : expr.symbols()) known.insert(std::move(symbol));
    };
    for (const GraphInput& input : graph_.inputs) {
      if (!input.value.valid()) continue;
      const Value& value = graph_.value(input.value);
      if (value.meta) std::for_each(value.meta->sizes.begin(), value.meta->sizes.end(), learn);
      learn(value.expr);
    }
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      const Node& node = graph_.nodes[i];
      bool number_varies = false;
      for_each_input(node, [&](ValueId v) { number_varies |= !is_tensor(v) && table_.owners[v.index].data_dependent; });
      for_each_made(i, [&](ValueId value, const std::vector<ValueId>& aliased) {
        bool& varies = table_.owners[value.index].data_dependent;
        if (is_tensor(value)) {
          varies = sizes_vary(graph_.value(value), known) || (!aliased.empty() && number_varies);
          for (ValueId other : aliased) varies |= table_.owners[other.index].data_dependent;
        } else {
          varies = number_varies || reads_content(node);
        }
      });
    }
  }

  bool is_tensor(ValueId value) const { return graph_.value(value).kind == ValueKind::kTensor; }

  static bool sizes_vary(const Value& value, const std::set<std::string>& known) {
    if (!value.meta) return true;
    const auto unknown = [&](const Expr& expr) {
      const std::vector<std::string> symbols = expr.symbols();
      return std::any_of(symbols.begin(), symbols.end(), [&](const std::string& s) { return !known.contains(s); });
    };
    const TensorMeta& meta = *value.meta;
    return std::any_of(meta.sizes.begin(), meta.sizes.end(), unknown) ||
           std::any_of(meta.strides.begin(), meta.strides.end(), unknown);
  }

  // A number that a node makes from a tensor: sizes and strides are known with the tensor's, anything else is content.
  bool reads_content(const Node& node) const {
    if (node.kind == NodeKind::kScalar) return false;
    const bool metadata =
        node.target == "aten::sym_size.int" || node.target == "aten::sym_stride.int" || node.target == "aten::sym_numel";
    bool varies = !metadata;
    for_each_input(node, [&](ValueId v) { varies |= table_.owners[v.index].data_dependent; });
    return varies;
  }

  void find_last_uses() {
    std::vector<int> by_group(graph_.values.size(), -1);
    const auto use = [&](ValueId value, size_t when) {
      int& last = by_group[groups_.find(value.index)];
      last = std::max(last, static_cast<int>(when));
    };
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
      for_each_input(graph_.nodes[i], [&](ValueId value) { use(value, i); });
      for_each_output(graph_.nodes[i], [&](ValueId value) { use(value, i); });
    }
    for (const GraphOutput& output : graph_.outputs)
      for_each_value(output.value, [&](ValueId value) { use(value, graph_.nodes.size()); });
    for (size_t v = 0; v < graph_.values.size(); ++v) table_.last_use[v] = by_group[groups_.find(v)];
  }

  void find_escapes() {
    int number = 0;
    std::set<ValueId> written_back;  // the new content of an input: the caller gets that input, not this value
    for (const GraphOutput& output : graph_.outputs)
      if (output.kind == GraphOutput::Kind::kInputMutation)
        for_each_value(output.value, [&](ValueId value) { written_back.insert(value); });
    for (const GraphOutput& output : graph_.outputs) {
      if (output.kind != GraphOutput::Kind::kUser) continue;
      for_each_value(output.value, [&](ValueId value) {
        if (escape_[value.index].empty() && !written_back.contains(value))
          escape_[value.index] = concat("returned to the caller as output ", number);
      });
      ++number;
    }
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      for_each_made(i, [&](ValueId value, const std::vector<ValueId>& aliased) {
        if (escape_[value.index].empty()) return;
        const bool first = escape_[value.index].find(" through ") == std::string::npos;
        for (ValueId other : aliased) {
          if (!escape_[other.index].empty()) continue;
          escape_[other.index] = concat(escape_[value.index], first ? " through " : ", ", graph_.value(value).name);
        }
      });
    }
    // An in-place operator's operand escapes with its result and the other way round: what one of a group does, all do.
    std::vector<const std::string*> by_group(graph_.values.size(), nullptr);
    for (size_t v = 0; v < graph_.values.size(); ++v)
      if (!escape_[v].empty()) by_group[groups_.find(v)] = &escape_[v];
    for (size_t v = 0; v < graph_.values.size(); ++v) table_.owners[v].escapes = by_group[groups_.find(v)] != nullptr;
    for (size_t v = 0; v < graph_.values.size(); ++v) {
      if (table_.owners[v].escapes && escape_[v].empty())
        escape_[v] = concat(*by_group[groups_.find(v)], ", whose memory it may share");
    }
  }

  void own_inputs() {
    std::set<size_t> written;
    for (const AliasFacts& facts : table_.facts)
      for (ValueId value : facts.mutates) written.insert(groups_.find(value.index));
    std::set<std::string> state;
    for (const GraphOutput& output : graph_.outputs)
      if (output.kind == GraphOutput::Kind::kBufferMutation) state.insert(output.target);
    for (const GraphInput& input : graph_.inputs) {
      if (!input.value.valid() || input.kind == GraphInput::Kind::kUser) continue;
      if (written.contains(groups_.find(input.value.index))) state.insert(input.target);
    }
    for (const GraphInput& input : graph_.inputs) {
      if (!input.value.valid()) continue;
      Owner& owner = table_.owners[input.value.index];
      owner.ownership = Ownership::kBorrowed;
      if (input.kind == GraphInput::Kind::kUser) {
        owner.reason = "input of the caller";
      } else if (state.contains(input.target)) {
        owner.reason = concat("state of the session: ", input.target);
      } else {
        owner.reason = concat("weight ", input.target);
      }
    }
    table_.state.assign(state.begin(), state.end());
  }

  void own_outputs(size_t node) {
    for_each_made(node, [&](ValueId value, const std::vector<ValueId>& aliased) {
      Owner& owner = table_.owners[value.index];
      if (!is_tensor(value)) {
        owner.ownership = Ownership::kFresh;
        owner.reason = "a number";
        return;
      }
      if (!aliased.empty()) {
        owner.ownership = Ownership::kView;
        owner.viewed = aliased.front();
        owner.conditional = !table_.facts[node].always_aliases;
        owner.reason =
            concat(owner.conditional ? "may share the memory of " : "shares the memory of ", graph_.value(owner.viewed).name);
        if (owner.escapes) owner.reason += concat("; ", escape_[value.index]);
        return;
      }
      owner.ownership = owner.escapes ? Ownership::kLeased : Ownership::kStanding;
      owner.reason = owner.escapes ? escape_[value.index] : last_use_text(value);
      if (owner.data_dependent) owner.reason += "; its size depends on data, so it has a buffer that grows";
    });
  }

  std::string last_use_text(ValueId value) const {
    const int last = table_.last_use[value.index];
    if (last >= static_cast<int>(graph_.nodes.size())) return "never leaves the program; written back at the end of the run";
    return concat("never leaves the program; last used by ", graph_.nodes[static_cast<size_t>(last)].name);
  }

  const Graph& graph_;
  Groups groups_;
  std::vector<std::string> escape_;  // by value: why it reaches the caller; empty if it does not
  OwnershipTable table_;
};

}  // namespace

std::string_view to_string(Ownership ownership) {
  switch (ownership) {
    case Ownership::kBorrowed: return "borrowed";
    case Ownership::kView: return "view";
    case Ownership::kStanding: return "standing";
    case Ownership::kLeased: return "leased";
    case Ownership::kFresh: return "fresh";
  }
  return "unknown";
}

OwnershipTable analyze_ownership(const Graph& graph, std::vector<AliasFacts> facts) {
  return Analysis(graph, std::move(facts)).run();
}

}  // namespace tenure
