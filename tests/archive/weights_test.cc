// Weights and constants of archives.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/archive/support.h"

namespace tenure::test {
namespace {

using ::testing::HasSubstr;

constexpr char kConfig[] = "data/weights/model_weights_config.json";

TEST(ReadWeights, HaveTheirContent) {
  const auto weights = read_archive(archive_path("small")).weights;
  EXPECT_EQ(weights.size(), 3u);
  EXPECT_TRUE(at::equal(weights.at("weight"), at::arange(6, at::kFloat).reshape({2, 3})));
  EXPECT_TRUE(at::equal(weights.at("scale"), at::full({1}, 2.0f)));
  EXPECT_TRUE(at::equal(weights.at("shift"), at::tensor({1, 2, 3}, at::kLong)));
}

TEST(ReadWeights, NamesOfOneStorageShareIt) {
  const auto weights = read_archive(archive_path("shared")).weights;
  EXPECT_EQ(weights.at("a.weight").data_ptr(), weights.at("b.weight").data_ptr());
  EXPECT_TRUE(weights.at("whole").is_alias_of(weights.at("part")));
  EXPECT_FALSE(weights.at("whole").is_alias_of(weights.at("a.weight")));
  EXPECT_TRUE(at::equal(weights.at("part"), at::arange(4, 8, at::kFloat)));
}

TEST(ReadWeights, KeepTheirStrides) {
  const auto weights = read_archive(archive_path("shared")).weights;
  const at::Tensor& turned = weights.at("turned");
  EXPECT_EQ(turned.strides(), at::IntArrayRef({1, 3}));
  EXPECT_TRUE(at::equal(turned, at::arange(6, at::kShort).reshape({2, 3}).t()));
}

TEST(ReadWeights, OfEveryDtypeKeepIt) {
  const auto weights = read_archive(archive_path("dtypes")).weights;
  ASSERT_EQ(weights.size(), 18u);
  const std::map<std::string, at::ScalarType> expected = {{"uint8", at::kByte},
                                                          {"int8", at::kChar},
                                                          {"uint16", at::kUInt16},
                                                          {"int16", at::kShort},
                                                          {"int32", at::kInt},
                                                          {"int64", at::kLong},
                                                          {"float16", at::kHalf},
                                                          {"float32", at::kFloat},
                                                          {"float64", at::kDouble},
                                                          {"complex32", at::kComplexHalf},
                                                          {"complex64", at::kComplexFloat},
                                                          {"complex128", at::kComplexDouble},
                                                          {"bool", at::kBool},
                                                          {"bfloat16", at::kBFloat16},
                                                          {"float8_e4m3fn", at::kFloat8_e4m3fn},
                                                          {"float8_e5m2", at::kFloat8_e5m2},
                                                          {"float8_e4m3fnuz", at::kFloat8_e4m3fnuz},
                                                          {"float8_e5m2fnuz", at::kFloat8_e5m2fnuz}};
  for (const auto& [name, dtype] : expected) {
    const at::Tensor& weight = weights.at("of_" + name);
    EXPECT_EQ(weight.scalar_type(), dtype) << name;
    const at::Tensor counted = dtype == at::kBool ? at::tensor({0, 1, 1}, at::kDouble) : at::arange(3, at::kDouble);
    const at::Tensor real = weight.is_complex() ? at::real(weight.to(at::kComplexDouble)) : weight.to(at::kDouble);
    EXPECT_TRUE(at::equal(real, counted)) << name;
  }
}

TEST(ReadWeights, PickledOnesAreRefusedByName) {
  const Error error = error_of_reading(replace_in(archive_bytes("small"), kConfig, R"("is_param": true, "use_pickle": false)",
                                                  R"("is_param": true, "use_pickle": true)"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("tensor weight"));
  EXPECT_THAT(error.what(), HasSubstr("pickled"));
}

TEST(ReadWeights, LegacyPicklesAreRefused) {
  const Error error = error_of_reading(rewrite(archive_bytes("small"), {{"data/weights/model.pt", "x"}}));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
}

TEST(ReadWeights, ReachingBeyondTheirRecordAreRefused) {
  const std::string sizes = R"("sizes": [{"as_int": 2}, {"as_int": 3}])", strides = R"("strides": [{"as_int": 3}, {"as_int": 1}])";
  const std::string offset = R"("storage_offset": {"as_int": 0})", huge = "4611686018427387904";
  const std::vector<std::pair<std::string, std::string>> lies = {
      {sizes, R"("sizes": [{"as_int": 3}, {"as_int": 3}])"},
      {sizes, R"("sizes": [{"as_int": -2}, {"as_int": 3}])"},
      {sizes, R"("sizes": [{"as_int": )" + huge + R"(}, {"as_int": )" + huge + "}]"},
      {sizes, R"("sizes": [{"as_int": 2}])"},
      {strides, R"("strides": [{"as_int": 4}, {"as_int": 1}])"},
      {strides, R"("strides": [{"as_int": -3}, {"as_int": 1}])"},
      {strides, R"("strides": [{"as_int": )" + huge + R"(}, {"as_int": 1}])"},
      {offset, R"("storage_offset": {"as_int": 1})"},
      {offset, R"("storage_offset": {"as_int": 9223372036854775807})"},
      {offset, R"("storage_offset": {"as_int": 9223372036854775808})"},
      {offset, R"("storage_offset": {"as_int": 1e300})"}};
  for (const auto& [from, to] : lies) {
    const Error error = error_of_reading(replace_in(archive_bytes("small"), kConfig, from, to));
    EXPECT_EQ(error.code(), ErrorCode::kBadFile) << to;
    EXPECT_THAT(error.what(), HasSubstr(kConfig)) << to;
  }
}

TEST(ReadWeights, HugeTensorsOfStrideZeroAreRefused) {
  const Error error =
      error_of_reading(replace_in(replace_in(archive_bytes("small"), kConfig, R"([{"as_int": 2}, {"as_int": 3}])",
                                             R"([{"as_int": 4611686018427387904}, {"as_int": 4611686018427387904}])"),
                                  kConfig, R"([{"as_int": 3}, {"as_int": 1}])", R"([{"as_int": 0}, {"as_int": 0}])"));
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
}

TEST(ReadWeights, ThatContradictTheGraphAreRefusedByName) {
  const Error error = error_of_reading(
      replace_in(archive_bytes("small"), kConfig, R"([{"as_int": 2}, {"as_int": 3}])", R"([{"as_int": 1}, {"as_int": 3}])"));
  EXPECT_EQ(error.code(), ErrorCode::kBadFile);
  EXPECT_THAT(error.what(), HasSubstr("weight weight"));
}

TEST(ReadWeights, MissingRecordsAreNamed) {
  const Error record = error_of_reading(rewrite(archive_bytes("small"), {{"data/weights/weight_0", std::nullopt}}));
  EXPECT_EQ(record.code(), ErrorCode::kBadFile);
  EXPECT_THAT(record.what(), HasSubstr("data/weights/weight_0"));
  const Error config = error_of_reading(rewrite(archive_bytes("small"), {{kConfig, std::nullopt}}));
  EXPECT_THAT(config.what(), HasSubstr(kConfig));
  const Error entry = error_of_reading(rewrite(archive_bytes("small"), {{kConfig, R"({"config": {}})"}}));
  EXPECT_THAT(entry.what(), HasSubstr("weight weight is missing"));
}

}  // namespace
}  // namespace tenure::test
