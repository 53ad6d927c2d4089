// tenure/plan/greedy.cc: greedy by size, and the lower bound.
#include <algorithm>
#include <bit>
#include <numeric>

#include "tenure/base/error.h"
#include "tenure/plan/plan.h"

namespace tenure::plan {
namespace {

constexpr Bytes kMaxBytes = INT64_MAX;

void check_buffer(const Buffer& buffer, size_t index) {
  check(buffer.begin < buffer.end, ErrorCode::kInvalidArgument, "buffer ", index, " lives in [", buffer.begin, ", ", buffer.end,
        "), which is empty");
  check(buffer.size >= 0, ErrorCode::kInvalidArgument, "buffer ", index, " has the negative size ", buffer.size);
  check(buffer.alignment > 0 && std::has_single_bit(static_cast<uint64_t>(buffer.alignment)), ErrorCode::kInvalidArgument,
        "buffer ", index, " has the alignment ", buffer.alignment, ", which is no power of two");
}

bool lives_overlap(const Buffer& a, const Buffer& b) { return a.begin < b.end && b.begin < a.end; }

/// The first aligned offset at or after `offset`.
Bytes align(Bytes offset, Bytes alignment) {
  const Bytes rest = offset & (alignment - 1);
  if (rest == 0) return offset;
  check(offset <= kMaxBytes - (alignment - rest), ErrorCode::kInvalidArgument, "the buffers need more than 2^63 bytes");
  return offset + (alignment - rest);
}

enum class Fit { kBest, kFirst };  // of the gaps that hold a buffer: the smallest, or the lowest

/// Where `buffer` fits among `placed`, indices in the order of their offsets: a gap that holds it, else the end.
Bytes find_offset(Fit fit, const Buffer& buffer, const std::vector<Buffer>& buffers, const std::vector<size_t>& placed,
                  const std::vector<Bytes>& offsets) {
  Bytes best = -1, best_gap = kMaxBytes;
  Bytes free_from = 0;  // everything below is taken by overlapping lives, or was a gap already looked at
  for (const size_t other : placed) {
    if (!lives_overlap(buffer, buffers[other])) continue;
    const Bytes start = align(free_from, buffer.alignment);
    const Bytes gap = offsets[other] - free_from;
    if (start <= offsets[other] && offsets[other] - start >= buffer.size && gap < best_gap) {
      if (fit == Fit::kFirst) return start;
      best = start;
      best_gap = gap;
    }
    free_from = std::max(free_from, offsets[other] + buffers[other].size);
  }
  return best >= 0 ? best : align(free_from, buffer.alignment);
}

/// Places the buffers in the given order, those of size 0 at offset 0.
Layout place(Fit fit, const std::vector<Buffer>& buffers, const std::vector<size_t>& order) {
  Layout layout{.offsets = std::vector<Bytes>(buffers.size(), 0)};
  std::vector<size_t> placed;
  placed.reserve(buffers.size());
  for (const size_t index : order) {
    const Buffer& buffer = buffers[index];
    if (buffer.size == 0) continue;
    const Bytes offset = find_offset(fit, buffer, buffers, placed, layout.offsets);
    check(offset <= kMaxBytes - buffer.size, ErrorCode::kInvalidArgument, "the buffers need more than 2^63 bytes");
    layout.offsets[index] = offset;
    layout.arena_size = std::max(layout.arena_size, offset + buffer.size);
    const auto after = std::upper_bound(placed.begin(), placed.end(), offset,
                                        [&](Bytes value, size_t other) { return value < layout.offsets[other]; });
    placed.insert(after, index);
  }
  return layout;
}

}  // namespace

Layout greedy_by_size(const std::vector<Buffer>& buffers) {
  for (size_t i = 0; i < buffers.size(); ++i) check_buffer(buffers[i], i);
  std::vector<size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return buffers[a].size > buffers[b].size; });
  Layout best = place(Fit::kBest, buffers, order);
  // Neither rule is better on all programs, and both are cheap.
  Layout first = place(Fit::kFirst, buffers, order);
  return first.arena_size < best.arena_size ? first : best;
}

Bytes peak_live(const std::vector<Buffer>& buffers) {
  struct Change {
    Time time;
    Bytes size;  // negative: a buffer that dies; these come first at one instant, lives being half-open
  };
  std::vector<Change> changes;
  changes.reserve(2 * buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    check_buffer(buffers[i], i);
    changes.push_back({buffers[i].begin, buffers[i].size});
    changes.push_back({buffers[i].end, -buffers[i].size});
  }
  std::sort(changes.begin(), changes.end(),
            [](const Change& a, const Change& b) { return a.time != b.time ? a.time < b.time : a.size < b.size; });
  Bytes live = 0, peak = 0;
  for (const Change& change : changes) {
    check(change.size <= 0 || live <= kMaxBytes - change.size, ErrorCode::kInvalidArgument,
          "the buffers need more than 2^63 bytes");
    live += change.size;
    peak = std::max(peak, live);
  }
  return peak;
}

}  // namespace tenure::plan
