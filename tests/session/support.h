// tests/session/support.h: programs from text, comparison of answers, and what explain() says of one value.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenure/base/error.h"
#include "tenure/session/session.h"
#include "tests/error_of.h"

namespace tenure::testing {

using Tensors = std::vector<at::Tensor>;
using Weights = std::map<std::string, at::Tensor>;

/// Output `output` of every engine is written into the memory of input `input`.
struct AliasedBinding {
  size_t output, input;
};

/// A program of that text form (tenure/graph/text.h) with these weights, and with the null engine's parts of these names.
std::shared_ptr<const Program> make_program(std::string_view text, Weights weights = {}, const std::vector<std::string>& parts = {},
                                            std::optional<AliasedBinding> aliased = std::nullopt);

/// The same dtype, sizes and bits.
bool same_bits(const at::Tensor& a, const at::Tensor& b);
/// Expects the same number of tensors, each with the same bits.
void expect_same(const Tensors& got, const Tensors& wanted, const std::string& what = "");

/// A copy of each.
Tensors copies(const Tensors& tensors);

/// Runs `session` `times` on the same inputs and expects `wanted` each time.
void expect_answers(Session& session, const Tensors& inputs, const Tensors& wanted, int times = 3);

/// What explain() says of the value of that name.
ValueExplanation explain_value(const Session& session, const std::string& value);

}  // namespace tenure::testing
