#include "tests/engine/tensorrt_double/calls.h"

#include <algorithm>
#include <functional>
#include <mutex>

namespace tenure::testing::trt {
namespace {

struct Log {
  std::mutex mutex;
  std::vector<Call> calls;
  std::multiset<std::string> failures;
  LiveObjects live;
};

// Never destroyed: the runtime of the process outlives main.
Log& the_log() {
  static Log& log = *new Log;
  return log;
}

std::vector<Call> calls_that(const std::function<bool(const Call&)>& wanted) {
  std::vector<Call> found;
  const std::lock_guard lock(the_log().mutex);
  std::copy_if(the_log().calls.begin(), the_log().calls.end(), std::back_inserter(found), wanted);
  return found;
}

void count(int LiveObjects::* kind, int change) {
  const std::lock_guard lock(the_log().mutex);
  the_log().live.*kind += change;
}

}  // namespace

std::vector<Call> calls() {
  return calls_that([](const Call&) { return true; });
}

std::vector<Call> calls(const std::string& name) {
  return calls_that([&](const Call& call) { return call.name == name; });
}

std::vector<Call> unexpected_calls() {
  return calls_that([](const Call& call) { return call.name.starts_with("unexpected:"); });
}

void forget_calls() {
  const std::lock_guard lock(the_log().mutex);
  the_log().calls.clear();
  the_log().failures.clear();
}

void fail_next(const std::string& method) {
  const std::lock_guard lock(the_log().mutex);
  the_log().failures.insert(method);
}

LiveObjects live_objects() {
  const std::lock_guard lock(the_log().mutex);
  return the_log().live;
}

void log_error(nvinfer1::ILogger& logger, const std::string& method, const std::string& text) {
  logger.log(nvinfer1::ILogger::Severity::kERROR, ("[" + method + "] Error Code 3: API Usage Error (" + text + ")").c_str());
}

bool must_fail(nvinfer1::ILogger& logger, const Call& call) {
  bool fails = false;
  {
    Log& log = the_log();
    const std::lock_guard lock(log.mutex);
    log.calls.push_back(call);
    if (const auto announced = log.failures.find(call.name); announced != log.failures.end()) {
      log.failures.erase(announced);
      fails = true;
    }
  }
  if (fails) log_error(logger, call.name, "the test wants " + call.name + " to fail");
  return fails;
}

void note_unexpected(const char* method) {
  const std::lock_guard lock(the_log().mutex);
  the_log().calls.push_back({.name = std::string("unexpected:") + method});
}

Alive::Alive(int LiveObjects::* kind) : kind_(kind) { count(kind_, 1); }

Alive::~Alive() { count(kind_, -1); }

}  // namespace tenure::testing::trt
