// What a careful engineer writes by hand for chain32: TensorRT's API and out-variant operators, all memory allocated once; beside
// tenure::Session on the same engines, in turns.
//
//   tensorrt_loop chain32.pt2
//
// Prints one line of JSON: microseconds a run of each, medians, and how many steps (engines and operators) a run has.
#include <ATen/ATen.h>
#include <NvInferRuntime.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tenure/archive/archive.h"
#include "tenure/base/error.h"
#include "tenure/session/session.h"

namespace {

constexpr int kRounds = 15, kRuns = 100, kWarmUp = 20;

class Log : public nvinfer1::ILogger {
  void log(Severity severity, const char* text) noexcept override {
    if (severity <= Severity::kERROR) std::cerr << text << '\n';
  }
};

struct Step {
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
  std::unique_ptr<nvinfer1::IExecutionContext> context;
  at::Tensor product, sine, sum;
};

class Loop {
 public:
  Loop(const std::string& path, const at::Tensor& input) : runtime_(nvinfer1::createInferRuntime(log_)) {
    at::Tensor x = input;
    for (const tenure::EngineRecord& record : tenure::read_archive(path).engines) {
      Step step;
      step.engine.reset(runtime_->deserializeCudaEngine(record.blob.data(), record.blob.size()));
      tenure::check(step.engine != nullptr, tenure::ErrorCode::kEngine, "cannot deserialise ", record.spec.name);
      step.context.reset(step.engine->createExecutionContext());
      for (at::Tensor* each : {&step.product, &step.sine, &step.sum}) *each = at::empty_like(x);
      step.context->setTensorAddress(record.spec.inputs.at(0).name.c_str(), x.data_ptr());
      step.context->setTensorAddress(record.spec.outputs.at(0).name.c_str(), step.product.data_ptr());
      x = step.sum;
      steps_.push_back(std::move(step));
    }
  }

  const at::Tensor& run() {
    const cudaStream_t stream = c10::cuda::getCurrentCUDAStream();
    for (Step& step : steps_) {
      step.context->enqueueV3(stream);
      at::sin_out(step.sine, step.product);
      at::add_out(step.sum, step.sine, half_);
    }
    return steps_.back().sum;
  }

  size_t step_count() const { return 3 * steps_.size(); }

 private:
  Log log_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  const at::Tensor half_ = at::scalar_tensor(0.5);
  std::vector<Step> steps_;
};

double microseconds(const std::function<void()>& run) {
  for (int i = 0; i < kWarmUp; ++i) run();
  c10::cuda::device_synchronize();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < kRuns; ++i) run();
  c10::cuda::device_synchronize();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / kRuns;
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::cerr << "usage: tensorrt_loop chain32.pt2\n";
    return 2;
  }
  const at::InferenceMode inference;
  tenure::Session session(tenure::Program::load(words[1]));  // loads PyTorch's CUDA library
  const at::Tensor input = at::randn({8, 256}, at::kCUDA);
  Loop loop(words[1], input);
  const std::vector<at::Tensor> inputs{input};
  const bool same = at::equal(session.run(inputs).at(0), loop.run());
  std::vector<double> hand, tenure;
  for (int round = 0; round < kRounds; ++round) {
    hand.push_back(microseconds([&] { loop.run(); }));
    tenure.push_back(microseconds([&] { session.run(inputs); }));
  }
  std::cout << "{\"hand\": " << median(hand) << ", \"tenure\": " << median(tenure) << ", \"steps\": " << loop.step_count()
            << ", \"same\": " << (same ? "true" : "false") << "}\n";
}
