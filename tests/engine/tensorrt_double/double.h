// tests/engine/tensorrt_double/double.h: a test double of the runtime of TensorRT and TensorRT-RTX. It computes on the CPU with the
// null engine's interpreter, keeps to what NvInferRuntime.h says of shapes, addresses and memory, and remembers what it was asked.
//
// It takes the place of TensorRT's library: link it, and nvinfer1::createInferRuntime makes one. All of this is thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tenure::testing::trt {

/// A call that changes something or takes long; getters are not noted. A method that the double lacks is noted as
/// "unexpected:<method>" and fails; so is "unexpected:~ICudaEngine", when contexts outlive their engine, and
/// "unexpected:~IRuntime".
struct Call {
  std::string name;                // the method's
  std::string tensor = {};         // of methods that name one
  std::vector<int64_t> dims = {};  // setInputShape
  const void* address = nullptr;   // a tensor's, of memory, of an allocator; enqueueV3 and setOptimizationProfileAsync: the stream
  int64_t number = 0;              // bytes, the profile, the strategy of allocation
  const void* object = nullptr;    // the IRuntime, ICudaEngine, IExecutionContext, IRuntimeConfig or IRuntimeCache
};

/// All calls since the process began, or forget_calls.
std::vector<Call> calls();
/// Those of one name.
std::vector<Call> calls(const std::string& name);
std::vector<Call> unexpected_calls();

/// Also drops the failures that fail_next announced and that have not come to pass.
void forget_calls();

/// The next call of the method does nothing, logs an error and returns what its kind returns then: false, nullptr, 0, -1.
void fail_next(const std::string& method);

/// The layers of every engine, with the milliseconds that a context tells its IProfiler of each in every run.
inline constexpr std::array<std::pair<const char*, float>, 2> kLayers{{{"first layer", 0.25f}, {"second layer", 0.5f}}};

/// Objects that were made and not deleted.
struct LiveObjects {
  int runtimes = 0, engines = 0, contexts = 0, configs = 0, caches = 0, memories = 0;
  bool operator==(const LiveObjects&) const = default;
};
LiveObjects live_objects();

/// Sizes that an optimisation profile takes of an input.
struct Bounds {
  std::vector<int64_t> min, opt, max;
};
/// By input; of one that is not named, what is dynamic goes from 0 by 1 to 1 << 20.
using Profile = std::map<std::string, Bounds>;

struct BlobOptions {
  std::vector<Profile> profiles = {{}};
  std::vector<int64_t> scratch_bytes = {};          // by profile; 0 for those that are missing
  int64_t streamable_weights = 0;                   // bytes
  std::map<std::string, std::string> aliases = {};  // output -> input whose memory it must be bound to
  std::set<std::string> host_inputs = {};           // shape tensors: read on the CPU, output sizes may follow from their values
  std::string other_compute_capability = {};        // "8.6": as if it had been built for that one, it is refused
};

/// What the double's deserializeCudaEngine takes. `archive` is a part as torch.export.save writes it, a blob of the null engine.
std::vector<char> make_blob(std::span<const char> archive, const BlobOptions& options = {});

}  // namespace tenure::testing::trt
