// tenure/session/streams.h: order between the streams of a device where memory goes from one piece of work to the next.
//
// Work on one stream is in order by itself: then nothing here costs more than a comparison. Between streams an event carries the
// order; events are made once and kept. PyTorch's own streams live as long as the process, so their events are recorded when they
// are needed; a stream that somebody else made may be destroyed, so its are recorded at once.
#pragma once

#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#include <list>
#include <mutex>
#include <optional>
#include <vector>

namespace tenure {

/// The stream to which the calling thread's work on `device` goes; `device` is no CPU.
c10::Stream current_stream(c10::Device device);

/// Order between the runs of one frame, whose memory they all write. Used by one thread at a time.
class StreamOrder {
 public:
  /// What is enqueued on `stream` from now on comes after all that was enqueued between an enter() and its leave() before.
  void enter(c10::Stream stream);
  void leave();
  /// Of the last enter().
  std::optional<c10::Stream> last() const { return last_; }

 private:
  std::optional<c10::Stream> last_;
  std::optional<c10::Event> event_;
  bool recorded_ = false;  // event_, at leave()
};

/// The streams that use one piece of memory between its being handed out and let go. add() is thread-safe; the others are called by
/// whoever hands out or lets go, never two at once.
class StreamUses {
 public:
  explicit StreamUses(c10::Device device) : device_(device) {}

  /// Whether hand_out(stream) would have to wait for nothing.
  bool is_ready_on(c10::Stream stream) const;
  /// What is enqueued on `stream` from now on comes after every use so far. False if that cannot be promised now: a stream that
  /// used the memory is being captured into a graph.
  bool hand_out(c10::Stream stream);
  /// `stream` uses the memory too (Tensor.record_stream).
  void add(c10::Stream stream);
  /// The memory was let go by the calling thread: uses up to now, on the streams that are known and on the thread's current one,
  /// must be done before the memory is written again.
  void let_go();
  /// Every stream that used the memory since it was made.
  std::vector<c10::Stream> all() const;

 private:
  struct Use {
    c10::Stream stream;
    std::optional<c10::Event> event;
    enum State { kDone, kInUse, kRecorded, kToRecord } state = kInUse;
  };

  Use& use_of(c10::Stream stream);
  static void record(Use& use);

  const c10::Device device_;
  mutable std::mutex mutex_;  // guards uses_
  std::list<Use> uses_;       // the first is the run's that was handed the memory last; few
};

}  // namespace tenure
