// What an operator's schema says about shared memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenure/graph/text.h"
#include "tenure/ownership/ownership.h"

namespace tenure {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// The facts of the last node, with names for ids.
struct Named {
  std::vector<std::vector<std::string>> may_alias;
  std::vector<std::string> mutates;
  bool always = false, metadata = false;
};

Named facts_of(const std::string& text) {
  const Graph graph = parse_graph(text);
  const Node& node = graph.nodes.back();
  const bool is_operator = node.kind == NodeKind::kOperator;
  const std::optional<OperatorCall> call = is_operator ? std::optional(resolve_call(node)) : std::nullopt;
  const AliasFacts facts = alias_facts(node, call ? &call->op : nullptr);
  const auto names = [&](const std::vector<ValueId>& ids) {
    std::vector<std::string> result;
    for (ValueId id : ids) result.push_back(graph.value(id).name);
    return result;
  };
  Named named{.may_alias = {},
              .mutates = names(facts.mutates),
              .always = facts.always_aliases,
              .metadata = facts.changes_metadata_in_place};
  for (const auto& ids : facts.may_alias) named.may_alias.push_back(names(ids));
  return named;
}

TEST(AliasFacts, AFunctionalOperatorSharesNothing) {
  const Named facts = facts_of("graph(%x, %y): %z = aten::add.Tensor(self=%x, other=%y) return (%z)");
  EXPECT_THAT(facts.may_alias, ElementsAre(IsEmpty()));
  EXPECT_THAT(facts.mutates, IsEmpty());
}

TEST(AliasFacts, AViewSharesItsBase) {
  const Named facts = facts_of("graph(%x): %z = aten::select.int(self=%x, dim=0, index=0) return (%z)");
  EXPECT_THAT(facts.may_alias, ElementsAre(ElementsAre("x")));
  EXPECT_TRUE(facts.always);
}

TEST(AliasFacts, EachElementOfASplitSharesTheBase) {
  const Named facts = facts_of("graph(%x): [%a, None, %b] = aten::split.Tensor(self=%x, split_size=2) return (%a, %b)");
  EXPECT_THAT(facts.may_alias, ElementsAre(ElementsAre("x"), ElementsAre("x")));
}

TEST(AliasFacts, ReshapeToAndContiguousShareOnlySometimes) {
  for (const char* call : {"reshape(self=%x, shape=[4])", "to.dtype(self=%x, dtype=dtype f32)", "contiguous(self=%x)"}) {
    const Named facts = facts_of(std::string("graph(%x): %z = aten::") + call + " return (%z)");
    EXPECT_THAT(facts.may_alias, ElementsAre(ElementsAre("x"))) << call;
    EXPECT_FALSE(facts.always) << call;
  }
}

TEST(AliasFacts, OperatorsWhoseSchemasHideThatTheyMayReturnTheirInputAreKnown) {
  const Named dropout = facts_of("graph(%x): %z = aten::dropout(input=%x, p=0.5, train=False) return (%z)");
  EXPECT_THAT(dropout.may_alias, ElementsAre(ElementsAre("x")));
  EXPECT_FALSE(dropout.always);
  const Named broadcast = facts_of("graph(%x, %y): [%a, %b] = aten::broadcast_tensors(tensors=[%x, %y]) return (%a, %b)");
  EXPECT_THAT(broadcast.may_alias, ElementsAre(ElementsAre("x", "y"), ElementsAre("x", "y")));
}

TEST(AliasFacts, AnInPlaceOperatorMutatesAndSharesItsOperandOnly) {
  const Named facts = facts_of("graph(%x, %y): %z = aten::add_.Tensor(self=%x, other=%y) return (%z)");
  EXPECT_THAT(facts.may_alias, ElementsAre(ElementsAre("x")));
  EXPECT_THAT(facts.mutates, ElementsAre("x"));
  EXPECT_FALSE(facts.metadata);
}

TEST(AliasFacts, MetadataChangedInPlaceIsTold) {
  EXPECT_TRUE(facts_of("graph(%x): %z = aten::squeeze_(self=%x) return (%z)").metadata);
  EXPECT_TRUE(facts_of("graph(%x): %z = aten::resize_(self=%x, size=[2]) return (%z)").metadata);
  EXPECT_FALSE(facts_of("graph(%x): %z = aten::squeeze(self=%x) return (%z)").metadata);
}

TEST(AliasFacts, ListsOfOperandsAreMutatedElementByElement) {
  const Named facts = facts_of("graph(%x, %y): aten::_foreach_add_.Scalar(self=[%x, %y], scalar=1) return (%x)");
  EXPECT_THAT(facts.mutates, ElementsAre("x", "y"));
}

TEST(AliasFacts, AnOutArgumentIsMutatedAndReturned) {
  const Named facts = facts_of("graph(%x, %y): %z = aten::sin.out(self=%x, out=%y) return (%z)");
  EXPECT_THAT(facts.may_alias, ElementsAre(ElementsAre("y")));
  EXPECT_THAT(facts.mutates, ElementsAre("y"));
}

TEST(AliasFacts, AnEnginesOutputsHaveMemoryOfTheirOwn) {
  const Named facts = facts_of(R"(graph(%x): %a, %b = engine "e"(%x) return (%a, %b))");
  EXPECT_THAT(facts.may_alias, ElementsAre(IsEmpty(), IsEmpty()));
}

}  // namespace
}  // namespace tenure
