#include "tenure/graph/expr.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using Symbols = std::map<std::string, int64_t, std::less<>>;

Expr::Lookup in(const Symbols& symbols) {
  return [&symbols](std::string_view name) -> std::optional<int64_t> {
    const auto found = symbols.find(name);
    return found == symbols.end() ? std::nullopt : std::optional(found->second);
  };
}

std::optional<int64_t> value(std::string_view srepr, const Symbols& symbols = {{"s0", 7}, {"u1", -3}}) {
  return Expr::parse(srepr).evaluate(in(symbols));
}

struct Case {
  const char* srepr;
  const char* infix;
  std::optional<int64_t> value;  // for s0 = 7, u1 = -3
};

constexpr const char* kS = "Symbol('s0', positive=True, integer=True)";

std::string with_symbols(std::string text) {
  for (size_t at; (at = text.find('$')) != std::string::npos;) text.replace(at, 1, kS);
  for (size_t at; (at = text.find('@')) != std::string::npos;) text.replace(at, 1, "Symbol('u1', integer=True)");
  return text;
}

// $ is s0 and @ is u1 as torch.export prints them; values are what SymPy and torch.utils._sympy give.
constexpr Case kCases[] = {
    {"5", "5", 5},
    {"-12", "-12", -12},
    {"Integer(-9223372036854775808)", "rational(-9223372036854775808, 1)", INT64_MIN},
    {"true", "1", 1},
    {"false", "0", 0},
    {"$", "s0", 7},
    {"Add(Mul(Integer(2), $), Integer(1))", "2*s0 + 1", 15},
    {"Add($, Mul(Integer(-1), @))", "s0 - u1", 10},
    {"Add(Mul(Integer(-1), $), @, Integer(-4))", "-s0 + u1 - 4", -14},
    {"Add($, Mul(Integer(-2), $, @), Mul(Integer(-1), Integer(3), @))", "s0 - 2*s0*u1 - 1*3*u1", 58},
    {"Mul(Integer(3), Pow($, Integer(2)))", "3*s0**2", 147},
    {"Mul(Add($, Integer(1)), Add(@, Integer(-1)))", "(s0 + 1)*(u1 - 1)", -32},
    {"Mul(Integer(-1), FloorDiv($, Integer(2)))", "-(s0//2)", -3},
    {"Mul(Integer(-2), Mul(Integer(-3), $))", "-2*(-3*s0)", 42},
    {"FloorDiv(Add($, Integer(-1)), Integer(4))", "(s0 - 1)//4", 1},
    {"FloorDiv(@, Integer(2))", "u1//2", -2},
    {"FloorDiv($, Integer(-2))", "s0//(-2)", -4},
    {"CleanDiv(Mul(Integer(6), $), Integer(2))", "(6*s0)//2", 21},
    {"CeilDiv($, Integer(2))", "ceildiv(s0, 2)", 4},
    {"CeilDiv(@, Integer(2))", "ceildiv(u1, 2)", -1},
    {"Mod($, Integer(5))", "s0 % 5", 2},
    {"PythonMod(@, Integer(5))", "u1 % 5", 2},
    {"PythonMod($, Integer(-5))", "s0 % (-5)", -3},
    {"Max(Integer(1), $, @)", "max(1, s0, u1)", 7},
    {"Min(Integer(1), $, @)", "min(1, s0, u1)", -3},
    {"Abs(@)", "abs(u1)", 3},
    {"Where(StrictLessThan($, @), $, Add(@, Integer(1)))", "where(s0 < u1, s0, u1 + 1)", -2},
    {"Equality($, Integer(7))", "s0 == 7", 1},
    {"Eq($, @)", "s0 == u1", 0},
    {"Unequality($, @)", "s0 != u1", 1},
    {"Ne($, Integer(7))", "s0 != 7", 0},
    {"StrictLessThan($, @)", "s0 < u1", 0},
    {"LessThan($, Integer(7))", "s0 <= 7", 1},
    {"StrictGreaterThan($, @)", "s0 > u1", 1},
    {"GreaterThan(@, Integer(-3))", "u1 >= -3", 1},
    {"And(StrictGreaterThan($, Integer(2)), StrictLessThan(@, Integer(2)))", "and(s0 > 2, u1 < 2)", 1},
    {"Or(StrictGreaterThan(@, Integer(2)), Equality($, Integer(2)))", "or(u1 > 2, s0 == 2)", 0},
    {"Not(Equality($, Integer(2)))", "not(s0 == 2)", 1},
    {"Mul(Rational(1, 2), Add($, Integer(-1)))", "rational(1, 2)*(s0 - 1)", 3},
    {"Mul(Rational(1, 2), $)", "rational(1, 2)*s0", std::nullopt},
    {"floor(Mul(Rational(-1, 2), $))", "floor(rational(-1, 2)*s0)", -4},
    {"ceiling(Mul(Rational(-1, 2), $))", "ceil(rational(-1, 2)*s0)", -3},
    {"Mul($, Pow(Integer(7), Integer(-1)))", "s0*7**(-1)", 1},
    {"Pow(@, Integer(3))", "u1**3", -27},
    {"PowByNatural($, Integer(0))", "s0**0", 1},
    {"IntTrueDiv(Mul(Integer(4), $), Integer(2))", "truediv(4*s0, 2)", 14},
    {"IntTrueDiv($, Integer(2))", "truediv(s0, 2)", std::nullopt},
    {"FloorToInt(IntTrueDiv(@, Integer(2)))", "floor(truediv(u1, 2))", -2},
    {"TruncToInt(IntTrueDiv(@, Integer(2)))", "trunc(truediv(u1, 2))", -1},
    {"CeilToInt(Mul(Float('1.5', precision=53), ToFloat($)))", "ceil(1.5*float(s0))", 11},
    {"TruncToInt(Mul(Float('-0.10000000000000001', precision=53), ToFloat($)))", "trunc(-0.1*float(s0))", 0},
    {"RoundToInt(IntTrueDiv($, Integer(2)))", "round(truediv(s0, 2))", 4},
    {"RoundToInt(IntTrueDiv(@, Integer(2)))", "round(truediv(u1, 2))", -2},
    {"Identity(Add($, Integer(1)))", "s0 + 1", 8},
    {"LShift($, Integer(3))", "lshift(s0, 3)", 56},
    {"RShift(@, Integer(1))", "rshift(u1, 1)", -2},
    {"BitwiseFn_bitwise_and($, Integer(5))", "bitand(s0, 5)", 5},
};

TEST(Expr, EvaluatesWhatTorchExportWrites) {
  for (const Case& c : kCases) EXPECT_EQ(value(with_symbols(c.srepr)), c.value) << c.srepr;
}

TEST(Expr, PrintsInfix) {
  for (const Case& c : kCases) EXPECT_EQ(Expr::parse(with_symbols(c.srepr)).to_string(), c.infix) << c.srepr;
}

TEST(Expr, PrintedFormParsesBackToAnEqualExpression) {
  for (const Case& c : kCases) {
    const Expr expr = Expr::parse(with_symbols(c.srepr));
    EXPECT_EQ(Expr::parse_infix(expr.to_string()), expr) << c.infix;
  }
  for (const int64_t constant : {int64_t{0}, int64_t{-1}, INT64_MAX, INT64_MIN})
    EXPECT_EQ(Expr::parse_infix(Expr(constant).to_string()), Expr(constant));
}

TEST(Expr, FoldsConstantsAndKnowsBareSymbols) {
  EXPECT_EQ(Expr::parse("Add(Integer(2), Mul(Integer(3), Integer(4)))"), Expr(14));
  EXPECT_EQ(Expr::parse("Add(Integer(2), Integer(3))").constant(), 5);
  EXPECT_EQ(Expr::parse("Symbol(\"s0\")").symbol(), "s0");
  EXPECT_EQ(Expr::parse("Symbol('s0')").constant(), std::nullopt);
  EXPECT_EQ(Expr(3).symbol(), std::nullopt);
  EXPECT_EQ(Expr(), Expr(0));
}

TEST(Expr, NamesEachSymbolOnceInOrderOfAppearance) {
  const Expr expr = Expr::parse("Add(Symbol('b'), Symbol('a'), Mul(Symbol('b'), Symbol('c')))");
  EXPECT_THAT(expr.symbols(), testing::ElementsAre("b", "a", "c"));
}

TEST(Expr, SymbolsWithOddNamesSurviveTheInfixForm) {
  const Expr expr = Expr::parse(R"(Add(Symbol('a\'b\\c d'), Integer(1)))");
  EXPECT_THAT(expr.symbols(), testing::ElementsAre("a'b\\c d"));
  EXPECT_EQ(Expr::parse_infix(expr.to_string()), expr);
}

TEST(Expr, IsUnknownWhereASymbolIs) {
  const Expr expr = Expr::parse("Add(Symbol('s0'), Symbol('nobody'))");
  EXPECT_EQ(expr.evaluate(in({{"s0", 1}})), std::nullopt);
}

TEST(Expr, IsUnknownOnOverflowOfEachOperation) {
  const Symbols big = {{"a", INT64_MAX}, {"b", INT64_MIN}};
  for (const char* text :
       {"Add(Symbol('a'), Integer(1))", "Mul(Symbol('a'), Integer(2))", "Pow(Symbol('a'), Integer(2))", "Abs(Symbol('b'))",
        "FloorDiv(Symbol('b'), Integer(-1))", "Pow(Integer(2), Symbol('a'))", "Add(Symbol('b'), Integer(-1))",
        "LShift(Symbol('a'), Integer(1))", "LShift(Integer(1), Symbol('a'))", "Mul(Symbol('b'), Symbol('b'))",
        "TruncToInt(Mul(Float('10.0'), ToFloat(Symbol('a'))))", "Add(Rational(1, 2), Symbol('a'), Symbol('a'))"})
    EXPECT_EQ(value(text, big), std::nullopt) << text;
  EXPECT_EQ(value("Add(Symbol('b'), Symbol('a'))", big), -1);
  EXPECT_EQ(value("Mod(Symbol('b'), Integer(-1))", big), 0);
  EXPECT_EQ(value("Pow(Integer(-1), Symbol('a'))", big), -1);
  EXPECT_EQ(value("Pow(Integer(0), Symbol('a'))", big), 0);
}

TEST(Expr, IsUnknownOnDivisionByZero) {
  const Symbols zero = {{"z", 0}, {"s", 5}};
  for (const char* text :
       {"FloorDiv(Symbol('s'), Symbol('z'))", "Mod(Symbol('s'), Symbol('z'))", "CeilDiv(Symbol('s'), Symbol('z'))",
        "IntTrueDiv(Symbol('s'), Symbol('z'))", "Pow(Symbol('z'), Integer(-1))", "FloorDiv(Integer(1), Integer(0))"})
    EXPECT_EQ(value(text, zero), std::nullopt) << text;
}

TEST(Expr, UnknownOperandsThatDoNotMatterAreIgnored) {
  const Symbols known = {{"s", 5}};
  EXPECT_EQ(value("Where(Equality(Symbol('s'), Integer(5)), Symbol('s'), FloorDiv(Symbol('s'), Integer(0)))", known), 5);
  EXPECT_EQ(value("And(Symbol('nobody'), Equality(Symbol('s'), Integer(4)))", known), 0);
  EXPECT_EQ(value("Or(Symbol('nobody'), Equality(Symbol('s'), Integer(5)))", known), 1);
  EXPECT_EQ(value("And(Symbol('nobody'), Equality(Symbol('s'), Integer(5)))", known), std::nullopt);
}

TEST(Expr, EvaluatesMoreOperandsThanFitInline) {
  std::string text = "Add(Symbol('s0')";
  for (int i = 1; i <= 1000; ++i) text += ", Mul(Integer(" + std::to_string(i) + "), Symbol('s0'))";
  EXPECT_EQ(value(text + ")"), 7 * 500501);
}

ErrorCode code_of(std::string_view text, Expr (*parse)(std::string_view) = &Expr::parse) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("position"));
    return error.code();
  }
  ADD_FAILURE() << text << " parsed";
  return ErrorCode::kInternal;
}

TEST(Expr, RefusesMalformedText) {
  for (const char* text : {"",
                           " ",
                           "Add(",
                           "Add()",
                           "Add(Integer(1)",
                           "Integer(x)",
                           "Integer(1) 2",
                           "Integer(9223372036854775808)",
                           "Symbol('s0",
                           "Symbol(s0)",
                           "Symbol('s0', positive)",
                           "Rational(1, 0)",
                           "Float('nan')",
                           "Float('1.5x')",
                           "FloorDiv(Integer(1))",
                           "Not(true, true)",
                           "Add(Integer(1) Integer(2))",
                           "1.5",
                           "--1",
                           "\x01"})
    EXPECT_EQ(code_of(text), ErrorCode::kBadFile) << text;
}

TEST(Expr, RefusesMalformedInfix) {
  for (const char* text :
       {"", "1 +", "(1", "1)", "a b", "a//b//c", "-a//b", "symbol(x)", "rational(1, 0)", "max()", "9223372036854775808"})
    EXPECT_EQ(code_of(text, &Expr::parse_infix), ErrorCode::kBadFile) << text;
  EXPECT_EQ(code_of("sin(x)", &Expr::parse_infix), ErrorCode::kUnsupported);
}

TEST(Expr, NamesAFunctionThatIsNoIntegerArithmetic) {
  EXPECT_EQ(code_of("sin(Symbol('s0'))"), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of("oo"), ErrorCode::kUnsupported);
  try {
    Expr::parse("Add(Integer(1), OpaqueUnaryFn_sqrt(Symbol('s0')))");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("'OpaqueUnaryFn_sqrt'"));
    EXPECT_THAT(error.what(), testing::HasSubstr("Symbol('s0')"));
  }
}

std::string nested(int levels) {
  std::string text = "Symbol('s0')";
  for (int i = 1; i < levels; ++i) text = "Abs(" + text + ")";
  return text;
}

TEST(Expr, RefusesDeepNestingButTakes256Levels) {
  EXPECT_EQ(value(nested(256)), 7);
  EXPECT_EQ(code_of(nested(257)), ErrorCode::kBadFile);
  EXPECT_EQ(code_of(std::string(100000, '('), &Expr::parse_infix), ErrorCode::kBadFile);
}

std::string random_srepr(std::mt19937& random, int depth) {
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  if (depth == 0 || pick(5) == 0) {
    switch (pick(5)) {
      case 0: return "Symbol('a')";
      case 1: return "Symbol('b b')";
      case 2: return "Rational(" + std::to_string(2 * pick(5) - 5) + ", 2)";
      case 3: return "Float('" + std::to_string((pick(40) - 20) * 0.25) + "')";
      default: return "Integer(" + std::to_string(pick(9) - 4) + ")";
    }
  }
  static constexpr std::pair<const char*, int> kFunctions[] = {{"Add", 0},
                                                               {"Mul", 0},
                                                               {"Add", 0},
                                                               {"Mul", 0},
                                                               {"Max", 0},
                                                               {"And", 0},
                                                               {"Pow", 2},
                                                               {"FloorDiv", 2},
                                                               {"Mod", 2},
                                                               {"Equality", 2},
                                                               {"StrictLessThan", 2},
                                                               {"GreaterThan", 2},
                                                               {"Where", 3},
                                                               {"Abs", 1},
                                                               {"FloorToInt", 1},
                                                               {"CeilDiv", 2},
                                                               {"IntTrueDiv", 2}};
  const auto& [name, operands] = kFunctions[pick(std::size(kFunctions))];
  std::string text = std::string(name) + "(";
  for (int i = 0, n = operands == 0 ? 1 + pick(4) : operands; i < n; ++i)
    text += (i == 0 ? "" : ", ") + random_srepr(random, depth - 1);
  return text + ")";
}

TEST(Expr, RandomExpressionsRoundTripThroughInfixWithEqualValues) {
  std::mt19937 random(20240611);
  const Symbols symbols = {{"a", 5}, {"b b", -2}};
  for (int i = 0; i < 20000; ++i) {
    const std::string text = random_srepr(random, 4);
    const Expr expr = Expr::parse(text);
    if (expr.constant()) continue;
    const Expr again = Expr::parse_infix(expr.to_string());
    ASSERT_EQ(again, expr) << text << "\n" << expr.to_string() << "\n" << again.to_string();
    ASSERT_EQ(again.evaluate(in(symbols)), expr.evaluate(in(symbols))) << text;
  }
}

}  // namespace
}  // namespace tenure
