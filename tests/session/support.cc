#include "tests/session/support.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <utility>

#include "tenure/graph/text.h"
#include "tests/engine/parts.h"

namespace tenure::testing {

std::shared_ptr<const Program> make_program(std::string_view text, Weights weights, const std::vector<std::string>& parts,
                                            std::optional<AliasedBinding> aliased) {
  ProgramFile file;
  file.graph = parse_graph(text);
  file.weights = std::move(weights);
  for (const std::string& part : parts) {
    file.engines.push_back({part_spec("null", part), part_blob("null", part)});
    if (aliased) file.engines.back().spec.outputs.at(aliased->output).aliases_input = aliased->input;
  }
  return Program::make(std::move(file), "test");
}

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  if (a.scalar_type() != b.scalar_type() || a.sizes() != b.sizes()) return false;
  const at::Tensor x = a.resolve_conj().resolve_neg().contiguous(), y = b.resolve_conj().resolve_neg().contiguous();
  return x.numel() == 0 || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

void expect_same(const Tensors& got, const Tensors& wanted, const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_TRUE(same_bits(got[i], wanted[i])) << what << " output " << i << " is " << got[i] << "\nbut should be " << wanted[i];
}

Tensors copies(const Tensors& tensors) {
  Tensors result;
  for (const at::Tensor& tensor : tensors) result.push_back(tensor.clone());
  return result;
}

void expect_answers(Session& session, const Tensors& inputs, const Tensors& wanted, int times) {
  for (int run = 0; run < times; ++run) expect_same(session.run(inputs), wanted, "run " + std::to_string(run));
}

ValueExplanation explain_value(const Session& session, const std::string& value) {
  for (const ValueExplanation& entry : session.explain().values)
    if (entry.value == value) return entry;
  throw std::invalid_argument("explain() has no value " + value);
}

}  // namespace tenure::testing
