// tenure/trace/chrome.cc: a trace as Chrome's Trace Event Format. Times there are microseconds; a process is a clock, a thread a
// track.
#include <nlohmann/json.hpp>
#include <set>

#include "tenure/trace/trace.h"

namespace tenure {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kHost = 1, kDevice = 2;

double microseconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }

Json named(const char* what, int process, int64_t track, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", process}, {"tid", track}, {"args", {{"name", name}}}};
}

Json event(const Span& span) {
  Json arguments{{"run", span.run}};
  if (!span.target.empty()) arguments["target"] = span.target;
  const bool on_device = span.clock == Span::Clock::kDevice;
  return {{"ph", "X"},
          {"name", span.name},
          {"cat", to_string(span.kind)},
          {"pid", on_device ? kDevice : kHost},
          {"tid", span.thread},
          {"ts", microseconds(span.begin_ns)},
          {"dur", microseconds(span.duration_ns)},
          {"args", std::move(arguments)}};
}

Json event(const Counter& counter) {
  return {{"ph", "C"},
          {"name", counter.name},
          {"pid", kHost},
          {"ts", microseconds(counter.time_ns)},
          {"args", {{counter.name, counter.value}}}};
}

}  // namespace

std::string Trace::to_chrome_json() const {
  Json events = Json::array();
  events.push_back(named("process_name", kHost, 0, "host"));
  std::set<std::pair<int, int64_t>> tracks;
  const std::lock_guard lock(mutex_);
  for (const Span& span : spans_) {
    const int process = span.clock == Span::Clock::kDevice ? kDevice : kHost;
    if (process == kDevice && tracks.lower_bound({kDevice, 0}) == tracks.end())
      events.push_back(named("process_name", kDevice, 0, "device"));
    if (tracks.insert({process, span.thread}).second) {
      const char* const what = process == kDevice ? "work of thread " : "thread ";
      events.push_back(named("thread_name", process, span.thread, what + std::to_string(span.thread)));
    }
    events.push_back(event(span));
  }
  for (const Counter& counter : counters_) events.push_back(event(counter));
  // A name need not be UTF-8.
  const Json document{{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events)}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tenure
