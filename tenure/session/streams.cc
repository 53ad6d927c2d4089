#include "tenure/session/streams.h"

#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

#include "tenure/session/cuda/cuda.h"

namespace tenure {
namespace {

// The id of a CUDA stream that is not PyTorch's is its handle, an even number (c10/cuda/CUDAStream.cpp, "StreamId").
bool lives_on(c10::Stream stream) { return stream.id() == 0 || (stream.id() & 1) != 0; }

c10::Event make_event(c10::Stream stream) { return c10::Event(stream.device_type()); }

}  // namespace

c10::Stream current_stream(c10::Device device) { return c10::impl::VirtualGuardImpl(device.type()).getStream(device); }

void StreamOrder::enter(c10::Stream stream) {
  if (last_ && *last_ != stream) {
    if (!event_) event_.emplace(make_event(stream));
    if (!recorded_) event_->record(*last_);
    event_->block(stream);
  }
  last_ = stream;
  recorded_ = false;
}

void StreamOrder::leave() {
  if (lives_on(*last_)) return;
  try {
    if (!event_) event_.emplace(make_event(*last_));
    event_->record(*last_);
    recorded_ = true;
  } catch (const c10::Error&) {  // the device has failed; the next enter() tells
  }
}

StreamUses::Use& StreamUses::use_of(c10::Stream stream) {
  const auto found = std::find_if(uses_.begin(), uses_.end(), [&](const Use& use) { return use.stream == stream; });
  if (found != uses_.end()) return *found;
  uses_.push_back({stream, std::nullopt, Use::kDone});
  return uses_.back();
}

bool StreamUses::is_ready_on(c10::Stream stream) const {
  const std::lock_guard lock(mutex_);
  return std::all_of(uses_.begin(), uses_.end(), [&](const Use& use) {
    return use.stream == stream || use.state == Use::kDone || (use.state == Use::kRecorded && use.event->query());
  });
}

bool StreamUses::hand_out(c10::Stream stream) {
  const std::lock_guard lock(mutex_);
  for (const Use& use : uses_)
    if (use.state == Use::kToRecord && use.stream != stream && cuda::is_capturing(use.stream)) return false;
  for (Use& use : uses_) {
    if (use.stream != stream) {
      if (use.state == Use::kToRecord) record(use);
      if (use.state == Use::kRecorded) use.event->block(stream);
    }
    use.state = Use::kDone;
  }
  use_of(stream).state = Use::kInUse;
  return true;
}

void StreamUses::add(c10::Stream stream) {
  const std::lock_guard lock(mutex_);
  use_of(stream).state = Use::kInUse;
}

void StreamUses::record(Use& use) {
  if (!use.event) use.event.emplace(make_event(use.stream));
  use.event->record(use.stream);
  use.state = Use::kRecorded;
}

void StreamUses::let_go() {
  const c10::Stream here = current_stream(device_);
  const std::lock_guard lock(mutex_);
  use_of(here).state = Use::kInUse;
  const bool one_stream =
      std::all_of(uses_.begin(), uses_.end(), [&](const Use& use) { return use.state == Use::kDone || use.stream == here; });
  for (Use& use : uses_) {
    if (use.state != Use::kInUse) continue;
    use.state = Use::kToRecord;
    // One stream is the steady run's, which hands the memory to the same stream again: an event would be for nothing.
    if ((one_stream && lives_on(use.stream)) || cuda::is_capturing(use.stream)) continue;
    try {
      record(use);
    } catch (const c10::Error&) {  // the device has failed, or the process ends; the next hand_out() tells
    }
  }
}

std::vector<c10::Stream> StreamUses::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<c10::Stream> streams;
  for (const Use& use : uses_) streams.push_back(use.stream);
  return streams;
}

}  // namespace tenure
