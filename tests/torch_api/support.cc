#include "tests/torch_api/support.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace tenure::testing {

std::string part_json(const std::string& part) {
  std::ifstream file(std::string(TENURE_TEST_ENGINE_BLOBS) + "/null/manifest.json");
  const auto manifest = nlohmann::json::parse(file);
  for (const auto& entry : manifest.at("engines")) {
    if (entry.at("name") == part) return entry.dump();
  }
  throw std::invalid_argument("no part " + part);
}

EnginePtr make_engine(const std::string& part) {
  const std::vector<char> blob = part_blob("null", part);
  return c10::make_intrusive<StandaloneEngine>(part_json(part), std::string_view(blob.data(), blob.size()));
}

void expect_same(const Tensors& got, const Tensors& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].scalar_type(), wanted[i].scalar_type());
    EXPECT_TRUE(at::equal(got[i], wanted[i])) << "output " << i << " is\n" << got[i] << "\nand not\n" << wanted[i];
  }
}

}  // namespace tenure::testing
