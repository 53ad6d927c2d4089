#include "tenure/session/session.h"

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "tenure/base/error.h"
#include "tenure/session/allocator.h"
#include "tenure/session/boundary.h"
#include "tenure/session/executor.h"
#include "tenure/session/frame_pool.h"
#include "tenure/session/plan_cache.h"
#include "tenure/session/recording.h"

namespace tenure {
namespace {

SessionOptions checked(SessionOptions options, const Boundary& boundary) {
  check(options.max_frames > 0 && options.max_plan_bytes > 0 && options.max_output_slots > 0, ErrorCode::kInvalidArgument,
        "max_frames, max_plan_bytes and max_output_slots must be at least 1");
  if (!boundary.state().empty()) options.max_frames = 1;
  const char* asked = std::getenv("TENURE_CHECK_OWNERSHIP");
  options.check_ownership |= asked != nullptr && asked[0] != '\0' && asked[0] != '0';
  return options;
}

}  // namespace

class Session::Impl {
 public:
  using Values = std::vector<c10::IValue>;

  Impl(std::shared_ptr<const Program> program, const SessionOptions& options)
      : program_(std::move(program)),
        boundary_(*program_),
        options_(checked(options, boundary_)),
        release_(program_->graph()),
        ledger_(std::make_shared<Ledger>(options_.check_ownership)),
        frames_(program_->graph().nodes.size(), options_.max_frames, ledger_, program_->accelerator().value_or(c10::kCPU)),
        plans_(options_.max_plan_bytes),
        pre_allocated_outputs_(options_.pre_allocated_outputs) {
    counters_.engine_blocks = program_->engine_blocks();
    counters_.aten_blocks = program_->aten_blocks();
    install_allocator();
    // The weights and the state were copied to the device on this thread's stream; runs may be on any.
    if (program_->accelerator()) current_stream(*program_->accelerator()).synchronize();
  }

  Values run(const Values& inputs);
  Explanation explain() const;
  Stats stats() const;
  int64_t trim();
  void set_trace(std::shared_ptr<Trace> trace);

  /// Calls body(State&) while no run is in flight.
  template <typename Body>
  auto with_state(const Body& body) {
    const FramePool::Lease alone(frames_);  // a program with state has one frame
    return body(boundary_.state());
  }

  const std::shared_ptr<const Program> program_;

 private:
  PlanCache::Known known_plan(const Signature& signature, const Values& inputs);
  uint64_t ownership_version() const;
  void forget_plans_if_ownership_changed();

  /// Calls go() and notes what it did; `how` names the run.
  template <typename Go>
  Values run_traced(Frame& frame, const char* how, const Go& go);
  Values run_plain(Frame& frame, const Values& inputs);
  Values run_observing(Frame& frame, const Values& inputs);
  Values run_replaying(Frame& frame, PreparedRun& prepared, const Values& inputs);
  Values replay(Frame& frame, PreparedRun& prepared, ReplayScope& scope, const Values& inputs);
  bool planned_memory_escapes(const Arenas& arenas, const Registers& registers) const;
  PreparedRun* find_prepared(Frame& frame, const std::shared_ptr<const Plan>& plan);
  void interpret(size_t first, Frame& frame, Registers& registers);
  void interpret_one(size_t node, Frame& frame, Registers& registers, std::optional<Bystanders>& bystanders);
  std::optional<Bystanders> bystanders(const Frame& frame, const Registers& registers) const;
  void allocate_ahead(Frame& frame, const PreparedRun& prepared, const BySpace<int>& result_copies) const;
  void settle(Frame& frame, const PreparedRun& prepared, const ReplayScope& scope);
  /// `kind`: the counter of such runs, if there is one.
  void count_run(const CountingScope& scope, int64_t Stats::* kind = nullptr);

  Boundary boundary_;
  const SessionOptions options_;
  const ReleaseTable release_;
  const SharedLedger ledger_;
  FramePool frames_;
  PlanCache plans_;
  std::atomic<uint64_t> ownership_version_{0};

 public:
  std::atomic<bool> pre_allocated_outputs_;

 private:
  std::atomic<bool> is_traced_{false};
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<const Plan> last_plan_;
  std::shared_ptr<Trace> trace_;
  int64_t traced_runs_ = 0;
  Stats counters_;
};

uint64_t Session::Impl::ownership_version() const {
  uint64_t version = 0;
  for (const auto& [name, engine] : program_->engines()) version += engine->ownership_version();
  return version;
}

void Session::Impl::forget_plans_if_ownership_changed() {
  if (program_->engines().empty()) return;
  const uint64_t version = ownership_version();
  if (ownership_version_.exchange(version) != version) plans_.drop_plans();
}

PlanCache::Known Session::Impl::known_plan(const Signature& signature, const Values& inputs) {
  forget_plans_if_ownership_changed();
  std::optional<PlanCache::Known> known = plans_.find(signature);
  if (!known || program_->signature_rules().has_free_numbers) validate_inputs(program_->graph(), inputs);
  if (!known) {
    plans_.add(signature);
    known.emplace();
  }
  if (known->plan) {
    std::lock_guard lock(mutex_);
    last_plan_ = known->plan;
  }
  return *known;
}

Session::Impl::Values Session::Impl::run(const Values& inputs) {
  refuse_recording();
  const c10::OptionalDeviceGuard on_its_device(program_->accelerator());
  const FramePool::Lease lease(frames_);
  Frame& frame = *lease;
  describe(inputs, program_->signature_rules(), frame.signature);
  const PlanCache::Known known = known_plan(frame.signature, inputs);
  // Inference needs neither autograd nor the version counters that in-place operators keep for it; and a caller's autocast must not
  // change what the file says.
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const bool plans = pre_allocated_outputs_.load(std::memory_order_relaxed) && !known.runs_plain && !is_watched();
  const bool observes = plans && known.plan == nullptr;
  PreparedRun* const prepared = plans && !observes ? find_prepared(frame, known.plan) : nullptr;
  const auto go = [&] {
    if (observes) return run_observing(frame, inputs);
    return prepared != nullptr ? run_replaying(frame, *prepared, inputs) : run_plain(frame, inputs);
  };
  if (!is_traced_.load(std::memory_order_relaxed)) [[likely]]
    return go();
  return run_traced(frame, observes ? "observing run" : prepared != nullptr ? "replay" : "plain run", go);
}

template <typename Go>
Session::Impl::Values Session::Impl::run_traced(Frame& frame, const char* how, const Go& go) {
  std::shared_ptr<Trace> trace;
  int64_t run = 0;
  {
    std::lock_guard lock(mutex_);
    trace = trace_;
    run = ++traced_runs_;
  }
  if (trace == nullptr) return go();
  RunTrace noted(std::move(trace), *program_, how, run);
  struct Noting {
    Frame& frame;
    ~Noting() { frame.trace = nullptr; }
  } const noting{frame};
  frame.trace = &noted;
  Values results = go();
  const Stats after = stats();
  noted.finish({{.name = "standing bytes", .value = after.standing_bytes},
                {.name = "leased bytes", .value = after.leased_bytes},
                {.name = "allocations", .value = after.last_run_allocations}});
  return results;
}

void Session::Impl::set_trace(std::shared_ptr<Trace> trace) {
  std::lock_guard lock(mutex_);
  trace_ = std::move(trace);
  is_traced_ = trace_ != nullptr;
}

void Session::Impl::interpret(size_t first, Frame& frame, Registers& registers) {
  std::optional<Bystanders> watched = bystanders(frame, registers);
  for (size_t i = first; i < release_.after.size(); ++i) {
    interpret_one(i, frame, registers, watched);
    for (ValueId value : release_.after[i]) registers[value.index] = c10::IValue();
  }
  if (watched) watched->check_at_end();
}

std::optional<Bystanders> Session::Impl::bystanders(const Frame& frame, const Registers& registers) const {
  if (!options_.check_ownership) return std::nullopt;
  return std::optional<Bystanders>(std::in_place, *program_, registers, frame, stats().runs + 1);
}

void Session::Impl::interpret_one(size_t node, Frame& frame, Registers& registers, std::optional<Bystanders>& bystanders) {
  if (bystanders) bystanders->before(program_->graph().nodes[node], bystanders->written_operands(node));
  interpret_node(*program_, node, frame.contexts, registers, frame.trace);
  if (bystanders) bystanders->check_after(program_->graph().nodes[node]);
}

Session::Impl::Values Session::Impl::run_plain(Frame& frame, const Values& inputs) {
  CountingScope scope;
  const MemoryScopeGuard count(&scope);
  Registers registers = boundary_.weights();
  boundary_.enter(inputs, registers);
  interpret(0, frame, registers);
  Values results = boundary_.results(inputs, registers, frame.arenas);
  boundary_.write_back(inputs, registers);
  count_run(scope);
  return results;
}

Session::Impl::Values Session::Impl::run_observing(Frame& frame, const Values& inputs) {
  Registers registers = boundary_.weights();
  boundary_.enter(inputs, registers);
  std::optional<Bystanders> watched = bystanders(frame, registers);
  Observer observer(*program_);
  observer.start(registers);
  Values results;
  {
    const MemoryScopeGuard watch(&observer);
    for (size_t i = 0; i < release_.after.size(); ++i) {
      observer.enter_node(static_cast<int>(i), registers);
      interpret_one(i, frame, registers, watched);
      observer.leave_node(registers);
      for (ValueId value : release_.after[i]) registers[value.index] = c10::IValue();
    }
    if (watched) watched->check_at_end();
    observer.leave_graph();
    results = boundary_.results(inputs, registers, frame.arenas);
    boundary_.write_back(inputs, registers);
    registers.clear();
  }
  const uint64_t version = ownership_version();  // before the plan reads the switches
  std::shared_ptr<const Plan> plan = make_plan(*program_, observer.finish(results, to_text(inputs)));
  count_run(observer, &Stats::observing_runs);
  std::lock_guard lock(mutex_);
  last_plan_ = plan;
  if (version == ownership_version()) plans_.set_plan(frame.signature, std::move(plan));
  return results;
}

PreparedRun* Session::Impl::find_prepared(Frame& frame, const std::shared_ptr<const Plan>& plan) {
  auto& prepared = frame.prepared;
  if (const uint64_t version = plans_.version(); frame.plans_version != version) {
    prepared.remove_if([&](const auto& run) { return !plans_.contains(run->plan.get()); });
    frame.plans_version = version;
  }
  const auto found = std::find_if(prepared.begin(), prepared.end(), [&](const auto& run) { return run->plan == plan; });
  if (found != prepared.end()) {
    if (found != prepared.begin()) prepared.splice(prepared.begin(), prepared, found);
    return prepared.front().get();
  }
  for (const Space space : BySpace<int>::kSpaces) {
    const size_t bytes = static_cast<size_t>(plan->arena_bytes[space]);
    if (bytes <= frame.arenas[space].bytes()) continue;
    prepared.clear();  // their tensors lie in the arena that is replaced
    if (!frame.arenas[space].grow(bytes)) return nullptr;
  }
  prepared.push_front(prepare(*program_, plan, frame.arenas, boundary_.weights(), release_.after));
  return prepared.front().get();
}

Session::Impl::Values Session::Impl::replay(Frame& frame, PreparedRun& prepared, ReplayScope& scope, const Values& inputs) {
  std::optional<OwnershipCheck> check;
  const MemoryScopeGuard serve(&scope);
  const RegisterCleaner cleaner(prepared);
  boundary_.enter(inputs, prepared.registers);
  if (options_.check_ownership) check.emplace(*program_, prepared, frame, stats().runs + 1);
  const size_t next = run_prepared(*program_, prepared, frame, scope, check ? &*check : nullptr);
  if (check) check->at_end();
  scope.leave();
  if (prepared.deviated) interpret(next, frame, prepared.registers);
  prepared.deviated |= planned_memory_escapes(frame.arenas, prepared.registers);
  scope.enter_results();
  Values results = boundary_.results(inputs, prepared.registers, frame.arenas);
  scope.leave();
  boundary_.write_back(inputs, prepared.registers);
  return results;
}

// An alias that no schema admitted to and no observation showed.
bool Session::Impl::planned_memory_escapes(const Arenas& arenas, const Registers& registers) const {
  const auto& outputs = program_->graph().outputs;
  return std::any_of(outputs.begin(), outputs.end(), [&](const GraphOutput& output) {
    if (output.kind != GraphOutput::Kind::kUser || !output.value.is_value()) return false;
    if (boundary_.is_new_input_content(output.value.value())) return false;  // the caller gets his own tensor
    const at::Tensor* result = stored_tensor(registers[output.value.value().index]);
    return result != nullptr && arenas.contains(result->storage().data());
  });
}

Session::Impl::Values Session::Impl::run_replaying(Frame& frame, PreparedRun& prepared, const Values& inputs) {
  ReplayScope scope(prepared, frame, options_.max_output_slots);
  Values results;
  try {
    results = replay(frame, prepared, scope, inputs);
  } catch (...) {
    settle(frame, prepared, scope);
    throw;
  }
  allocate_ahead(frame, prepared, scope.result_copies());
  const bool kept = options_.check_ownership && scope.outstanding() != 0;
  settle(frame, prepared, scope);
  check(!kept, ErrorCode::kOwnership, "an operator kept memory of the arena beyond the run");
  count_run(scope, &Stats::replays);
  return results;
}

void Session::Impl::allocate_ahead(Frame& frame, const PreparedRun& prepared, const BySpace<int>& result_copies) const {
  const size_t max_slots = static_cast<size_t>(options_.max_output_slots);
  for (const auto& [node, ordinal, space] : prepared.slots)
    frame.cells.pool(node, ordinal, CellUse::kSlot, space).allocate_ahead(max_slots);
  for (const Space space : BySpace<int>::kSpaces)
    for (int i = 0; i < result_copies[space]; ++i)
      frame.cells.pool(frame.cells.results_node(), i, CellUse::kSlot, space).allocate_ahead(max_slots);
}

// After a replay, however it ended; its registers are empty. `prepared` may be gone afterwards.
void Session::Impl::settle(Frame& frame, const PreparedRun& prepared, const ReplayScope& scope) {
  const bool kept = scope.outstanding() != 0;
  if (!prepared.deviated && !kept) return;
  plans_.note_deviation(frame.signature, kept);
  frame.prepared.clear();
  if (kept) frame.arenas.leave_behind();
  std::lock_guard lock(mutex_);
  ++counters_.deviations;
}

void Session::Impl::count_run(const CountingScope& scope, int64_t Stats::* kind) {
  std::lock_guard lock(mutex_);
  ++counters_.runs;
  if (kind != nullptr) ++(counters_.*kind);
  counters_.last_run_allocations = scope.ordinary_requests();
  counters_.fresh_bytes = scope.ordinary_bytes();
}

Stats Session::Impl::stats() const {
  Stats stats;
  {
    std::lock_guard lock(mutex_);
    stats = counters_;
  }
  stats.frames = static_cast<int64_t>(frames_.count());
  stats.plans = plans_.count();
  stats.plan_bytes = plans_.bytes();
  stats.standing_bytes = ledger_->arena_bytes + ledger_->own_bytes;
  stats.leased_bytes = ledger_->slot_bytes;
  stats.abandoned_bytes = ledger_->abandoned_bytes;
  stats.slots = ledger_->slots;
  stats.held_slots = ledger_->held_slots;
  stats.slot_overflows = ledger_->overflows;
  return stats;
}

int64_t Session::Impl::trim() { return static_cast<int64_t>(frames_.trim()); }

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
  impl_ = std::make_unique<Impl>(std::move(program), options);
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

std::vector<c10::IValue> Session::run_values(std::vector<c10::IValue> inputs) {
  try {
    return impl_->run(inputs);
  } catch (const c10::Error& error) {  // of PyTorch, outside any operator: no memory for a result, say
    throw Error(ErrorCode::kOperator, error.what_without_backtrace()).caused_by_current();
  }
}
Explanation Session::explain() const { return impl_->explain(); }
Explanation Session::explain(const std::map<std::string, int64_t>& sizes) const {
  return tenure::explain(*impl_->program_, nullptr, sizes);
}
Stats Session::stats() const { return impl_->stats(); }
int64_t Session::trim() { return impl_->trim(); }
void Session::reset_state() {
  impl_->with_state([](State& state) { state.reset(); });
}
std::map<std::string, at::Tensor> Session::state_dict() const {
  return impl_->with_state([](State& state) { return state.copies(); });
}
void Session::load_state_dict(const std::map<std::string, at::Tensor>& values) {
  impl_->with_state([&](State& state) { state.load(values); });
}
void Session::set_pre_allocated_outputs(bool enabled) { impl_->pre_allocated_outputs_ = enabled; }
void Session::set_trace(std::shared_ptr<Trace> trace) { impl_->set_trace(std::move(trace)); }
bool Session::pre_allocated_outputs() const { return impl_->pre_allocated_outputs_; }
const Program& Session::program() const { return *impl_->program_; }

}  // namespace tenure
