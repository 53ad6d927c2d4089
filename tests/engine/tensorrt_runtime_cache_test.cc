// Where TensorRT-RTX's compiled kernels are kept.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tenure/archive/archive.h"
#include "tenure/session/program.h"
#include "tests/archive/support.h"
#include "tests/engine/tensorrt_fixture.h"

namespace tenure::testing {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

/// A program that holds an engine of the double's.
std::vector<char> archive_with_engine() {
  const std::vector<char> blob = trt::make_blob(part_blob("null", "relu"));
  std::ifstream in(std::string(TENURE_TEST_ENGINE_BLOBS) + "/null/manifest.json");
  nlohmann::json engines = nlohmann::json::parse(in).at("engines");
  std::erase_if(engines.get_ref<nlohmann::json::array_t&>(), [](const auto& engine) { return engine.at("name") != "relu"; });
  const std::string record = "data/tenure/engines/relu.blob";
  engines[0].update({{"backend", "tensorrt"}, {"blob", record}, {"blob_bytes", blob.size()}});
  const nlohmann::json manifest = {
      {"format_version", 1}, {"tenure_version", "0.1.0"}, {"custom_op_libraries", nlohmann::json::array()}, {"engines", engines}};
  return test::rewrite(part_blob("null", "relu"),
                       {{"data/tenure/manifest.json", manifest.dump()}, {record, std::string(blob.begin(), blob.end())}});
}

class TensorRtRuntimeCache : public TensorRtEngine {
 protected:
  TensorRtRuntimeCache() {
    fs::remove_all(folder_);
    fs::create_directory(folder_);
  }
  ~TensorRtRuntimeCache() override { fs::remove_all(folder_); }

  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename());
    return names;
  }

  void write_program() const {
    const std::vector<char> bytes = archive_with_engine();
    std::ofstream(program_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  /// Loads an engine of that program, runs it, and lets it go.
  static void use(const fs::path& program_file, const EngineSpec& spec = spec_of("dynamic_batch")) {
    const auto engine = load(spec, {}, program_file);
    expect_run(*engine, *engine->make_context(), 3);
  }

  const fs::path folder_ = fs::path(::testing::TempDir()) / ::testing::UnitTest::GetInstance()->current_test_info()->name();
  const fs::path program_ = folder_ / "model.pt2";
};

TEST_F(TensorRtRuntimeCache, LiesBesideTheProgramByTheNamesOfTheGpuAndTheVersionAndTheNextProcessReadsIt) {
  use(program_);
  ASSERT_THAT(files(), ElementsAre(AllOf(StartsWith("model.pt2.the_double_compute_capability_9.0.rtx-"), EndsWith(".cache"))));
  EXPECT_THAT(trt::calls("deserialize"), IsEmpty());
  const auto written = fs::last_write_time(folder_ / files().at(0));
  use(program_);
  EXPECT_THAT(trt::calls("deserialize"), SizeIs(1));
  EXPECT_EQ(fs::last_write_time(folder_ / files().at(0)), written) << "nothing was compiled";
}

TEST_F(TensorRtRuntimeCache, IsSharedByTheEnginesOfAProgram) {
  const auto one = load(spec_of("dynamic_batch"), {}, program_), two = load(spec_of("relu"), {}, program_);
  EXPECT_THAT(trt::calls("createRuntimeCache"), SizeIs(1));
  EXPECT_THAT(trt::calls("setRuntimeCache"), SizeIs(2));
}

TEST_F(TensorRtRuntimeCache, OfAnotherVersionIsReplaced) {
  use(program_);
  const fs::path file = folder_ / files().at(0);
  std::ofstream(file) << "of another version";
  use(program_);
  use(program_);
  EXPECT_THAT(trt::calls("createRuntimeCache"), SizeIs(3));
  EXPECT_GT(fs::file_size(file), 0u);
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  EXPECT_EQ(line, "TRTDBL-CACHE");
}

TEST_F(TensorRtRuntimeCache, ThatCannotBeReadOrWrittenIsNoError) {
  use(program_);
  const fs::path file = folder_ / files().at(0);
  fs::remove(file);
  fs::create_directory(file);  // reading it fails, and so does putting a file in its place
  use(program_);
  EXPECT_THAT(files(), SizeIs(1)) << "the part that could not take its place is gone";
  use(folder_ / "no such folder" / "model.pt2");
  fs::remove_all(folder_);
  use(program_);
  EXPECT_FALSE(fs::exists(folder_)) << "a folder that went away is not made anew";
}

TEST_F(TensorRtRuntimeCache, IsWhereTheOptionSaysOrNowhere) {
  EngineSpec spec = spec_of("dynamic_batch");
  spec.options["runtime_cache"] = (folder_ / "kernels").string();
  use(program_, spec);
  EXPECT_THAT(files(), ElementsAre("kernels"));
  fs::remove(folder_ / "kernels");
  spec.options["runtime_cache"] = "";
  use(program_, spec);
  EXPECT_THAT(files(), IsEmpty());
}

TEST_F(TensorRtRuntimeCache, IsKeptForAProgramFromAFileUnlessTheLoaderSaysOtherwise) {
  write_program();
  const auto caches = [&] { return files().size() - 1; };
  LoadOptions options;
  options.engine_cache = false;
  Program::load(program_, options);
  Program::make(read_archive(archive_with_engine(), "in memory"), "in memory");
  EXPECT_EQ(caches(), 0u);
  Program::load(program_);
  EXPECT_EQ(caches(), 1u);
}

}  // namespace tenure::testing
