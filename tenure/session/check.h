// tenure/session/check.h: SessionOptions::check_ownership: watches a replay touch memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tenure/session/bystanders.h"
#include "tenure/session/frame.h"
#include "tenure/session/poison.h"

namespace tenure {

/// Watches one replay of one frame: that each call reads only planned memory whose value lives, and writes only the memory of its
/// own results, scratch and mutated operands. Memory whose value's life ends is filled with kPoison, so that a later read is no
/// longer right by accident. Every violation is an Error(kOwnership) that names the operator, the value and the run. Costs a
/// comparison of the whole arena, the state and the call's operands a call. Of a device's memory only the lives are checked, not
/// the bytes.
class OwnershipCheck {
 public:
  /// `run` counts the session's runs; the prepared run's registers hold its inputs. Throws if planned memory or a free slot was
  /// written since the last run.
  OwnershipCheck(const Program& program, const PreparedRun& prepared, Frame& frame, int64_t run);
  /// The arena is poison again, however the run ended.
  ~OwnershipCheck();
  OwnershipCheck(const OwnershipCheck&) = delete;
  OwnershipCheck& operator=(const OwnershipCheck&) = delete;

  void before(const PreparedCall& call);
  void after(const PreparedCall& call);
  /// After the last call.
  void at_end() { bystanders_.check_at_end(); }

 private:
  [[noreturn]] void report(const Node* node, const std::string& what) const;
  std::string owner_at(const char* p, int node) const;
  std::vector<ByteRange> may_write(const PreparedCall& call) const;
  void compare_arena(const Node& node, int index);
  void end_lives(int node);
  void check_cells(const Node* node) const;
  void check_lives(const PreparedCall& call) const;

  const Program& program_;
  const PreparedRun& prepared_;
  Frame& frame_;
  const int64_t run_;
  Bystanders bystanders_;
  Snapshot arena_{};                // before the call under way
  std::vector<ByteRange> allowed_;  // what the call under way may write, by address
  int ended_to_ = -1;               // the lives that end with that node or before have been ended
};

}  // namespace tenure
