#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tenure/base/error.h"
#include "tenure/graph/graph.h"
#include "tenure/graph/text.h"

namespace tenure {
namespace {

Graph example() {
  return parse_graph(R"(
      graph(%x: f32[s0], %w: f32[1] = parameter "w", %n: f32[s0] = buffer "n", flag = True):
        where 1 <= s0 <= 9
        %y: f32[s0] = aten::add.Tensor(self=%x, other=%w)
        %s: int(s0) = aten::sym_size.int(self=%y, dim=0)
        [%a, %b] = aten::split.Tensor(self=%y, split_size=1) as split
        return (%a, %s, buffer "n" = %y, input "x" = %b))");
}

enum Values : size_t { kX, kW, kN, kY, kS, kA, kB };

struct Damage {
  const char* what;  // in the message
  void (*make)(Graph&);
};

// One way to break the example for each invariant.
constexpr Damage kDamages[] = {
    {"value 3 has no name", [](Graph& g) { g.values[kY].name.clear(); }},
    {"two values are called x", [](Graph& g) { g.values[kY].name = "x"; }},
    {"value y is made by node 9, of 3", [](Graph& g) { g.values[kY].producer = NodeId(9); }},
    {"value y is no integer but has the expression 3", [](Graph& g) { g.values[kY].expr = Expr(3); }},
    {"value s is a number but has a tensor's shape", [](Graph& g) { g.values[kS].meta = g.values[kY].meta; }},
    {"value y has 1 sizes but 0 strides", [](Graph& g) { g.values[kY].meta->strides.clear(); }},
    {"value y has the size, stride or offset -1", [](Graph& g) { g.values[kY].meta->sizes[0] = Expr(-1); }},
    {"value y has the size, stride or offset -2", [](Graph& g) { g.values[kY].meta->storage_offset = Expr(-2); }},
    {"no integer lies in the range of symbol s0", [](Graph& g) { g.symbol_ranges["s0"].min = 10; }},
    {"input 1 has no name", [](Graph& g) { g.inputs[1].name.clear(); }},
    {"two inputs are called x", [](Graph& g) { g.inputs[1].name = "x"; }},
    {"input flag is a constant, yet names a value", [](Graph& g) { g.inputs[3].value = ValueId(kX); }},
    {"value number 99 does not exist; there are 7", [](Graph& g) { g.inputs[0].value = ValueId(99); }},
    {"value number 4294967295 does not exist", [](Graph& g) { g.inputs[0].value = ValueId(); }},
    {"value x is made twice", [](Graph& g) { g.inputs[1].value = ValueId(kX); }},
    {"value y names another producer", [](Graph& g) { g.inputs[0].value = ValueId(kY); }},
    {"input w does not say which weight it is", [](Graph& g) { g.inputs[1].target.clear(); }},
    {"input x comes from the caller, yet names a weight", [](Graph& g) { g.inputs[0].target = "w"; }},
    {"weight w is no tensor", [](Graph& g) { g.values[kW] = {"w", ValueKind::kSymFloat, {}, {}, {}}; }},
    {"node 1 has no name", [](Graph& g) { g.nodes[1].name.clear(); }},
    {"two nodes are called y", [](Graph& g) { g.nodes[1].name = "y"; }},
    {"node y: it calls nothing", [](Graph& g) { g.nodes[0].target.clear(); }},
    {"node y: an argument has no name", [](Graph& g) { g.nodes[0].inputs[0].name.clear(); }},
    {"node y: argument other is given twice", [](Graph& g) { g.nodes[0].inputs[0].name = "other"; }},
    {"node y: value s is used before it is made", [](Graph& g) { g.nodes[0].inputs[0].value = {ValueId(kS)}; }},
    {"node y: value y is used before it is made", [](Graph& g) { g.nodes[0].inputs[0].value = {Argument::List{{ValueId(kY)}}}; }},
    {"node y: value number 7 does not exist", [](Graph& g) { g.nodes[0].inputs[0].value = {ValueId(7)}; }},
    {"node y: a result that is not a list has 0 values", [](Graph& g) { g.nodes[0].outputs[0].values.clear(); }},
    {"node split: value a is made twice", [](Graph& g) { g.nodes[2].outputs[0].values[1] = ValueId(kA); }},
    {"node split: value y is made twice", [](Graph& g) { g.nodes[2].outputs[0].values[1] = ValueId(kY); }},
    {"node s: value s names another producer", [](Graph& g) { g.values[kS].producer = NodeId(0); }},
    {"value b is made by nothing", [](Graph& g) { g.nodes[2].outputs[0].values.pop_back(), g.outputs.pop_back(); }},
    {"an output for the caller names the target t", [](Graph& g) { g.outputs[0].target = "t"; }},
    {"an output changes the buffer w, which is not among the inputs", [](Graph& g) { g.outputs[2].target = "w"; }},
    {"an output changes the input y, which is not among the inputs", [](Graph& g) { g.outputs[3].target = "y"; }},
    {"the new content of n is no tensor", [](Graph& g) { g.outputs[2].value = {c10::IValue(1)}; }},
    {"the new content of n is no tensor", [](Graph& g) { g.outputs[2].value = {ValueId(kS)}; }},
};

TEST(Verify, AcceptsAWholeGraph) { EXPECT_NO_THROW(verify(example())); }

TEST(Verify, AcceptsAnOperatorThatReturnsNone) {
  Graph graph = example();
  graph.nodes[2].outputs.push_back({false, {ValueId()}});
  EXPECT_NO_THROW(verify(graph));
}

TEST(Verify, RefusesEachDamageNamingIt) {
  for (const Damage& damage : kDamages) {
    Graph graph = example();
    damage.make(graph);
    try {
      verify(graph);
      ADD_FAILURE() << "accepted: " << damage.what;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadFile) << damage.what;
      EXPECT_THAT(error.what(), testing::HasSubstr(damage.what));
    }
  }
}

TEST(Verify, ADamagedGraphStillPrints) {
  for (const Damage& damage : kDamages) {
    Graph graph = example();
    damage.make(graph);
    EXPECT_NO_THROW(to_text(graph)) << damage.what;
  }
}

}  // namespace
}  // namespace tenure
