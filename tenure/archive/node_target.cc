#include "tenure/archive/node_target.h"

#include "tenure/base/error.h"
#include "tenure/graph/scalar.h"

namespace tenure {
namespace {

constexpr std::string_view kOps = "torch.ops.";
constexpr std::string_view kHigherOrder = "torch.ops.higher_order.";
constexpr std::string_view kCallEngine = "torch.ops.tenure.call_engine.default";

// "aten.add.Tensor" -> "aten::add.Tensor"
std::string dispatcher_name(std::string_view path) {
  const size_t first = path.find('.');
  const size_t last = path.rfind('.');
  check(first != std::string_view::npos && first > 0 && last > first + 1 && last + 1 < path.size() &&
            path.find('.', first + 1) == last,
        ErrorCode::kBadFile, "\"", kOps, path, "\" is not namespace, operator and overload");
  const std::string_view overload = path.substr(last + 1);
  std::string name = concat(path.substr(0, first), "::", path.substr(first + 1, last - first - 1));
  return overload == "default" ? name : concat(name, ".", overload);
}

}  // namespace

NodeTarget parse_node_target(std::string_view target) {
  if (target == kCallEngine) return {NodeKind::kEngine, ""};
  if (target.starts_with(kHigherOrder)) {
    const std::string_view name = target.substr(kHigherOrder.size());
    const bool is_block = name.starts_with("wrap_with_");  // under torch.no_grad() or torch.autocast()
    throw Error(ErrorCode::kUnsupported,
                concat("the higher-order operator ", name, " holds graphs of its own and cannot run; ",
                       is_block ? "save what exported.run_decompositions({}) gives, which puts the block in line, or use "
                                  "tenure.compile"
                                : "rewrite that part of the model (torch.where, unrolled loops) and export it again"));
  }
  if (target.starts_with(kOps)) return {NodeKind::kOperator, dispatcher_name(target.substr(kOps.size()))};
  check(target != "_operator.getitem", ErrorCode::kUnsupported, "an indexing of a list outside its operator (_operator.getitem)");
  find_scalar_function(target);  // throws if there is none of that name
  return {NodeKind::kScalar, std::string(target)};
}

}  // namespace tenure
