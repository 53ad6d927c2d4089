// tenure/engine/tensorrt/log.h: TensorRT says why a call failed only in its log.
#pragma once

#include <NvInferRuntime.h>

#include <deque>
#include <mutex>
#include <string>

#include "tenure/base/error.h"

namespace tenure::tensorrt {

/// Keeps the latest errors and warnings. Thread-safe.
class Log final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override;

  /// What was said since the last call, errors if there are any, else warnings; on one line.
  std::string take();

 private:
  struct Line {
    Severity severity;
    std::string text;
  };

  std::mutex mutex_;
  std::deque<Line> lines_;  // guarded by mutex_
};

/// One for the process, as TensorRT wants it; never destroyed.
Log& the_log();

/// Throws Error(kEngine) unless `succeeded`: "TensorRT could not <describe()>: <its log>".
template <typename Describe>
void check_call(bool succeeded, const Describe& describe) {
  if (!succeeded) [[unlikely]]
    throw Error(ErrorCode::kEngine, concat("TensorRT could not ", describe(), ": ", the_log().take()));
}

}  // namespace tenure::tensorrt
