// tenure/archive/devices.h: on which devices a file's values lie.
#pragma once

#include <c10/core/Device.h>

#include <optional>

#include "tenure/archive/archive.h"

namespace tenure {

/// The one device besides the CPU that the graph names; nothing if it names none. A CUDA device without a number becomes the first.
/// Throws Error(kUnsupported) if there are several, or one that is no CUDA device.
std::optional<c10::Device> find_accelerator(Graph& graph);

/// What the graph says of its accelerator, or of the CPU if it has none, it then says of `device`: of values, and in the arguments
/// of nodes. As torch.export.passes.move_to_device_pass does. Throws as find_accelerator does.
void move_to_device(Graph& graph, c10::Device device);

/// Moves the weights to where the graph's inputs lie; those that share memory go on sharing it. Those that no input names stay.
void place_weights(ProgramFile& file);

}  // namespace tenure
