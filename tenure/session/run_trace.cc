#include "tenure/session/run_trace.h"

#include "tenure/session/cuda/cuda.h"
#include "tenure/session/program.h"
#include "tenure/session/streams.h"

namespace tenure {
namespace {

Span::Kind kind_of(NodeKind kind) {
  switch (kind) {
    case NodeKind::kOperator: return Span::Kind::kOperator;
    case NodeKind::kScalar: return Span::Kind::kScalar;
    case NodeKind::kEngine: return Span::Kind::kEngine;
  }
  return Span::Kind::kOperator;
}

int64_t nanoseconds(double milliseconds) { return static_cast<int64_t>(milliseconds * 1e6); }

}  // namespace

RunTrace::RunTrace(std::shared_ptr<Trace> trace, const Program& program, std::string how, int64_t run)
    : trace_(std::move(trace)),
      program_(program),
      how_(std::move(how)),
      run_(run),
      thread_(trace_->thread()),
      begin_(trace_->now()) {
  if (!program_.accelerator()) return;
  const c10::Stream stream = current_stream(*program_.accelerator());
  cuda::push_range(how_.c_str());
  ++open_ranges_;
  may_wait_ = !cuda::is_capturing(stream);
  if (!may_wait_) return;
  stream_ = stream;
  mark();
}

RunTrace::~RunTrace() {
  for (; open_ranges_ > 0; --open_ranges_) cuda::pop_range();
}

void RunTrace::mark() {
  marks_.emplace_back(stream_->device_type(), c10::EventFlag::BACKEND_DEFAULT);  // the default of PyTorch's own has no time
  marks_.back().record(*stream_);
}

void RunTrace::begin_node(size_t node) {
  node_ = node;
  layers_.clear();
  if (open_ranges_ > 0) {
    cuda::push_range(program_.graph().nodes[node].name.c_str());
    ++open_ranges_;
  }
  node_begin_ = trace_->now();
}

void RunTrace::end_node() {
  noted_.push_back({node_, node_begin_, trace_->now(), std::move(layers_)});
  if (stream_) mark();
  if (open_ranges_ == 0) return;
  cuda::pop_range();
  --open_ranges_;
}

Span RunTrace::span_of(const Noted& noted) const {
  const Node& node = program_.graph().nodes[noted.node];
  const auto& engine = program_.nodes()[noted.node].engine;
  return {.name = node.name,
          .target = engine ? engine->spec().name : node.target,
          .kind = kind_of(node.kind),
          .clock = Span::Clock::kHost,
          .run = run_,
          .thread = thread_,
          .begin_ns = noted.begin,
          .duration_ns = noted.end - noted.begin};
}

// Engines tell how long their layers took, not when: here they follow one another from where the engine began.
void RunTrace::add_layers(const Noted& noted, const Span& engine, std::vector<Span>& spans) const {
  Span span = engine;
  span.kind = Span::Kind::kLayer;
  for (const LayerTime& layer : noted.layers) {
    span.name = layer.name;
    span.duration_ns = layer.nanoseconds;
    spans.push_back(span);
    span.begin_ns += layer.nanoseconds;
  }
}

// The two clocks meet at the end, when the host has waited for the last mark.
void RunTrace::add_device_spans(std::vector<Span>& spans) const {
  marks_.back().synchronize();
  const int64_t end = trace_->now();
  const auto when = [&](const c10::Event& mark) { return end - nanoseconds(mark.elapsedTime(marks_.back())); };
  for (size_t i = 0; i < noted_.size(); ++i) {
    Span span = span_of(noted_[i]);
    span.clock = Span::Clock::kDevice;
    span.begin_ns = when(marks_[i]);
    span.duration_ns = when(marks_[i + 1]) - span.begin_ns;
    spans.push_back(span);
    add_layers(noted_[i], span, spans);
  }
}

void RunTrace::finish(std::vector<Counter> counters) {
  const int64_t end = trace_->now();
  std::vector<Span> spans;
  spans.push_back({.name = how_,
                   .target = "",
                   .kind = Span::Kind::kRun,
                   .clock = Span::Clock::kHost,
                   .run = run_,
                   .thread = thread_,
                   .begin_ns = begin_,
                   .duration_ns = end - begin_});
  for (const Noted& noted : noted_) {
    spans.push_back(span_of(noted));
    if (!stream_) add_layers(noted, Span(spans.back()), spans);
  }
  if (stream_) add_device_spans(spans);
  for (Counter& counter : counters) counter.time_ns = end;
  trace_->add(std::move(spans), std::move(counters));
}

}  // namespace tenure
