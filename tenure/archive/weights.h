// tenure/archive/weights.h: the parameters, buffers and constants of a model in an archive.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "tenure/archive/records.h"

namespace tenure {

/// All of the model's weights and constants by fully qualified name, on the CPU whatever device they were saved from. Names that
/// the archive keeps in one record share one storage. Throws Error: kBadFile (a size beyond the record, a missing record, bad
/// JSON), kUnsupported (pickled tensors, script objects, layouts that are not strided).
std::map<std::string, at::Tensor> read_weights(const Records& records, const std::string& model_name);

}  // namespace tenure
