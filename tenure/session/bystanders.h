// tenure/session/bystanders.h: memory that a call of a run has no business with: SessionOptions::check_ownership compares it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tenure/session/frame.h"

namespace tenure {

/// A stretch of memory.
struct ByteRange {
  const char* begin;
  const char* end;

  bool overlaps(const ByteRange& other) const { return other.begin < end && begin < other.end; }
};

/// What a stretch of memory held before a call.
struct Snapshot {
  const char* base;
  std::vector<char> bytes;

  ByteRange range() const { return {base, base + bytes.size()}; }
  /// Offset of the first byte that has changed and lies in none of `allowed`, sorted by address.
  std::optional<size_t> change_outside(const std::vector<ByteRange>& allowed) const;
  /// Takes over what now lies in `ranges`.
  void refresh(const std::vector<ByteRange>& ranges);
};

/// Of one run: weights, state, inputs, operands, and results that somebody holds, of this run or an earlier one. What a call may
/// not write must be the same before and after it. Memory of a device is not compared, nor inputs with gaps, which may be others'
/// memory. Weights and inputs above kEachCall bytes are compared once, at the run's end. Whoever holds results must not write into
/// them while a checked run is under way in the same session.
class Bystanders {
 public:
  static constexpr size_t kEachCall = 1 << 20;

  /// `registers` hold the run's weights, state and inputs; `run` counts the session's runs. Takes copies; refers to its arguments.
  Bystanders(const Program& program, const Registers& registers, const Frame& frame, int64_t run);

  /// Before a call of `node` that may write `allowed`, sorted by address, besides memory that it takes anew.
  void before(const Node& node, std::vector<ByteRange> allowed);
  /// After it. Throws Error(kOwnership) that names the node, what it wrote that was not its to write, and the run.
  void check_after(const Node& node);
  /// After the last call: the same of what is compared once.
  void check_at_end();

  /// What `node` may write of what it is given, sorted by address.
  std::vector<ByteRange> written_operands(size_t node) const;

 private:
  struct Watched {
    std::string what;
    Snapshot before;
    bool each_call;
    c10::Storage storage;  // in which it lies, unless that is a cell

    bool is_there() const;  // the storage was not resized
  };
  using Held = std::map<uint64_t, Watched>;  // by Cell::lease()

  static Watched watch(std::string what, const at::Tensor& tensor, bool each_call);
  void keep_operands(const Node& node);
  void look_at_cells();
  /// Where it is not as it was before the call, or "". Of what the call may write, the copy is brought up to date.
  std::string difference(Watched& watched, bool at_end);
  std::string cells_difference();

  const Program& program_;
  const Registers& registers_;
  const Frame& frame_;
  const int64_t run_;
  std::vector<Watched> watched_;
  std::vector<Watched> operands_;  // of the call under way, but for what is watched anyway
  Held held_;
  std::vector<ByteRange> allowed_;
  bool has_run_ = false;  // a call, so that results may be this run's
};

}  // namespace tenure
