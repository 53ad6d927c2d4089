// Random graphs with everything that a graph may hold: text -> graph -> text is the identity on text and structure.
#include <ATen/core/List.h>
#include <gtest/gtest.h>

#include <random>

#include "graph_equal.h"
#include "tenure/graph/text.h"

namespace tenure {
namespace {

using c10::IValue;

class RandomGraph {
 public:
  explicit RandomGraph(uint64_t seed) : random_(seed) {}

  Graph make() {
    for (int i = below(5); i > 0; --i) add_input();
    for (int i = below(8); i > 0; --i) add_node();
    for (int i = below(4); i > 0; --i) add_output();
    for (int i = below(3); i > 0; --i) {
      SymbolRange range;
      if (flip()) range.min = below(5);
      if (flip()) range.max = 5 + below(5);
      graph_.symbol_ranges["s" + std::to_string(i)] = range;
    }
    return std::move(graph_);
  }

 private:
  int below(size_t n) { return static_cast<int>(random_() % n); }
  bool flip() { return below(2) == 0; }

  std::string name(const std::string& prefix) {
    static const std::vector<std::string> kOdd = {"", " ", "\"", "\\n", "%", ".x", "=", "\n", "é"};
    return prefix + std::to_string(next_name_++) + kOdd[below(4) == 0 ? below(kOdd.size()) : 0];
  }

  std::string string() {
    std::string text;
    for (int i = below(6); i > 0; --i) text += static_cast<char>(below(256));
    return text;
  }

  double real() {
    switch (below(4)) {
      case 0: return below(100) / 7.0 - 5;
      case 1: return std::numeric_limits<double>::infinity() * (flip() ? 1 : -1);
      case 2: return std::numeric_limits<double>::quiet_NaN();
      default: return std::ldexp(static_cast<double>(random_() >> 11), below(1900) - 1100);
    }
  }

  int64_t integer() { return flip() ? below(50) - 25 : static_cast<int64_t>(random_()); }

  template <typename T, typename Make>
  IValue list(const Make& make) {
    c10::List<T> list;
    for (int i = below(4); i > 0; --i) list.push_back(make());
    return list;
  }

  IValue constant() {
    switch (below(13)) {
      case 0: return {};
      case 1: return flip();
      case 2: return integer();
      case 3: return real();
      case 4: return c10::complex<double>(real(), real());
      case 5: return string();
      case 6: return flip() ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(below(4)));
      case 7: return list<int64_t>([&] { return integer(); });
      case 8: return list<double>([&] { return real(); });
      case 9: return list<bool>([&] { return flip(); });
      case 10: return list<std::string>([&] { return string(); });
      case 11: return list<c10::List<int64_t>>([&] { return list<int64_t>([&] { return integer(); }).toIntList(); });
      default: return int64_t{below(30)};
    }
  }

  Argument argument(int depth) {
    if (!graph_.values.empty() && below(3) == 0) return {ValueId(below(made_))};
    if (depth > 2 || flip()) return {constant()};
    Argument::List elements;
    for (int i = below(4); i > 0; --i) elements.push_back(argument(depth + 1));
    return {std::move(elements)};
  }

  Expr expr() {
    static const std::vector<std::string> kExprs = {
        "0", "3", "s0", "s1", "2*s0 + 1", "s0//2", "4*s0*s1", "max(1, s0 - u0)", "symbol('a b')"};
    return Expr::parse_infix(kExprs[below(kExprs.size())]);
  }

  std::vector<Expr> exprs(int count) {
    std::vector<Expr> result(count);
    for (Expr& one : result) one = expr();
    return result;
  }

  ValueId add_value(NodeId producer, bool tensor_only) {
    Value value;
    value.name = name("v");
    value.kind = tensor_only ? ValueKind::kTensor : static_cast<ValueKind>(below(4));
    value.producer = producer;
    if (value.kind == ValueKind::kSymInt && flip()) value.expr = expr();
    if (value.kind == ValueKind::kTensor && flip()) {
      TensorMeta meta;
      do meta.dtype = static_cast<at::ScalarType>(below(static_cast<size_t>(at::ScalarType::NumOptions)));
      while (meta.dtype == at::ScalarType::Undefined);
      meta.sizes = exprs(below(4));
      meta.strides = exprs(static_cast<int>(meta.sizes.size()));
      meta.storage_offset = flip() ? Expr() : expr();
      if (flip()) meta.device = at::Device(at::kCUDA, 0);
      value.meta = meta;
    }
    graph_.values.push_back(std::move(value));
    return ValueId(graph_.values.size() - 1);
  }

  void add_input() {
    GraphInput input;
    input.kind = static_cast<GraphInput::Kind>(below(5));
    if (input.kind == GraphInput::Kind::kUserConstant) {
      input.constant = constant();
    } else {
      input.value = add_value(NodeId(), input.kind != GraphInput::Kind::kUser);
      if (input.kind != GraphInput::Kind::kUser) input.target = name("weight.");
    }
    input.name = input.value.valid() && flip() ? graph_.value(input.value).name : name("in");
    graph_.inputs.push_back(std::move(input));
    made_ = graph_.values.size();
  }

  void add_node() {
    static const std::vector<std::string> kTargets[] = {{"aten::add.Tensor", "torchvision::nms", "my op"},
                                                        {"_operator.add", "math.ceil", "strange::scalar", "ceil"},
                                                        {"engine_0", "e\""}};
    Node node;
    node.kind = static_cast<NodeKind>(below(3));
    const auto& targets = kTargets[static_cast<size_t>(node.kind)];
    node.target = targets[below(targets.size())];
    static const std::vector<std::string> kParameters = {"self", "dtype", "layout", "memory_format", "a b", "acc_dtype"};
    for (int i = 0, n = below(4); i < n; ++i)
      node.inputs.push_back({flip() ? std::to_string(i) : kParameters[below(kParameters.size())] + std::to_string(i), argument(0)});
    for (int i = below(3); i > 0; --i) {
      NodeOutput output{.is_list = flip(), .values = {}};
      for (int k = output.is_list ? below(4) : 1; k > 0; --k)
        output.values.push_back(below(5) == 0 ? ValueId() : add_value(NodeId(graph_.nodes.size()), false));
      node.outputs.push_back(std::move(output));
    }
    node.name = name("node");
    made_ = graph_.values.size();
    graph_.nodes.push_back(std::move(node));
  }

  void add_output() {
    GraphOutput output{.value = argument(0), .target = ""};
    for (const GraphInput& input : graph_.inputs) {
      if (input.kind != GraphInput::Kind::kBuffer || !flip()) continue;
      output = {GraphOutput::Kind::kBufferMutation, {input.value}, input.target};
    }
    graph_.outputs.push_back(std::move(output));
  }

  std::mt19937_64 random_;
  Graph graph_;
  size_t made_ = 0;  // values that a new node may read
  int next_name_ = 0;
};

TEST(Text, RandomGraphsRoundTrip) {
  for (uint64_t seed = 0; seed < 1000; ++seed) {
    const Graph graph = RandomGraph(seed).make();
    ASSERT_NO_THROW(verify(graph)) << "seed " << seed;
    const std::string text = to_text(graph);
    SCOPED_TRACE("seed " + std::to_string(seed) + "\n" + text);
    const Graph again = parse_graph(text);
    expect_equal(again, graph);
    ASSERT_EQ(to_text(again), text);
    ASSERT_FALSE(testing::Test::HasFailure());
  }
}

}  // namespace
}  // namespace tenure
