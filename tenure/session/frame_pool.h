// tenure/session/frame_pool.h: the frames of a session, lent to one run each.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "tenure/session/frame.h"

namespace tenure {

/// Makes up to `max_frames` frames, when they are needed. Thread-safe.
class FramePool {
 public:
  /// `device`: the program's accelerator; the CPU if it has none.
  FramePool(size_t nodes, int max_frames, SharedLedger ledger, c10::Device device)
      : nodes_(nodes), max_frames_(static_cast<size_t>(max_frames)), ledger_(std::move(ledger)), device_(device) {}

  /// Holds a frame for the life of one run. On a device the run is on the thread's current stream and comes after the frame's run
  /// before.
  class Lease {
   public:
    /// Waits until a frame is free. Throws Error(kInvalidArgument) if that would be for ever: this thread itself holds a frame of
    /// this pool (an operator that runs the program it is part of), and there are no others.
    explicit Lease(FramePool& pool);
    ~Lease();
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Frame& operator*() const { return *frame_; }

   private:
    FramePool& pool_;
    const Lease* outer_;  // the lease of the run that this run is nested in, of any pool
    Frame* frame_;
  };

  /// Gives back what frames that are not in a run hold; returns the bytes.
  size_t trim();
  size_t count() const;

 private:
  Frame* acquire(bool may_wait, std::optional<c10::Stream> stream);
  Frame* take_idle(std::optional<c10::Stream> stream);
  void release(Frame* frame);

  const size_t nodes_, max_frames_;
  const SharedLedger ledger_;
  const c10::Device device_;
  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable released_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::vector<Frame*> idle_;
};

}  // namespace tenure
