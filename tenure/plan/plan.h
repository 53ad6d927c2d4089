// tenure/plan/plan.h: which bytes of an arena each buffer gets. Plain structs in, plain structs out: no torch, no clock, no state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tenure::plan {

using Bytes = int64_t;  // a size in bytes
using Time = int64_t;   // a position in the order of allocations and frees of one run; has no unit

/// A buffer that must lie somewhere in the arena while it lives.
struct Buffer {
  Time begin = 0;        // first instant of its life
  Time end = 0;          // one past the last instant: the life is half-open, [begin, end), and begin < end
  Bytes size = 0;        // at least 0; a buffer of size 0 gets an offset and occupies nothing
  Bytes alignment = 64;  // a power of two
};

/// Where each buffer lies: offsets[i] belongs to buffers[i].
struct Layout {
  std::vector<Bytes> offsets;
  Bytes arena_size = 0;  // the arena must have at least this many bytes
};

/// A planner: pure, deterministic, total for valid buffers.
using Planner = Layout (*)(const std::vector<Buffer>& buffers);

/// Greedy by size (Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", arXiv 2001.03288, algorithm 3):
/// buffers from the largest to the smallest, each into the smallest gap between already placed buffers of overlapping life that
/// holds it (best fit), else after them. Done once more with the lowest such gap (first fit); the smaller arena wins. O(n^2) worst
/// case. Throws Error(kInvalidArgument) naming the buffer if one is not valid, or if the arena would exceed int64.
Layout greedy_by_size(const std::vector<Buffer>& buffers);

/// The largest sum of sizes alive at one instant: no layout can be smaller. Throws as greedy_by_size does.
Bytes peak_live(const std::vector<Buffer>& buffers);

/// Why `layout` is not a valid answer for `buffers`, or nullopt if it is. Independent of every planner: compares all pairs.
std::optional<std::string> find_violation(const std::vector<Buffer>& buffers, const Layout& layout);

}  // namespace tenure::plan
