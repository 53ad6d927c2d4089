#include "tenure/torch_api/standalone_engine.h"

#include <ATen/ATen.h>

#include <cstring>
#include <utility>

#include "tenure/base/error.h"

namespace tenure {
namespace {

constexpr int64_t kStateVersion = 1;

at::Tensor tensor_of(std::string_view bytes) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(bytes.size())}, at::kByte);
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

std::shared_ptr<const LoadedEngine> load_state(const StandaloneEngine::State& state) {
  const auto& [version, engine, switches] = state;
  check(version == kStateVersion, ErrorCode::kUnsupported, "the engine was saved in format ", version,
        "; this version of Tenure reads ", kStateVersion, ": use the Tenure that saved it, or save it again with this one");
  return load_engine(std::get<0>(engine), std::get<1>(engine));
}

}  // namespace

StandaloneEngine::StandaloneEngine(std::shared_ptr<const LoadedEngine> loaded)
    : loaded_(std::move(loaded)),
      engine_(loaded_->spec, share_compiled(loaded_)),
      ledger_(std::make_shared<Ledger>()),
      frames_(engine_, loaded_->device, ledger_) {}

StandaloneEngine::StandaloneEngine(const std::string& spec_json, std::string_view blob)
    : StandaloneEngine(load_engine(spec_json, tensor_of(blob))) {}

StandaloneEngine::StandaloneEngine(const State& state) : StandaloneEngine(load_state(state)) {
  const auto& [unowned, reuse] = std::get<2>(state);
  check(unowned.size() == spec().outputs.size(), ErrorCode::kBadFile, "engine \"", spec().name, "\": it was saved with ",
        unowned.size(), " ownership flags for ", spec().outputs.size(), " outputs");
  for (size_t i = 0; i < unowned.size(); ++i) engine_.set_output_tensors_as_unowned(i, unowned.get(i));
  reuse_ = reuse;
}

StandaloneEngine::State StandaloneEngine::state() const {
  return {kStateVersion, {loaded_->spec_json, loaded_->blob}, {unowned_outputs(), reuse_}};
}

std::vector<at::Tensor> StandaloneEngine::run(const std::vector<at::Tensor>& inputs) {
  check(inputs.size() == spec().inputs.size(), ErrorCode::kInvalidArgument, "engine \"", spec().name, "\": expected ",
        spec().inputs.size(), " inputs, got ", inputs.size());
  // As in a program: an engine computes what its blob says, whatever autocast its caller is in.
  const at::AutoDispatchBelowADInplaceOrView below_autograd;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const EngineFrames::Lease frame(frames_);
  std::vector<at::Tensor> outputs = frame->run(inputs, reuse_);
  last_call_allocations_ = frame->last_allocations();
  ++calls_;
  return outputs;
}

c10::List<bool> StandaloneEngine::unowned_outputs() const {
  c10::List<bool> unowned;
  for (size_t i = 0; i < spec().outputs.size(); ++i) unowned.push_back(engine_.are_output_tensors_unowned(i));
  return unowned;
}

StandaloneStats StandaloneEngine::stats() const {
  return {.calls = calls_,
          .frames = frames_.count(),
          .standing_bytes = ledger_->own_bytes,
          .leased_bytes = ledger_->slot_bytes,
          .slots = ledger_->slots,
          .held_slots = ledger_->held_slots,
          .last_call_allocations = last_call_allocations_};
}

}  // namespace tenure
