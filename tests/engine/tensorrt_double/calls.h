// tests/engine/tensorrt_double/calls.h: how the double's objects write its log.
#pragma once

#include <NvInferRuntime.h>

#include <exception>
#include <string>

#include "tests/engine/tensorrt_double/double.h"

namespace tenure::testing::trt {

void log_error(nvinfer1::ILogger& logger, const std::string& method, const std::string& text);

/// Notes the call. True if it is to fail; `logger` has been told.
bool must_fail(nvinfer1::ILogger& logger, const Call& call);

void note_unexpected(const char* method);

template <typename Result>
Result unexpected(const char* method, Result result) {
  note_unexpected(method);
  return result;
}

/// Runs `body`; what it throws is logged, as TensorRT does, and `failure` returned.
template <typename Result, typename Body>
Result guarded(nvinfer1::ILogger& logger, const char* method, Result failure, const Body& body) {
  try {
    return body();
  } catch (const std::exception& problem) {
    log_error(logger, method, problem.what());
    return failure;
  }
}

/// A member of every object, which is thereby counted.
class Alive {
 public:
  explicit Alive(int LiveObjects::* kind);
  ~Alive();
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;

 private:
  int LiveObjects::* kind_;
};

}  // namespace tenure::testing::trt
