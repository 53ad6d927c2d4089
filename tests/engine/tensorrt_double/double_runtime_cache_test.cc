// The double of TensorRT-RTX.
#include "tests/engine/tensorrt_double/fixture.h"

namespace tenure::testing::trt {

TEST_F(TensorRtDouble, KeepsCompiledKernelsInARuntimeCache) {
  load("relu");
  const std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine_->createRuntimeConfig());
  const std::unique_ptr<nvinfer1::IRuntimeCache> cache(config->createRuntimeCache());
  config->setExecutionContextAllocationStrategy(kUserManaged);
  EXPECT_TRUE(config->setRuntimeCache(*cache));
  const std::unique_ptr<nvinfer1::IHostMemory> before(cache->serialize());
  context_.reset(engine_->createExecutionContext(config.get()));
  const Aligned in(at::ones({3, 4})), out(at::zeros({3, 4}));
  bind_input("input_0", in);
  context_->setTensorAddress("output_0", out.data);
  EXPECT_TRUE(context_->enqueueV3(kStream));
  const std::unique_ptr<nvinfer1::IHostMemory> after(cache->serialize());
  EXPECT_GT(after->size(), before->size());
  const std::unique_ptr<nvinfer1::IRuntimeCache> other(config->createRuntimeCache());
  EXPECT_TRUE(other->deserialize(after->data(), after->size()));
  EXPECT_EQ(std::unique_ptr<nvinfer1::IHostMemory>(other->serialize())->size(), after->size());
  EXPECT_FALSE(other->deserialize("rubbish", 7));
}

}  // namespace tenure::testing::trt
