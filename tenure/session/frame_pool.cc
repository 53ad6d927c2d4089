#include "tenure/session/frame_pool.h"

#include <algorithm>

#include "tenure/base/error.h"

namespace tenure {
namespace {

thread_local const FramePool::Lease* innermost = nullptr;  // of the runs under way on this thread

}  // namespace

FramePool::Lease::Lease(FramePool& pool) : pool_(pool), outer_(innermost) {
  bool nested = false;
  for (const Lease* lease = outer_; lease != nullptr; lease = lease->outer_) nested |= &lease->pool_ == &pool_;
  frame_ = pool_.acquire(!nested);
  check(frame_ != nullptr, ErrorCode::kInvalidArgument, "an operator of this program runs the same session, of which all ",
        pool_.max_frames_, " frames are in use: it would wait for itself. Give the operator a session of its own",
        pool_.max_frames_ > 1 ? ", or raise max_frames" : "");
  innermost = this;
}

FramePool::Lease::~Lease() {
  innermost = outer_;
  pool_.release(frame_);
}

Frame* FramePool::acquire(bool may_wait) {
  std::unique_lock lock(mutex_);
  const auto available = [&] { return !idle_.empty() || frames_.size() < max_frames_; };
  if (!may_wait && !available()) return nullptr;
  released_.wait(lock, available);
  if (idle_.empty()) {
    idle_.reserve(frames_.size() + 1);  // giving it back must not fail
    frames_.push_back(std::make_unique<Frame>(nodes_, ledger_));
    return frames_.back().get();
  }
  Frame* frame = idle_.back();
  idle_.pop_back();
  return frame;
}

void FramePool::release(Frame* frame) {
  {
    std::lock_guard lock(mutex_);
    idle_.push_back(frame);
  }
  released_.notify_one();
}

size_t FramePool::trim() {
  std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (Frame* frame : idle_) bytes += frame->trim();
  return bytes;
}

size_t FramePool::count() const {
  std::lock_guard lock(mutex_);
  return frames_.size();
}

}  // namespace tenure
