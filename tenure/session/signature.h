// tenure/session/signature.h: what a plan depends on, and whether the inputs fit the program.
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tenure/graph/graph.h"

namespace tenure {

/// dtype, device, sizes and strides of each tensor input and the value of each number, as words that compare and hash.
struct Signature {
  std::vector<int64_t> words;
  size_t hash = 0;

  bool operator==(const Signature& other) const { return hash == other.hash && words == other.words; }
};

struct SignatureHash {
  size_t operator()(const Signature& signature) const noexcept { return signature.hash; }
};

/// Describes `inputs` in `signature`, whose memory is reused. Anything but tensors, numbers, strings and None is marked by its
/// type.
void describe(std::span<const c10::IValue> inputs, Signature& signature);

/// Throws Error(kInvalidArgument) unless the flat user inputs fit the program: number, kind, dtype, rank, sizes, device, layout,
/// and each symbol's range. Names the input, the dimension, what was given and what is allowed.
void validate_inputs(const Graph& graph, std::span<const c10::IValue> inputs);

/// "f32[1, 3, 224, 224], 7".
std::string to_text(std::span<const c10::IValue> inputs);

}  // namespace tenure
