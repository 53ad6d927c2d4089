// The public planning instances of google/minimalloc (CSV: id,lower,upper,size), where they are at hand.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tenure/plan/plan.h"

namespace tenure::plan {
namespace {

std::filesystem::path planner_data() {
  const char* given = std::getenv("TENURE_TEST_DATA");
  return std::filesystem::path(given != nullptr ? given : TENURE_TEST_DATA) / "planner";
}

std::vector<Buffer> read_csv(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "id,lower,upper,size") << path;
  std::vector<Buffer> buffers;
  while (std::getline(file, line)) {
    Buffer buffer{.alignment = 1};
    char comma = 0;
    std::istringstream fields(line.substr(line.find(',') + 1));
    fields >> buffer.begin >> comma >> buffer.end >> comma >> buffer.size;
    EXPECT_TRUE(fields) << path << ": " << line;
    buffers.push_back(buffer);
  }
  return buffers;
}

struct Instance {
  const char* file;
  size_t buffers;
  Bytes capacity;      // a packing into so many bytes exists
  double peak_live;    // of capacity
  double most_greedy;  // of capacity
};

class PlannerInstance : public testing::TestWithParam<Instance> {};

TEST_P(PlannerInstance, GreedyBySizeIsValidAndWithinItsKnownRatio) {
  const Instance& instance = GetParam();
  const std::filesystem::path path = planner_data() / instance.file;
  if (!std::filesystem::exists(path))
    GTEST_SKIP() << path << " is not there; TENURE_TEST_DATA names the folder that holds planner/";
  const std::vector<Buffer> buffers = read_csv(path);
  ASSERT_EQ(buffers.size(), instance.buffers);
  EXPECT_NEAR(static_cast<double>(peak_live(buffers)) / static_cast<double>(instance.capacity), instance.peak_live, 1e-4);
  const Layout layout = greedy_by_size(buffers);
  EXPECT_EQ(find_violation(buffers, layout), std::nullopt);
  const double ratio = static_cast<double>(layout.arena_size) / static_cast<double>(instance.capacity);
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GE(layout.arena_size, peak_live(buffers));
  EXPECT_LE(ratio, instance.most_greedy);
}

INSTANTIATE_TEST_SUITE_P(
    Minimalloc, PlannerInstance,
    testing::Values(Instance{"A.1048576.csv", 154, 1048576, 1.0, 1.40}, Instance{"B.1048576.csv", 170, 1048576, 1.0, 1.40},
                    Instance{"C.1048576.csv", 203, 1048576, 0.9912, 1.40}, Instance{"D.1048576.csv", 213, 1048576, 0.9404, 1.40},
                    Instance{"E.1048576.csv", 215, 1048576, 1.0, 1.40}, Instance{"input.12.csv", 5, 12, 1.0, 1.0}),
    [](const auto& info) { return std::string(info.param.file).substr(0, std::string(info.param.file).find('.')); });

}  // namespace
}  // namespace tenure::plan
