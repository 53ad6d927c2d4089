// What tests of TensorRT engines may rely on in the double, through TensorRT's own interfaces.
#include "tests/engine/tensorrt_double/fixture.h"

namespace tenure::testing::trt {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Allocator final : nvinfer1::IOutputAllocator {
  void* reallocateOutputAsync(const char* name, void* current, uint64_t size, uint64_t alignment, cudaStream_t) override {
    asked.push_back(size);
    return memory ? memory->data : nullptr;
  }
  void notifyShape(const char* name, const Dims& dims) noexcept override { told = dims; }
  std::vector<uint64_t> asked;
  std::unique_ptr<Aligned> memory;
  Dims told{};
};

TEST_F(TensorRtDouble, TellsNamesSizesAndTypesOfInputsThenOutputs) {
  load("int64_input");
  ASSERT_EQ(engine_->getNbIOTensors(), 3);
  EXPECT_STREQ(engine_->getIOTensorName(0), "input_0");
  EXPECT_STREQ(engine_->getIOTensorName(2), "output_1");
  EXPECT_EQ(engine_->getTensorIOMode("output_1"), nvinfer1::TensorIOMode::kOUTPUT);
  EXPECT_EQ(engine_->getTensorDataType("input_0"), nvinfer1::DataType::kINT64);
  EXPECT_EQ(engine_->getTensorDataType("output_0"), nvinfer1::DataType::kFLOAT);
  const Dims dims = engine_->getTensorShape("output_0");
  EXPECT_EQ(dims.nbDims, 2);
  EXPECT_THAT(std::vector<int64_t>(dims.d, dims.d + 2), ElementsAre(-1, 8));
  EXPECT_EQ(engine_->getProfileShape("input_0", 0, nvinfer1::OptProfileSelector::kMAX).d[0], 1 << 20);
  EXPECT_EQ(engine_->getTensorShape("other").nbDims, -1);
}

TEST_F(TensorRtDouble, ComputesIntoTheAddressesThatWereSet) {
  auto& context = load("identity");
  const at::Tensor x = at::randn({7, 4});
  const Aligned in(x), same(at::zeros_like(x)), more(at::zeros_like(x));
  bind_input("input_0", in);
  EXPECT_EQ(context.inferShapes(0, nullptr), 0);
  EXPECT_EQ(context.getTensorShape("output_1").d[0], 7);
  EXPECT_EQ(context.updateDeviceMemorySizeForShapes(), 0u);
  context.setTensorAddress("output_0", same.data);
  context.setTensorAddress("output_1", more.data);
  EXPECT_TRUE(context.enqueueV3(kStream)) << logger_.errors;
  EXPECT_TRUE(at::equal(same.tensor, x));
  EXPECT_TRUE(at::equal(more.tensor, x + 1));
}

TEST_F(TensorRtDouble, ComputesInEveryTypeThatTensorsShareWithPyTorch) {
  auto& context = load("casts");
  const std::vector<at::ScalarType> dtypes = {at::kByte, at::kHalf, at::kBFloat16, at::kBool};
  std::vector<std::unique_ptr<Aligned>> in, out;
  for (size_t i = 0; i < dtypes.size(); ++i) {
    in.push_back(std::make_unique<Aligned>(at::ones({6}, dtypes[i])));
    out.push_back(std::make_unique<Aligned>(at::zeros({6}, dtypes[i])));
    bind_input(("input_" + std::to_string(i)).c_str(), *in.back());
    context.setTensorAddress(("output_" + std::to_string(i)).c_str(), out.back()->data);
  }
  EXPECT_TRUE(context.enqueueV3(kStream)) << logger_.errors;
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::equal(out[i]->tensor, at::full({6}, 4, dtypes[i]))) << i;
  EXPECT_TRUE(at::equal(out[3]->tensor, at::zeros({6}, at::kBool)));
}

TEST_F(TensorRtDouble, RefusesToRunWithoutShapesOrAddressesOrWithMisalignedOnes) {
  auto& context = load("dynamic_batch");
  const Aligned in(at::randn({5, 8})), out(at::zeros({5, 4})), misaligned(at::zeros({5, 4}), 64);
  const char* lacking = nullptr;
  EXPECT_EQ(context.inferShapes(1, &lacking), 1);
  EXPECT_STREQ(lacking, "input_0");
  EXPECT_EQ(context.inferShapes(1, nullptr), -1);
  expect_refused("the shape of input_0 is not set");
  context.setInputShape("input_0", dims_of(in.tensor));
  expect_refused("the address of input_0 is not set");
  context.setTensorAddress("input_0", in.data);
  expect_refused("the address of output_0 is not set");
  context.setTensorAddress("output_0", misaligned.data);
  expect_refused("the address of output_0 is not aligned to 256 bytes");
  context.setTensorAddress("output_0", out.data);
  EXPECT_TRUE(context.enqueueV3(kStream));
  EXPECT_FALSE(context.setTensorAddress("input_1", in.data));
}

TEST_F(TensorRtDouble, TakesShapesOfTheSelectedProfileOnly) {
  const auto rows = [](int64_t min, int64_t max) { return Profile{{"input_0", {{min, 8}, {min, 8}, {max, 8}}}}; };
  auto& context = load("dynamic_batch", {.profiles = {rows(1, 4), rows(5, 9)}, .scratch_bytes = {0, 512}});
  EXPECT_EQ(engine_->getNbOptimizationProfiles(), 2);
  EXPECT_EQ(engine_->getDeviceMemorySizeV2(), 512);
  const Dims five{2, {5, 8}};
  EXPECT_FALSE(context.setInputShape("input_0", five));
  EXPECT_THAT(logger_.errors, HasSubstr("[1,8] to [4,8]"));
  EXPECT_FALSE(context.setOptimizationProfileAsync(2, kStream));
  EXPECT_TRUE(context.setOptimizationProfileAsync(1, kStream));
  EXPECT_EQ(context.getOptimizationProfile(), 1);
  EXPECT_TRUE(context.setInputShape("input_0", five));
  EXPECT_EQ(context.updateDeviceMemorySizeForShapes(), 512u);
  EXPECT_FALSE(context.setInputShape("input_0", Dims{2, {5, 7}}));
}

TEST_F(TensorRtDouble, NeedsItsScratchMemoryAndWritesAllOverIt) {
  auto& context = load("relu", {.scratch_bytes = {512}});
  const Aligned in(at::ones({3, 4})), out(at::zeros({3, 4})), scratch(at::zeros({512}, at::kByte));
  bind_input("input_0", in);
  context.setTensorAddress("output_0", out.data);
  expect_refused("needs 512 bytes of device memory and was given none");
  context.setDeviceMemoryV2(scratch.data, 511);
  expect_refused("was given 511");
  context.setDeviceMemoryV2(scratch.data + 64, 512);
  expect_refused("not aligned");
  context.setDeviceMemoryV2(scratch.data, 512);
  EXPECT_TRUE(context.enqueueV3(kStream));
  EXPECT_TRUE(at::equal(scratch.tensor, at::full({512}, 0xCD, at::kByte)));
  EXPECT_TRUE(at::equal(out.tensor, in.tensor));
  context.setTensorAddress("output_0", scratch.data);  // what nobody should do
  EXPECT_TRUE(context.enqueueV3(kStream));
  EXPECT_TRUE(at::equal(scratch.tensor, at::full({512}, 0xCD, at::kByte)));
}

TEST_F(TensorRtDouble, AsksAnOutputAllocatorForMemoryAndTellsItTheShape) {
  auto& context = load("dynamic_batch");
  const Aligned in(at::ones({0, 8}));
  Allocator allocator;
  bind_input("input_0", in);
  EXPECT_FALSE(context.setOutputAllocator("input_0", &allocator));
  EXPECT_TRUE(context.setOutputAllocator("output_0", &allocator));
  expect_refused("the IOutputAllocator has no 1 bytes for output_0");
  const Aligned rows(at::ones({3, 8}));
  bind_input("input_0", rows);
  allocator.memory = std::make_unique<Aligned>(at::zeros({3, 4}));
  EXPECT_TRUE(context.enqueueV3(kStream)) << logger_.errors;
  EXPECT_THAT(allocator.asked, ElementsAre(1, 48));
  EXPECT_EQ(allocator.told.d[0], 3);
  EXPECT_FALSE(at::equal(allocator.memory->tensor, at::zeros({3, 4})));
}

TEST_F(TensorRtDouble, ReadsShapeTensorsOnTheHostAtAnyAlignment) {
  auto& context = load("scalar_input", {.host_inputs = {"input_1"}});
  EXPECT_EQ(engine_->getTensorLocation("input_1"), nvinfer1::TensorLocation::kHOST);
  EXPECT_TRUE(engine_->isShapeInferenceIO("input_1"));
  const Aligned in(at::ones({3, 4})), out(at::zeros({3, 4})), scale(at::scalar_tensor(2.0), 4);
  bind_input("input_0", in);
  context.setTensorAddress("output_0", out.data);
  EXPECT_EQ(context.inferShapes(0, nullptr), 1);
  bind_input("input_1", scale);
  EXPECT_EQ(context.inferShapes(0, nullptr), 0);
  EXPECT_TRUE(context.enqueueV3(kStream)) << logger_.errors;
  EXPECT_TRUE(at::equal(out.tensor, at::full({3, 4}, 2.0)));
}

TEST_F(TensorRtDouble, RefusesBlobsOfOtherGpusAndOtherFiles) {
  EXPECT_THROW(load("relu", {.other_compute_capability = "8.6"}), std::runtime_error);
  EXPECT_THAT(logger_.errors, HasSubstr("incompatible device"));
  const std::vector<char> blob = null_blob("relu");
  logger_.errors.clear();
  EXPECT_EQ(runtime_->deserializeCudaEngine(blob.data(), blob.size()), nullptr);
  EXPECT_THAT(logger_.errors, HasSubstr("magic"));
}

TEST_F(TensorRtDouble, StreamsWeightsByABudgetThatIsSetBeforeContexts) {
  load("relu", {.streamable_weights = 4096});
  EXPECT_EQ(engine_->getStreamableWeightsSize(), 4096);
  EXPECT_FALSE(engine_->setWeightStreamingBudgetV2(100));
  EXPECT_THAT(logger_.errors, HasSubstr("active IExecutionContexts"));
  context_.reset();
  EXPECT_TRUE(engine_->setWeightStreamingBudgetV2(100));
  EXPECT_EQ(engine_->getWeightStreamingBudgetV2(), 100);
  EXPECT_GT(engine_->getWeightStreamingScratchMemorySize(), 0);
  EXPECT_EQ(engine_->getDeviceMemorySizeV2(), engine_->getWeightStreamingScratchMemorySize());
}

TEST_F(TensorRtDouble, NotesCallsAndFailsThoseThatItIsTold) {
  auto& context = load("relu");
  const Aligned in(at::ones({3, 4}));
  fail_next("setTensorAddress");
  EXPECT_FALSE(context.setTensorAddress("input_0", in.data));
  EXPECT_THAT(logger_.errors, HasSubstr("setTensorAddress"));
  EXPECT_TRUE(context.setTensorAddress("input_0", in.data));
  ASSERT_THAT(calls("setTensorAddress"), SizeIs(2));
  EXPECT_EQ(calls("setTensorAddress")[1].tensor, "input_0");
  EXPECT_EQ(calls("setTensorAddress")[1].address, in.data);
  EXPECT_EQ(calls("setTensorAddress")[1].object, context_.get());
  EXPECT_THAT(calls("deserializeCudaEngine"), SizeIs(1));
  EXPECT_EQ(live_objects().contexts, 1);
  fail_next("createExecutionContext");
  EXPECT_EQ(engine_->createExecutionContext(kUserManaged), nullptr);
}

TEST_F(TensorRtDouble, NotesCallsOfWhatItLacksAndContextsThatOutliveTheirEngine) {
  EXPECT_FALSE(load("relu").executeV2(nullptr));
  engine_.reset();
  const std::vector<Call> noted = unexpected_calls();
  ASSERT_THAT(noted, SizeIs(2));
  EXPECT_EQ(noted[0].name, "unexpected:executeV2");
  EXPECT_EQ(noted[1].name, "unexpected:~ICudaEngine");
  forget_calls();
}

}  // namespace
}  // namespace tenure::testing::trt
