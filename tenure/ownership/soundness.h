// tenure/ownership/soundness.h: does every read of a memory that a rewritten graph writes still meet the content that was meant?
#pragma once

#include <set>
#include <vector>

#include "tenure/ownership/ownership.h"

namespace tenure {

/// A node of a graph that is being rewritten.
struct Step {
  Node node;
  AliasFacts facts;
  bool is_scatter = false;  // aten::alias in the place of a scatter: its operand already holds the result
  ValueId scattered;        // and the value that was scattered into it
};

/// Runs through the steps in their order and keeps, for the memory of one input, when it was written and when each value that lies
/// in it got its content. A view has the content time of what it is a view of. The steps outlive it.
class Soundness {
 public:
  Soundness(size_t values, ValueId target);

  void pass(const Step& step);
  /// After the last step: of what the graph returns and writes back too.
  bool is_sound_at_end(const Graph& graph) const;

 private:
  bool is_current(ValueId value) const;
  bool changed_only_by_scattered(const Step& step) const;
  void collect_writes(ValueId value, std::set<int>& times) const;

  std::vector<char> shared_;          // by value: may lie in the input's memory
  std::vector<int> content_;          // by value: when its content was made; -1: before the run
  std::vector<const Step*> made_by_;  // by value
  std::vector<int> written_;          // by value: when the step that returned it wrote it, -1 if it did not
  std::vector<int> writes_;           // times of all writes to the memory
  int now_ = 0;
  bool sound_ = true;
};

}  // namespace tenure
