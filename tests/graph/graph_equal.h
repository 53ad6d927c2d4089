// tests/graph/graph_equal.h: deep equality of graphs, for tests; value ids must agree too.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tenure/graph/graph.h"

namespace tenure {

inline bool same_double(double a, double b) { return (a != a && b != b) || (a == b && std::signbit(a) == std::signbit(b)); }

/// Same kind (an empty list of ints is none of floats) and same content; NaN equals NaN, 0.0 not -0.0.
inline bool same_constant(const c10::IValue& a, const c10::IValue& b) {
  if (a.tagKind() != b.tagKind()) return false;
  if (a.isDouble()) return same_double(a.toDouble(), b.toDouble());
  if (a.isComplexDouble())
    return same_double(a.toComplexDouble().real(), b.toComplexDouble().real()) &&
           same_double(a.toComplexDouble().imag(), b.toComplexDouble().imag());
  if (!a.isList()) return a == b;
  if (*a.toList().elementType() != *b.toList().elementType() || a.toListRef().size() != b.toListRef().size()) return false;
  for (size_t i = 0; i < a.toListRef().size(); ++i)
    if (!same_constant(a.toListRef()[i], b.toListRef()[i])) return false;
  return true;
}

inline bool same_argument(const Argument& a, const Argument& b) {
  if (a.data.index() != b.data.index()) return false;
  if (a.is_value()) return a.value() == b.value();
  if (a.is_constant()) return same_constant(a.constant(), b.constant());
  if (a.list().size() != b.list().size()) return false;
  for (size_t i = 0; i < a.list().size(); ++i)
    if (!same_argument(a.list()[i], b.list()[i])) return false;
  return true;
}

inline void expect_equal(const Value& a, const Value& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.kind, b.kind) << a.name;
  EXPECT_EQ(a.producer, b.producer) << a.name;
  EXPECT_EQ(a.expr, b.expr) << a.name;
  ASSERT_EQ(a.meta.has_value(), b.meta.has_value()) << a.name;
  if (!a.meta) return;
  EXPECT_EQ(a.meta->dtype, b.meta->dtype) << a.name;
  EXPECT_EQ(a.meta->sizes, b.meta->sizes) << a.name;
  EXPECT_EQ(a.meta->strides, b.meta->strides) << a.name;
  EXPECT_EQ(a.meta->storage_offset, b.meta->storage_offset) << a.name;
  EXPECT_EQ(a.meta->device, b.meta->device) << a.name;
}

inline void expect_equal(const Node& a, const Node& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.kind, b.kind) << a.name;
  EXPECT_EQ(a.target, b.target) << a.name;
  ASSERT_EQ(a.inputs.size(), b.inputs.size()) << a.name;
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    EXPECT_EQ(a.inputs[i].name, b.inputs[i].name) << a.name;
    EXPECT_TRUE(same_argument(a.inputs[i].value, b.inputs[i].value)) << a.name << ", argument " << a.inputs[i].name;
  }
  ASSERT_EQ(a.outputs.size(), b.outputs.size()) << a.name;
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    EXPECT_EQ(a.outputs[i].is_list, b.outputs[i].is_list) << a.name;
    EXPECT_EQ(a.outputs[i].values, b.outputs[i].values) << a.name;
  }
}

inline void expect_equal(const Graph& a, const Graph& b) {
  ASSERT_EQ(a.values.size(), b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) expect_equal(a.values[i], b.values[i]);
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) expect_equal(a.nodes[i], b.nodes[i]);
  ASSERT_EQ(a.inputs.size(), b.inputs.size());
  for (size_t i = 0; i < a.inputs.size(); ++i) {
    EXPECT_EQ(a.inputs[i].kind, b.inputs[i].kind) << "input " << i;
    EXPECT_EQ(a.inputs[i].value, b.inputs[i].value) << "input " << i;
    EXPECT_EQ(a.inputs[i].target, b.inputs[i].target) << "input " << i;
    EXPECT_EQ(a.inputs[i].name, b.inputs[i].name) << "input " << i;
    EXPECT_TRUE(same_constant(a.inputs[i].constant, b.inputs[i].constant)) << "input " << i;
  }
  ASSERT_EQ(a.outputs.size(), b.outputs.size());
  for (size_t i = 0; i < a.outputs.size(); ++i) {
    EXPECT_EQ(a.outputs[i].kind, b.outputs[i].kind) << "output " << i;
    EXPECT_EQ(a.outputs[i].target, b.outputs[i].target) << "output " << i;
    EXPECT_TRUE(same_argument(a.outputs[i].value, b.outputs[i].value)) << "output " << i;
  }
  ASSERT_EQ(a.symbol_ranges.size(), b.symbol_ranges.size());
  for (const auto& [symbol, range] : a.symbol_ranges) {
    ASSERT_TRUE(b.symbol_ranges.contains(symbol)) << symbol;
    EXPECT_EQ(range.min, b.symbol_ranges.at(symbol).min) << symbol;
    EXPECT_EQ(range.max, b.symbol_ranges.at(symbol).max) << symbol;
  }
}

}  // namespace tenure
