// tenure/session/run_trace.h: notes one run in a Trace.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tenure/engine/engine.h"
#include "tenure/trace/trace.h"

namespace tenure {

class Program;

/// When each node of one run ran: on the host's clock, and on the device's where the program has one, which it asks by events
/// between the nodes. Nodes of a device are ranges of NVTX too. Used by the run's thread.
class RunTrace {
 public:
  /// `how` names the run; see Span::name. The program outlives it.
  RunTrace(std::shared_ptr<Trace> trace, const Program& program, std::string how, int64_t run);
  /// What is still open was ended by an error.
  ~RunTrace();
  RunTrace(const RunTrace&) = delete;
  RunTrace& operator=(const RunTrace&) = delete;

  /// A node that throws is not ended, and not noted.
  void begin_node(size_t node);
  void end_node();
  /// Whether layers may be timed: not while the run is recorded into a CUDA graph, when nobody can wait for a device.
  bool may_wait() const { return may_wait_; }
  /// Of the engine that runs now; nothing if there are none.
  void note_layers(std::vector<LayerTime> layers) { layers_ = std::move(layers); }

  /// Hands everything to the trace; waits for the device's work. The run must not go on.
  void finish(std::vector<Counter> counters);

 private:
  struct Noted {
    size_t node;
    int64_t begin, end;             // on the host
    std::vector<LayerTime> layers;  // of an engine
  };

  void mark();
  Span span_of(const Noted& noted) const;
  void add_layers(const Noted& noted, const Span& engine, std::vector<Span>& spans) const;
  void add_device_spans(std::vector<Span>& spans) const;

  const std::shared_ptr<Trace> trace_;
  const Program& program_;
  const std::string how_;
  const int64_t run_, thread_, begin_;
  bool may_wait_ = true;
  std::optional<c10::Stream> stream_;  // of the device, if its work is timed
  std::vector<c10::Event> marks_;      // on stream_: before the first node, and after each
  std::vector<Noted> noted_;
  std::vector<LayerTime> layers_;
  size_t node_ = 0;
  int64_t node_begin_ = 0;
  int open_ranges_ = 0;
};

}  // namespace tenure
