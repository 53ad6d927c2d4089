// tenure/session/signature.h: what a plan depends on, and whether the inputs fit the program.
#pragma once

#include <ATen/core/ivalue.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tenure/graph/graph.h"
#include "tenure/ownership/ownership.h"

namespace tenure {

/// Which facts of the inputs a plan depends on besides dtype, device, sizes and strides; by flat user input.
struct SignatureRules {
  std::vector<bool> number;   // its value: a tensor's size may follow from it
  std::vector<bool> storage;  // where in how large a storage it lies: an operator sees more of that than the tensor
  bool has_free_numbers = false;
};

SignatureRules make_signature_rules(const Graph& graph, const OwnershipTable& ownership);

/// What a plan depends on, as words that compare and hash.
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
void describe(std::span<const c10::IValue> inputs, const SignatureRules& rules, Signature& signature);

/// Throws Error(kInvalidArgument) unless the flat user inputs fit the program: number, kind, dtype, rank, sizes, device, layout,
/// and each symbol's range. Names the input, the dimension, what was given and what is allowed.
void validate_inputs(const Graph& graph, std::span<const c10::IValue> inputs);

/// "f32[1, 3, 224, 224], 7".
std::string to_text(std::span<const c10::IValue> inputs);

}  // namespace tenure
