#include "tenure/trace/trace.h"

#include <algorithm>
#include <iterator>

namespace tenure {

std::string_view to_string(Span::Kind kind) {
  switch (kind) {
    case Span::Kind::kRun: return "run";
    case Span::Kind::kOperator: return "operator";
    case Span::Kind::kScalar: return "scalar";
    case Span::Kind::kEngine: return "engine";
    case Span::Kind::kLayer: return "layer";
  }
  return "unknown";
}

std::string_view to_string(Span::Clock clock) { return clock == Span::Clock::kHost ? "host" : "device"; }

Trace::Trace(size_t max_spans) : max_spans_(max_spans) {}

int64_t Trace::now() const {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - began_).count();
}

int64_t Trace::thread() {
  const std::lock_guard lock(mutex_);
  auto found = std::find(threads_.begin(), threads_.end(), std::this_thread::get_id());
  if (found == threads_.end()) found = threads_.insert(threads_.end(), std::this_thread::get_id());
  return found - threads_.begin() + 1;
}

void Trace::add(std::vector<Span> spans, std::vector<Counter> counters) {
  const std::lock_guard lock(mutex_);
  if (spans_.size() + spans.size() > max_spans_) {
    ++dropped_runs_;
    return;
  }
  std::move(spans.begin(), spans.end(), std::back_inserter(spans_));
  std::move(counters.begin(), counters.end(), std::back_inserter(counters_));
}

std::vector<Span> Trace::spans() const {
  const std::lock_guard lock(mutex_);
  return spans_;
}

std::vector<Counter> Trace::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

int64_t Trace::dropped_runs() const {
  const std::lock_guard lock(mutex_);
  return dropped_runs_;
}

}  // namespace tenure
