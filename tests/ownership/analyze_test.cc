// Text graphs in, owners out.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "tenure/graph/text.h"
#include "tenure/ownership/ownership.h"

namespace tenure {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

/// A graph and its owners, by value name.
class Analysed {
 public:
  explicit Analysed(const char* text) : graph_(parse_graph(text)) {
    std::vector<AliasFacts> facts;
    for (const Node& node : graph_.nodes) {
      const bool is_operator = node.kind == NodeKind::kOperator;
      const std::optional<OperatorCall> call = is_operator ? std::optional(resolve_call(node)) : std::nullopt;
      facts.push_back(alias_facts(node, call ? &call->op : nullptr));
    }
    table_ = analyze_ownership(graph_, std::move(facts));
  }

  const Owner& operator[](const std::string& name) const { return table_.owners[find(name)]; }
  Ownership owner(const std::string& name) const { return (*this)[name].ownership; }
  std::string viewed(const std::string& name) const { return graph_.value((*this)[name].viewed).name; }
  int last_use(const std::string& name) const { return table_.last_use[find(name)]; }
  const std::vector<std::string>& state() const { return table_.state; }

 private:
  size_t find(const std::string& name) const {
    for (size_t i = 0; i < graph_.values.size(); ++i)
      if (graph_.values[i].name == name) return i;
    throw std::invalid_argument("no value " + name);
  }

  Graph graph_;
  OwnershipTable table_;
};

TEST(Ownership, WhatStaysStandsAndWhatIsReturnedIsLeased) {
  const Analysed a(R"(graph(%x: f32[4]):
    %h: f32[4] = aten::relu(self=%x)
    %y: f32[4] = aten::sin(self=%h) as last_reader
    return (%y))");
  EXPECT_EQ(a.owner("x"), Ownership::kBorrowed);
  EXPECT_EQ(a["x"].reason, "input of the caller");
  EXPECT_EQ(a.owner("h"), Ownership::kStanding);
  EXPECT_EQ(a["h"].reason, "never leaves the program; last used by last_reader");
  EXPECT_FALSE(a["h"].escapes);
  EXPECT_EQ(a.owner("y"), Ownership::kLeased);
  EXPECT_EQ(a["y"].reason, "returned to the caller as output 0");
  EXPECT_TRUE(a["y"].escapes);
}

TEST(Ownership, EachOutputOfASplitIsAViewAndOneReturnedTakesTheBaseAlong) {
  const Analysed a(R"(graph(%x: f32[4]):
    %h: f32[4] = aten::relu(self=%x)
    [%a: f32[2], %b: f32[2]] = aten::split.Tensor(self=%h, split_size=2)
    return (3, %b))");
  EXPECT_EQ(a.owner("a"), Ownership::kView);
  EXPECT_EQ(a.viewed("a"), "h");
  EXPECT_EQ(a.viewed("b"), "h");
  EXPECT_EQ(a.owner("h"), Ownership::kLeased);
  EXPECT_EQ(a["h"].reason, "returned to the caller as output 1 through b");
  EXPECT_EQ(a["b"].reason, "shares the memory of h; returned to the caller as output 1");
}

TEST(Ownership, ViewsOfViewsThatAreReturnedNameTheWholeWay) {
  const Analysed a(R"(graph(%x: f32[4, 4]):
    %h: f32[4, 4] = aten::relu(self=%x)
    %v: f32[16] = aten::view(self=%h, size=[16])
    %w: f32[8] = aten::slice.Tensor(self=%v, dim=0, end=8)
    %r: f32[] = aten::select.int(self=%w, dim=0, index=1)
    return (%r))");
  EXPECT_EQ(a["h"].reason, "returned to the caller as output 0 through r, w, v");
  EXPECT_EQ(a.viewed("r"), "w");
  EXPECT_TRUE(a["v"].escapes);
}

TEST(Ownership, OfSeveralResultsOfOneOperatorOnlyTheReturnedOneLeaves) {
  const Analysed a(R"(graph(%x: f32[4, 4]):
    %v: f32[4], %i: i64[4] = aten::max.dim(self=%x, dim=0)
    %s: f32[4] = aten::sin(self=%v)
    return (%s, %i))");
  EXPECT_EQ(a.owner("v"), Ownership::kStanding);
  EXPECT_EQ(a.owner("i"), Ownership::kLeased);
}

TEST(Ownership, OutputsOfAnEngineAreOwnedOneByOne) {
  const Analysed a(R"(graph(%x: f32[4]):
    %a: f32[4], %b: f32[4], %c: f32[4] = engine "e"(%x)
    %v: f32[2, 2] = aten::view(self=%b, size=[2, 2])
    %s: f32[4] = aten::sin(self=%c)
    return (%a, %v, %s))");
  EXPECT_EQ(a.owner("a"), Ownership::kLeased);
  EXPECT_EQ(a.owner("b"), Ownership::kLeased);
  EXPECT_EQ(a["b"].reason, "returned to the caller as output 1 through v");
  EXPECT_EQ(a.owner("c"), Ownership::kStanding);
}

TEST(Ownership, AChainOfInPlaceOperatorsIsOneMemory) {
  const Analysed a(R"(graph(%x: f32[4]):
    %h: f32[4] = aten::relu(self=%x)
    %a: f32[4] = aten::add_.Tensor(self=%h, other=%x)
    %b: f32[4] = aten::sin_(self=%a)
    %y: f32[4] = aten::mul.Tensor(self=%h, other=%x)
    return (%y))");
  EXPECT_EQ(a.owner("h"), Ownership::kStanding);
  EXPECT_EQ(a.viewed("b"), "a");
  EXPECT_EQ(a.last_use("a"), 3) << "its memory is read through h";
  EXPECT_FALSE(a["a"].escapes);
}

TEST(Ownership, WhatAnInPlaceOperatorWroteEscapesWithItsResult) {
  const Analysed a(R"(graph(%x: f32[4]):
    %h: f32[4] = aten::relu(self=%x)
    %v: f32[2, 2] = aten::view(self=%h, size=[2, 2])
    %a: f32[4] = aten::add_.Tensor(self=%h, other=%x)
    return (%a))");
  EXPECT_EQ(a.owner("h"), Ownership::kLeased);
  EXPECT_TRUE(a["v"].escapes) << "it is a view of memory that leaves";
  EXPECT_THAT(a["v"].reason, HasSubstr("returned to the caller as output 0"));
}

TEST(Ownership, ReshapeMayBeAViewAndSaysSo) {
  const Analysed a(R"(graph(%x: f32[4]):
    %h: f32[4] = aten::relu(self=%x)
    %r: f32[2, 2] = aten::reshape(self=%h, shape=[2, 2])
    return (%r))");
  EXPECT_EQ(a.owner("r"), Ownership::kView);
  EXPECT_TRUE(a["r"].conditional);
  EXPECT_THAT(a["r"].reason, HasSubstr("may share the memory of h"));
  EXPECT_EQ(a.owner("h"), Ownership::kLeased);
}

TEST(Ownership, AMutatedBufferIsStateAndItsNewContentStands) {
  const Analysed a(R"(graph(%x: f32[4], %n: f32[4] = buffer "counter", %k: f32[4] = buffer "fixed"):
    %z: f32[4] = aten::add.Tensor(self=%n, other=%k)
    %y: f32[4] = aten::add.Tensor(self=%z, other=%x)
    return (%y, buffer "counter" = %z))");
  EXPECT_THAT(a.state(), ElementsAre("counter"));
  EXPECT_EQ(a["n"].reason, "state of the session: counter");
  EXPECT_EQ(a["k"].reason, "weight fixed");
  EXPECT_EQ(a.owner("z"), Ownership::kStanding);
  EXPECT_EQ(a["z"].reason, "never leaves the program; written back at the end of the run");
}

TEST(Ownership, ABufferWrittenThroughAViewIsState) {
  const Analysed a(R"(graph(%x: f32[4], %n: f32[4, 4] = buffer "cache"):
    %r: f32[4] = aten::select.int(self=%n, dim=0, index=1)
    %c: f32[4] = aten::copy_(self=%r, src=%x)
    return (%c))");
  EXPECT_THAT(a.state(), ElementsAre("cache"));
  EXPECT_EQ(a.owner("n"), Ownership::kBorrowed);
}

TEST(Ownership, AnInputOrAWeightThatIsReturnedStaysBorrowed) {
  const Analysed a(R"(graph(%x: f32[4], %w: f32[4] = parameter "w"):
    %v: f32[2, 2] = aten::view(self=%x, size=[2, 2])
    return (%x, %w, %v))");
  EXPECT_EQ(a.owner("x"), Ownership::kBorrowed);
  EXPECT_EQ(a.owner("w"), Ownership::kBorrowed);
  EXPECT_EQ(a["w"].reason, "weight w");
  EXPECT_EQ(a.owner("v"), Ownership::kView);
  EXPECT_THAT(a.state(), IsEmpty());
}

TEST(Ownership, SizesThatTheInputsDoNotDetermineDependOnData) {
  const Analysed a(R"(graph(%x: f32[s0, 4]):
    %n: i64[u0, 2] = aten::nonzero(self=%x)
    %t: i64[2, u0] = aten::transpose.int(self=%n, dim0=0, dim1=1)
    %m: i64[] = aten::sum(self=%n)
    %r: f32[s0, 4] = aten::relu(self=%x)
    %u = aten::unique_dim_consecutive(self=%x, dim=0) as untyped
    return (%t, %m))");
  EXPECT_TRUE(a["n"].data_dependent);
  EXPECT_TRUE(a["t"].data_dependent);
  EXPECT_FALSE(a["m"].data_dependent) << "its size is known, whatever its content";
  EXPECT_FALSE(a["r"].data_dependent);
  EXPECT_TRUE(a["u"].data_dependent) << "nothing is known of it";
  EXPECT_THAT(a["n"].reason, HasSubstr("its size depends on data"));
  EXPECT_EQ(a.owner("n"), Ownership::kLeased);
}

TEST(Ownership, ANumberFromATensorsContentDependsOnDataAndOneFromItsSizeDoesNot) {
  const Analysed a(R"(graph(%x: f32[s0], %i: i64[]):
    %s: int(s0) = aten::sym_size.int(self=%x, dim=0)
    %t: int = _operator.add(a=%s, b=1)
    %k: int(u0) = aten::item(self=%i)
    %l: int = _operator.add(a=%k, b=%t)
    %r: f32[] = aten::select.int(self=%x, dim=0, index=%k)
    %f: f32[s0] = aten::full_like(self=%x, fill_value=%k)
    return (%l))");
  EXPECT_FALSE(a["s"].data_dependent);
  EXPECT_FALSE(a["t"].data_dependent);
  EXPECT_TRUE(a["k"].data_dependent);
  EXPECT_TRUE(a["l"].data_dependent);
  EXPECT_TRUE(a["r"].data_dependent) << "where it lies depends on the number";
  EXPECT_FALSE(a["f"].data_dependent) << "only its content does";
  EXPECT_EQ(a["k"].reason, "a number");
}

TEST(Ownership, AllThatSharesMemoryWithMetadataChangedInPlaceIsMovable) {
  const Analysed a(R"(graph(%x: f32[4, 1]):
    %h: f32[4, 1] = aten::relu(self=%x)
    %v: f32[4, 1] = aten::alias(self=%h)
    %q: f32[4] = aten::squeeze_(self=%v)
    %s: f32[4, 1] = aten::sin(self=%h)
    return (%s))");
  EXPECT_TRUE(a["h"].movable);
  EXPECT_TRUE(a["v"].movable);
  EXPECT_TRUE(a["q"].movable);
  EXPECT_FALSE(a["s"].movable);
}

TEST(Ownership, LastUseIsThatOfTheLastValueOnTheSameMemory) {
  const Analysed a(R"(graph(%x: f32[4]):
    %h: f32[4] = aten::relu(self=%x)
    %v: f32[2, 2] = aten::view(self=%h, size=[2, 2])
    %s: f32[4] = aten::sin(self=%x)
    %y: f32[2, 2] = aten::cos(self=%v)
    %u: f32[4] = aten::exp(self=%x)
    return (%y, %s))");
  EXPECT_EQ(a.last_use("h"), 3);
  EXPECT_EQ(a.last_use("v"), 3);
  EXPECT_EQ(a.last_use("y"), 5) << "returned: beyond the last node";
  EXPECT_EQ(a.last_use("u"), 4) << "read by nobody: until the node that makes it is done";
}

TEST(Ownership, NamesAreInOrderFromStrictestToLoosest) {
  EXPECT_EQ(to_string(Ownership::kBorrowed), "borrowed");
  EXPECT_EQ(to_string(Ownership::kView), "view");
  EXPECT_EQ(to_string(Ownership::kStanding), "standing");
  EXPECT_EQ(to_string(Ownership::kLeased), "leased");
  EXPECT_EQ(to_string(Ownership::kFresh), "fresh");
  EXPECT_LT(Ownership::kBorrowed, Ownership::kFresh);
}

}  // namespace
}  // namespace tenure
