// tenure/session/observation.h: what the first run of a signature shows: every allocation of every operator, and where each value
// lies.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tenure/graph/operator.h"
#include "tenure/plan/plan.h"
#include "tenure/session/allocator.h"
#include "tenure/session/program.h"

namespace tenure {

/// One request for memory that an operator (or the session, for an engine's output) made on the running thread.
struct Request {
  int node = 0;
  Space space = Space::kHost;
  plan::Bytes bytes = 0;
  plan::Time begin = 0;
  plan::Time end = -1;  // when it was freed on the running thread within the run; -1 if it was not
  int end_node =
      -1;  // the node under way, or done last, at `end`; one past the last node if nobody freed it before the results were taken
  bool scratch = false;       // freed before its node was done
  uint64_t freed_before = 0;  // which scratch of the node had been freed when the request came: the sum of their free_mark()s
  bool returned = false;      // memory of a user output
  bool other_stream = false;  // an operator used it on another stream than the run's
};

/// Stands for the n-th request of a node in Request::freed_before: sums of different requests differ but for an unlikely accident.
/// (Mixed as in splitmix64, by S. Vigna, public domain: sums of a linear mark would often be equal.)
inline uint64_t free_mark(int n) {
  uint64_t mark = (static_cast<uint64_t>(n) + 1) * 0x9E3779B97F4A7C15ull;
  mark = (mark ^ (mark >> 30)) * 0xBF58476D1CE4E5B9ull;
  mark = (mark ^ (mark >> 27)) * 0x94D049BB133111EBull;
  return mark ^ (mark >> 31);
}

/// Where a value was seen to lie, and how.
struct ValueRecord {
  enum class Origin {
    kUnseen,     // not made in this run
    kNumber,     // `number`
    kRequest,    // in `request`
    kInput,      // the caller's memory
    kWeight,     // a weight's or the state's memory; `tensor` is an alias of it
    kEmpty,      // no bytes
    kElsewhere,  // memory that no request on this thread made
  };
  Origin origin = Origin::kUnseen;
  int request = -1;
  ValueId input;  // kInput, kWeight: the graph input whose memory it is
  c10::IValue number;
  at::Tensor tensor;
  std::vector<int64_t> sizes, strides;  // in elements
  int64_t storage_offset = 0;           // in elements
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  /// A dense tensor of the CPU or of CUDA and nothing more (conjugated, quantized): these sizes over that memory are the same
  /// value.
  bool plain = true;
};

struct Observation {
  std::string signature;  // readable
  std::vector<Request> requests;
  std::vector<std::pair<int, int>> of_node;  // by node: first request, count
  std::vector<ValueRecord> values;           // by value
};

/// Records one run. Used on the running thread only.
class Observer final : public CountingScope {
 public:
  explicit Observer(const Program& program);

  /// Before the run: what the graph's inputs are.
  void start(const Registers& registers);
  /// Before the node's call. Throws Error(kUnsupported) if it would write into a weight that the file's other runs read too: a
  /// value that a schema did not admit to be the weight's memory.
  void enter_node(int node, const Registers& registers);
  /// After the node's call, its results in `registers`.
  void leave_node(const Registers& registers);
  /// After the last node: what is freed from here on was read by the end of the run.
  void leave_graph() { last_node_ = static_cast<int>(observation_.of_node.size()); }
  /// After all registers were emptied: `outputs` are what leaves to the caller.
  Observation finish(const std::vector<c10::IValue>& outputs, std::string signature);

  void allocated(Space space, void* p, size_t bytes) override;
  void freed(void* p) override;
  bool watches_frees() const override { return true; }
  void used_on_other_stream(void* p) override;

 private:
  using Origin = ValueRecord::Origin;

  void record(ValueId value, const c10::IValue& content);
  void check_writes(int node, const Registers& registers) const;

  const Program& program_;
  Observation observation_;
  std::unordered_map<const void*, int> live_;                                         // address -> request
  std::unordered_map<const c10::StorageImpl*, std::pair<Origin, ValueId>> borrowed_;  // storages that were there before the run
  std::unordered_set<const c10::StorageImpl*> state_;                                 // of them, those that runs may write
  plan::Time clock_ = 0;
  int node_ = -1;  // -1 between nodes
  int last_node_ = -1;
  uint64_t freed_scratch_ = 0;
};

}  // namespace tenure
