#include "tenure/session/session.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "tenure/base/error.h"
#include "tenure/session/allocator.h"
#include "tenure/session/boundary.h"
#include "tenure/session/executor.h"
#include "tenure/session/frame.h"

namespace tenure {
namespace {

constexpr int kMaxDeviations = 3;  // after that many a signature is run without a plan

/// What a session knows of a signature whose inputs were found valid.
struct KnownSignature {
  std::shared_ptr<const Plan> plan;  // null until observed
  int deviations = 0;
  int64_t last_used = 0;
};

}  // namespace

class Session::Impl {
 public:
  Impl(std::shared_ptr<const Program> program, SessionOptions options)
      : program_(std::move(program)), options_(options), boundary_(*program_), release_(program_->graph()) {
    check(options_.max_frames > 0 && options_.max_plans > 0 && options_.max_output_slots > 0, ErrorCode::kInvalidArgument,
          "max_frames, max_plans and max_output_slots must be at least 1");
    if (boundary_.has_state()) options_.max_frames = 1;
    stats_.engine_blocks = program_->engine_blocks();
    stats_.aten_blocks = program_->aten_blocks();
    install_allocator();
  }

  std::vector<c10::IValue> run(const std::vector<c10::IValue>& inputs);
  Explanation explain() const;
  Stats stats() const;

  std::shared_ptr<const Program> program_;
  std::atomic<bool> pre_allocated_outputs_{true};

 private:
  /// Holds a frame for the life of one run.
  class FrameLease {
   public:
    explicit FrameLease(Impl& session) : session_(session), frame_(session.acquire_frame()) { frame_->busy.lock(); }
    ~FrameLease() {
      frame_->busy.unlock();
      session_.release_frame(frame_);
    }
    FrameLease(const FrameLease&) = delete;
    FrameLease& operator=(const FrameLease&) = delete;
    Frame& operator*() const { return *frame_; }

   private:
    Impl& session_;
    Frame* frame_;
  };

  Frame* acquire_frame();
  void release_frame(Frame* frame);

  KnownSignature find_signature(const Signature& signature, const std::vector<c10::IValue>& inputs);
  uint64_t ownership_version() const;
  void forget_plans_if_ownership_changed();

  std::vector<c10::IValue> run_plain(Frame& frame, const std::vector<c10::IValue>& inputs);
  std::vector<c10::IValue> run_observing(Frame& frame, const std::vector<c10::IValue>& inputs);
  std::vector<c10::IValue> run_replaying(Frame& frame, PreparedRun& prepared, const std::vector<c10::IValue>& inputs);
  PreparedRun* find_prepared(Frame& frame, const std::shared_ptr<const Plan>& plan);
  void interpret(size_t first, Frame& frame, Registers& registers);
  void settle(Frame& frame, const PreparedRun& prepared, const ReplayScope& scope, bool saved_from_arena);
  void count_run(const CountingScope& scope);
  void note_deviation(const Signature& signature);

  SessionOptions options_;
  Boundary boundary_;
  ReleaseTable release_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable frame_released_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::vector<Frame*> idle_;
  std::unordered_map<Signature, KnownSignature, SignatureHash> signatures_;
  std::shared_ptr<const Plan> last_plan_;
  uint64_t ownership_version_ = 0;
  int64_t clock_ = 0;
  Stats stats_;
};

Frame* Session::Impl::acquire_frame() {
  std::unique_lock lock(mutex_);
  frame_released_.wait(lock, [&] { return !idle_.empty() || frames_.size() < static_cast<size_t>(options_.max_frames); });
  if (idle_.empty()) {
    frames_.push_back(std::make_unique<Frame>(*program_));
    return frames_.back().get();
  }
  Frame* frame = idle_.back();
  idle_.pop_back();
  return frame;
}

void Session::Impl::release_frame(Frame* frame) {
  {
    std::lock_guard lock(mutex_);
    idle_.push_back(frame);
  }
  frame_released_.notify_one();
}

uint64_t Session::Impl::ownership_version() const {
  uint64_t version = 0;
  for (const auto& [name, engine] : program_->engines()) version += engine->ownership_version();
  return version;
}

void Session::Impl::forget_plans_if_ownership_changed() {
  const uint64_t version = ownership_version();
  if (version == ownership_version_) return;
  ownership_version_ = version;
  for (auto& [signature, known] : signatures_) known.plan = nullptr;
}

KnownSignature Session::Impl::find_signature(const Signature& signature, const std::vector<c10::IValue>& inputs) {
  std::unique_lock lock(mutex_);
  forget_plans_if_ownership_changed();
  auto found = signatures_.find(signature);
  if (found == signatures_.end()) {
    lock.unlock();
    validate_inputs(program_->graph(), inputs);
    lock.lock();
    found = signatures_.try_emplace(signature).first;
    found->second.last_used = ++clock_;
    if (signatures_.size() > static_cast<size_t>(options_.max_plans)) {
      const auto older = [](const auto& a, const auto& b) { return a.second.last_used < b.second.last_used; };
      signatures_.erase(std::min_element(signatures_.begin(), signatures_.end(), older));
      found = signatures_.find(signature);
    }
  }
  found->second.last_used = ++clock_;
  last_plan_ = found->second.plan;
  return found->second;
}

std::vector<c10::IValue> Session::Impl::run(const std::vector<c10::IValue>& inputs) {
  const FrameLease lease(*this);
  Frame& frame = *lease;
  describe(inputs, frame.signature);
  const KnownSignature known = find_signature(frame.signature, inputs);
  // Inference needs neither autograd nor the version counters that in-place operators keep for it; and a caller's autocast must not
  // change what the file says.
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  if (!pre_allocated_outputs_.load(std::memory_order_relaxed) || known.deviations >= kMaxDeviations)
    return run_plain(frame, inputs);
  if (known.plan == nullptr) return run_observing(frame, inputs);
  PreparedRun* prepared = find_prepared(frame, known.plan);
  return prepared == nullptr ? run_plain(frame, inputs) : run_replaying(frame, *prepared, inputs);
}

void Session::Impl::interpret(size_t first, Frame& frame, Registers& registers) {
  for (size_t i = first; i < release_.after.size(); ++i) {
    interpret_node(*program_, i, frame.contexts, registers);
    for (ValueId value : release_.after[i]) registers[value.index] = c10::IValue();
  }
}

std::vector<c10::IValue> Session::Impl::run_plain(Frame& frame, const std::vector<c10::IValue>& inputs) {
  CountingScope scope;
  const MemoryScopeGuard count(&scope);
  Registers registers = boundary_.weights();
  boundary_.enter(inputs, registers);
  interpret(0, frame, registers);
  bool saved = false;
  std::vector<c10::IValue> results = boundary_.results(registers, saved);
  boundary_.write_back(registers);
  std::lock_guard lock(mutex_);
  count_run(scope);
  return results;
}

std::vector<c10::IValue> Session::Impl::run_observing(Frame& frame, const std::vector<c10::IValue>& inputs) {
  Registers registers = boundary_.weights();
  boundary_.enter(inputs, registers);
  Observer observer(*program_);
  observer.start(registers);
  std::vector<c10::IValue> results;
  {
    const MemoryScopeGuard watch(&observer);
    for (size_t i = 0; i < release_.after.size(); ++i) {
      observer.enter_node(static_cast<int>(i));
      interpret_node(*program_, i, frame.contexts, registers);
      observer.leave_node(registers);
      for (ValueId value : release_.after[i]) registers[value.index] = c10::IValue();
    }
    bool saved = false;
    results = boundary_.results(registers, saved);
    boundary_.write_back(registers);
    registers.clear();
  }
  const uint64_t version = ownership_version();  // before the plan reads the switches
  std::shared_ptr<const Plan> plan = make_plan(*program_, observer.finish(results, to_text(inputs)));
  std::lock_guard lock(mutex_);
  count_run(observer);
  ++stats_.observing_runs;
  last_plan_ = plan;
  const auto found = signatures_.find(frame.signature);
  if (found != signatures_.end() && version == ownership_version_) found->second.plan = std::move(plan);
  return results;
}

PreparedRun* Session::Impl::find_prepared(Frame& frame, const std::shared_ptr<const Plan>& plan) {
  const auto found = std::find_if(frame.prepared.begin(), frame.prepared.end(), [&](const auto& run) { return run->plan == plan; });
  if (found != frame.prepared.end()) {
    if (found != frame.prepared.begin()) frame.prepared.splice(frame.prepared.begin(), frame.prepared, found);
    return frame.prepared.front().get();
  }
  if (static_cast<size_t>(plan->arena_bytes) > frame.arena.bytes()) {
    frame.prepared.clear();  // their tensors lie in the arena that is replaced
    if (!frame.arena.grow(static_cast<size_t>(plan->arena_bytes))) return nullptr;
  }
  frame.prepared.push_front(prepare(*program_, plan, frame.arena.base(), boundary_.weights(), release_.after));
  if (frame.prepared.size() > static_cast<size_t>(options_.max_plans)) frame.prepared.pop_back();
  for (const auto& [node, ordinal] : frame.prepared.front()->slots) frame.cells.pool(node, ordinal).mark_leased();
  return frame.prepared.front().get();
}

std::vector<c10::IValue> Session::Impl::run_replaying(Frame& frame, PreparedRun& prepared, const std::vector<c10::IValue>& inputs) {
  ReplayScope scope(prepared, frame, options_.max_output_slots);
  std::vector<c10::IValue> results;
  bool saved_from_arena = false;
  try {
    const MemoryScopeGuard serve(&scope);
    const RegisterCleaner cleaner(prepared);
    boundary_.enter(inputs, prepared.registers);
    const size_t next = run_prepared(*program_, prepared, frame, scope);
    scope.leave();
    if (prepared.deviated) interpret(next, frame, prepared.registers);
    results = boundary_.results(prepared.registers, saved_from_arena);
    boundary_.write_back(prepared.registers);
  } catch (...) {
    settle(frame, prepared, scope, saved_from_arena);
    throw;
  }
  const size_t max_slots = static_cast<size_t>(options_.max_output_slots);
  for (const auto& [node, ordinal] : prepared.slots) frame.cells.pool(node, ordinal).allocate_ahead(max_slots);
  settle(frame, prepared, scope, saved_from_arena);
  std::lock_guard lock(mutex_);
  count_run(scope);
  ++stats_.replays;
  return results;
}

// After a replay, however it ended; its registers are empty. `prepared` may be gone afterwards.
void Session::Impl::settle(Frame& frame, const PreparedRun& prepared, const ReplayScope& scope, bool saved_from_arena) {
  const bool kept = scope.outstanding() != 0;
  if (!prepared.deviated && !saved_from_arena && !kept) return;
  note_deviation(frame.signature);
  frame.prepared.clear();
  if (kept) frame.arena.leave_behind();
}

// With mutex_ held.
void Session::Impl::count_run(const CountingScope& scope) {
  ++stats_.runs;
  stats_.last_run_allocations = scope.ordinary_requests();
  stats_.fresh_bytes = scope.ordinary_bytes();
}

void Session::Impl::note_deviation(const Signature& signature) {
  std::lock_guard lock(mutex_);
  ++stats_.deviations;
  const auto found = signatures_.find(signature);
  if (found == signatures_.end()) return;
  ++found->second.deviations;
  found->second.plan = nullptr;  // the next run observes again
}

Stats Session::Impl::stats() const {
  std::unique_lock lock(mutex_);
  Stats stats = stats_;
  std::vector<Frame*> frames;
  for (const auto& frame : frames_) frames.push_back(frame.get());
  for (const auto& [signature, known] : signatures_) stats.plans += known.plan != nullptr;
  lock.unlock();
  stats.frames = static_cast<int64_t>(frames.size());
  for (Frame* frame : frames) {
    const std::lock_guard busy(frame->busy);
    stats.standing_bytes += static_cast<int64_t>(frame->arena.bytes());
    frame->cells.for_each([&](const CellPool& pool) {
      (pool.leased() ? stats.leased_bytes : stats.standing_bytes) += static_cast<int64_t>(pool.bytes());
      if (!pool.leased()) return;
      stats.slots += static_cast<int64_t>(pool.cells());
      stats.held_slots += static_cast<int64_t>(pool.held());
    });
  }
  return stats;
}

Explanation Session::Impl::explain() const {
  std::shared_ptr<const Plan> plan;
  {
    std::lock_guard lock(mutex_);
    plan = last_plan_;
  }
  return tenure::explain(*program_, plan.get());
}

Session::Session(std::shared_ptr<const Program> program, SessionOptions options) {
  check(program != nullptr, ErrorCode::kInvalidArgument, "a session needs a program");
  const bool enabled = options.pre_allocated_outputs;
  impl_ = std::make_unique<Impl>(std::move(program), options);
  impl_->pre_allocated_outputs_ = enabled;
}

Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

std::vector<at::Tensor> Session::run(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> tensors;
  for (c10::IValue& value : run_values({inputs.begin(), inputs.end()}))
    if (value.isTensor()) tensors.push_back(std::move(value).toTensor());
  return tensors;
}

std::vector<c10::IValue> Session::run_values(std::vector<c10::IValue> inputs) { return impl_->run(inputs); }
Explanation Session::explain() const { return impl_->explain(); }
Stats Session::stats() const { return impl_->stats(); }
void Session::set_pre_allocated_outputs(bool enabled) { impl_->pre_allocated_outputs_ = enabled; }
bool Session::pre_allocated_outputs() const { return impl_->pre_allocated_outputs_; }
const Program& Session::program() const { return *impl_->program_; }

}  // namespace tenure
