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
  std::optional<c10::Stream> stream;
  if (!pool_.device_.is_cpu()) stream = current_stream(pool_.device_);
  frame_ = pool_.acquire(!nested, stream);
  check(frame_ != nullptr, ErrorCode::kInvalidArgument, "an operator of this program runs the same session, of which all ",
        pool_.max_frames_, " frames are in use: it would wait for itself. Give the operator a session of its own",
        pool_.max_frames_ > 1 ? ", or raise max_frames" : "");
  try {
    if (stream) frame_->order.enter(*stream);
  } catch (...) {
    pool_.release(frame_);
    throw;
  }
  innermost = this;
}

FramePool::Lease::~Lease() {
  innermost = outer_;
  if (!pool_.device_.is_cpu()) frame_->order.leave();
  pool_.release(frame_);
}

// A stream's own frame if there is one, so that streams need not wait for each other.
Frame* FramePool::take_idle(std::optional<c10::Stream> stream) {
  auto found = std::find_if(idle_.rbegin(), idle_.rend(), [&](const Frame* frame) { return frame->order.last() == stream; });
  if (found == idle_.rend()) {
    if (frames_.size() < max_frames_) return nullptr;
    found = idle_.rbegin();
  }
  Frame* const frame = *found;
  idle_.erase(std::next(found).base());
  return frame;
}

Frame* FramePool::acquire(bool may_wait, std::optional<c10::Stream> stream) {
  std::unique_lock lock(mutex_);
  const auto available = [&] { return !idle_.empty() || frames_.size() < max_frames_; };
  if (!may_wait && !available()) return nullptr;
  released_.wait(lock, available);
  if (Frame* frame = take_idle(stream)) return frame;
  idle_.reserve(frames_.size() + 1);  // giving it back must not fail
  frames_.push_back(std::make_unique<Frame>(nodes_, ledger_, device_));
  return frames_.back().get();
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
