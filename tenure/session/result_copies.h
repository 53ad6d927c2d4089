// tenure/session/result_copies.h: copies of results whose memory will change.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <vector>

namespace tenure {

/// Copies storage by storage, so that results that share memory go on sharing it, with the strides that they have. One allocation a
/// storage, of the bytes between the first and the last element that any result sees.
class ResultCopies {
 public:
  /// `tensor` is results[index]. Those that are added as `of_state` share memory only with one another.
  void add(size_t index, const at::Tensor& tensor, bool of_state);
  /// Replaces the results that were added.
  void make(std::vector<c10::IValue>& results) const;

 private:
  struct Group {
    c10::Storage storage;
    bool of_state;
    int64_t begin = 0, end = 0;  // bytes in the storage
    std::vector<std::pair<size_t, at::Tensor>> results;
  };
  std::vector<Group> groups_;
};

}  // namespace tenure
