// tenure/trace/trace.h: what runs did, and when.
//
// A session that has a Trace (Session::set_trace) adds to it what each of its runs did; one that has none pays a comparison a node.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace tenure {

/// Something that took time. A run holds its nodes, an engine's node holds the engine's layers.
struct Span {
  enum class Kind { kRun, kOperator, kScalar, kEngine, kLayer };
  /// The calling thread's time, or the device's, on which work may go on after the call has returned.
  enum class Clock { kHost, kDevice };

  std::string
      name;  // of the node; of a layer as its engine calls it; of a run how it was made: "replay", "observing run", "plain run"
  std::string target;  // of a node: "aten::add.Tensor", or the engine's name; of a layer its engine; empty for a run
  Kind kind = Kind::kRun;
  Clock clock = Clock::kHost;
  int64_t run = 0;       // of the session's traced runs, counted from 1
  int64_t thread = 0;    // which of the threads that run, counted from 1 in the order of their first run
  int64_t begin_ns = 0;  // since the trace was made
  int64_t duration_ns = 0;
};

std::string_view to_string(Span::Kind kind);
std::string_view to_string(Span::Clock clock);

/// How much there was of something at the end of a run.
struct Counter {
  std::string name;  // "standing bytes"
  int64_t time_ns = 0;
  int64_t value = 0;
};

/// What was noted so far, by any number of sessions. Thread-safe.
class Trace {
 public:
  /// It keeps at most `max_spans`; runs that would go beyond are counted, and not kept.
  explicit Trace(size_t max_spans = 1'000'000);

  /// Nanoseconds since the trace was made, of the steady clock.
  int64_t now() const;
  /// The number of the calling thread in this trace.
  int64_t thread();

  /// Of one run: all are kept or none.
  void add(std::vector<Span> spans, std::vector<Counter> counters);

  std::vector<Span> spans() const;
  std::vector<Counter> counters() const;
  int64_t dropped_runs() const;

  /// In the Trace Event Format of Chrome, which Perfetto (ui.perfetto.dev) and chrome://tracing show: a track for each thread, one
  /// for the device, one for each counter. Source: "Trace Event Format", the Chromium project.
  std::string to_chrome_json() const;

 private:
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  const size_t max_spans_;
  mutable std::mutex mutex_;  // guards what follows
  std::vector<Span> spans_;
  std::vector<Counter> counters_;
  std::vector<std::thread::id> threads_;  // by number - 1
  int64_t dropped_runs_ = 0;
};

}  // namespace tenure
