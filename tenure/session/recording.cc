#include "tenure/session/recording.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>

#include "tenure/base/error.h"

namespace tenure {
namespace {

using c10::DispatchKey;
using c10::impl::TorchDispatchModeKey;
using c10::impl::TorchDispatchModeTLS;

constexpr c10::DispatchKeySet kTransforms{DispatchKey::FuncTorchDynamicLayerFrontMode, DispatchKey::FuncTorchVmapMode,
                                          DispatchKey::Functionalize};
constexpr c10::DispatchKeySet kRecorders = kTransforms | c10::DispatchKeySet{DispatchKey::Tracer, DispatchKey::Python};
constexpr c10::DispatchKeySet kWrappers{DispatchKey::Python, DispatchKey::FuncTorchBatched, DispatchKey::FuncTorchGradWrapper,
                                        DispatchKey::Functionalize, DispatchKey::ZeroTensor};

const char* recorder(c10::DispatchKeySet active) {
  if (active.has(DispatchKey::Tracer)) return "torch.jit.trace";
  if (active.has_any(kTransforms)) return "torch.func (vmap, grad)";
  if (TorchDispatchModeTLS::get_mode(TorchDispatchModeKey::PROXY)) return "make_fx or torch.export";
  if (TorchDispatchModeTLS::get_mode(TorchDispatchModeKey::FAKE)) return "FakeTensorMode (torch.export, torch.compile)";
  if (TorchDispatchModeTLS::get_mode(TorchDispatchModeKey::FUNCTIONAL)) return "functionalization";
  return nullptr;
}

}  // namespace

void refuse_recording() {
  const c10::DispatchKeySet active = c10::impl::tls_local_dispatch_key_set().included_ & kRecorders;
  if (active.empty()) return;
  const char* const by = recorder(active);
  if (by == nullptr) return;
  throw Error(ErrorCode::kUnsupported, concat("a program cannot run under ", by,
                                              ", which would see the memory of this one run: trace the model itself, or call "
                                              "engines by tenure::execute_engine, which can be traced"));
}

bool is_watched() { return c10::impl::tls_local_dispatch_key_set().included_.has(DispatchKey::Python); }

bool is_wrapper(const at::Tensor& tensor) { return tensor.key_set().has_any(kWrappers); }

}  // namespace tenure
