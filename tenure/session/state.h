// tenure/session/state.h: the buffers that a program changes, as one session's own.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "tenure/session/program.h"

namespace tenure {

/// Copies of the buffers that runs change, so that sessions of one program do not see each other's. Names that share memory in the
/// file go on sharing it. The memory of those on the host lies in arena_region(), and a plan may let an
/// operator write its result into any. It stays while
/// anybody holds a storage of it. Not thread-safe.
class State {
 public:
  /// Throws Error(kBadFile) naming a buffer that the file lacks.
  explicit State(const Program& program);

  bool empty() const { return tensors_.empty(); }
  /// By name: what runs change, and what shares memory with that. Objects that stay the same for the session's life.
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }
  /// Whether the tensor lies in one of them.
  bool holds(const at::Tensor& tensor) const;

  /// The content that the file gives.
  void reset();
  /// A copy of each buffer that runs change, by name.
  std::map<std::string, at::Tensor> copies() const;
  /// Takes over the content of `values`, which may name any of those buffers. Throws Error(kInvalidArgument) for another name,
  /// dtype or size, and changes nothing then.
  void load(const std::map<std::string, at::Tensor>& values);

 private:
  struct Storage {
    at::Tensor original;  // bytes of the file's weight
    at::Tensor bytes;     // the same of this session
  };

  /// Null unless runs change the memory of that weight of the file.
  const Storage* storage_of(const at::Tensor& weight) const;

  const Program& program_;
  std::vector<Storage> storages_;
  std::map<std::string, at::Tensor> tensors_;
};

}  // namespace tenure
