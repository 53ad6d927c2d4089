// JSON with right checksums but wrong content: an Error or a verified graph, never a crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/archive/support.h"

namespace tenure::test {
namespace {

using ::testing::HasSubstr;

constexpr char kModel[] = "models/model.json";

void expect_no_crash(const std::vector<char>& archive, const std::string& record, const std::string& content) {
  try {
    const ProgramFile file = read_archive(rewrite(archive, {{record, content}}), "hostile.pt2");
    verify(file.graph);
  } catch (const Error&) {
  }
}

TEST(HostileJson, DeepNestingIsRefused) {
  for (const std::string& open : std::vector<std::string>{"[", R"({"a":)"}) {
    std::string deep;
    for (int i = 0; i < 200000; ++i) deep += open;
    const Error error = error_of_reading(rewrite(archive_bytes("small"), {{kModel, deep}}));
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    EXPECT_THAT(error.what(), HasSubstr("nested deeper"));
  }
}

TEST(HostileJson, OtherDocumentsAreRefused) {
  for (const std::string& document :
       std::vector<std::string>{"", "null", "5", "[]", "{}", "\"text\"", "{\"schema_version\": 5}", "\xff\xfe", "{\"a\":}"}) {
    for (const char* record : {kModel, "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"}) {
      const Error error = error_of_reading(rewrite(archive_bytes("small"), {{record, document}}));
      EXPECT_EQ(error.code(), ErrorCode::kBadFile) << record << " " << document << ": " << error.what();
      EXPECT_THAT(error.what(), HasSubstr(record)) << document;
    }
  }
}

TEST(HostileJson, MissingMembersOfAValueAreRefused) {
  for (const char* member : {"dtype", "sizes", "requires_grad", "device", "strides", "storage_offset", "layout", "persistent"}) {
    std::string content = record_of(archive_bytes("small"), kModel);
    const std::string key = std::string("\"") + member + "\"";
    for (size_t at = content.find(key); at != std::string::npos; at = content.find(key, at + 1)) content[at + 1] = 'X';
    const Error error = error_of_reading(rewrite(archive_bytes("small"), {{kModel, content}}));
    EXPECT_EQ(error.code(), ErrorCode::kBadFile) << member;
  }
}

// Single characters, spans and tokens, changed at random; the seed is fixed.
TEST(HostileJson, RandomChangesNeverCrash) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"engines", kModel},
                                                                  {"lists", kModel},
                                                                  {"engines", "data/tenure/manifest.json"},
                                                                  {"shared", "data/weights/model_weights_config.json"}};
  const std::vector<std::string> tokens = {"null", "-1",   "9223372036854775807", "1e300", "\"\"", "[]",
                                           "{}",   "true", "\"as_none\"",         "x"};
  std::mt19937 random(7);
  for (const auto& [name, record] : cases) {
    const std::vector<char> archive = archive_bytes(name);
    const std::string original = record_of(archive, record);
    for (int i = 0; i < 1000; ++i) {
      std::string content = original;
      const size_t at = random() % content.size();
      switch (random() % 4) {
        case 0: content[at] = static_cast<char>(random() % 128); break;
        case 1: content.erase(at, 1 + random() % 20); break;
        case 2: content.insert(at, tokens[random() % tokens.size()]); break;
        case 3: {
          // Replace a whole value behind a colon, so that the syntax mostly stays right.
          const size_t colon = content.find(": ", at);
          if (colon == std::string::npos) break;
          const size_t end = content.find_first_of(",}]", colon);
          content.replace(colon + 2, end - colon - 2, tokens[random() % tokens.size()]);
          break;
        }
      }
      expect_no_crash(archive, record, content);
    }
  }
}

}  // namespace
}  // namespace tenure::test
