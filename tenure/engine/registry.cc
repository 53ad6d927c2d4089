#include "tenure/engine/registry.h"

#include <algorithm>
#include <memory>

#include "tenure/base/error.h"
#include "tenure/engine/null/null_backend.h"
#include "tenure/engine/openvino/openvino_backend.h"
#include "tenure/engine/tensorrt/tensorrt_backend.h"

namespace tenure {
namespace {

using Backends = std::vector<std::unique_ptr<Backend>>;

/// Every backend that Tenure knows. One that is not in this build is null: CMake chose its absent.cc.
Backends all_backends() {
  Backends backends;
  backends.push_back(make_null_backend());
  backends.push_back(make_openvino_backend());
  backends.push_back(make_tensorrt_backend());
  return backends;
}

/// Made once; never destroyed, since engines of programs in static storage may outlive this file's statics.
const Backends& backends_of_this_build() {
  static const Backends& backends = *[] {
    auto built = std::make_unique<Backends>(all_backends());
    std::erase(*built, nullptr);
    std::sort(built->begin(), built->end(), [](const auto& a, const auto& b) { return a->name() < b->name(); });
    return built.release();
  }();
  return backends;
}

}  // namespace

Backend& find_backend(std::string_view name) {
  for (const auto& backend : backends_of_this_build()) {
    if (backend->name() == name) return *backend;
  }
  std::string names;
  for (const std::string& known : backend_names()) names += (names.empty() ? "" : ", ") + known;
  throw Error(ErrorCode::kUnsupported, concat("the backend \"", name, "\" is not in this build of Tenure, which has: ", names,
                                              "; build Tenure with it, or compile the program for one of these"));
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const auto& backend : backends_of_this_build()) names.emplace_back(backend->name());
  return names;
}

}  // namespace tenure
