// tenure/plan/validate.cc: checks a layout from the definition alone; shares no code with the planners.
#include "tenure/base/error.h"
#include "tenure/plan/plan.h"

namespace tenure::plan {
namespace {

std::string describe(size_t index, const Buffer& buffer, Bytes offset) {
  return concat("buffer ", index, " (", buffer.size, " bytes at ", offset, ", life [", buffer.begin, ", ", buffer.end, "))");
}

std::optional<std::string> find_bad_place(const std::vector<Buffer>& buffers, const Layout& layout) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer& buffer = buffers[i];
    const Bytes offset = layout.offsets[i];
    const std::string_view problem = buffer.size < 0                            ? " has a negative size"
                                     : buffer.begin >= buffer.end               ? " has an empty life"
                                     : buffer.alignment <= 0                    ? " has no positive alignment"
                                     : offset < 0                               ? " lies before the arena"
                                     : offset % buffer.alignment != 0           ? " is misaligned"
                                     : buffer.size > layout.arena_size          ? " is larger than the arena"
                                     : offset > layout.arena_size - buffer.size ? " ends beyond the arena"
                                                                                : "";
    if (!problem.empty())
      return concat(describe(i, buffer, offset), problem, "; alignment ", buffer.alignment, ", arena ", layout.arena_size,
                    " bytes");
  }
  return std::nullopt;
}

bool share_a_byte(Bytes a, Bytes a_size, Bytes b, Bytes b_size) {
  if (a_size == 0 || b_size == 0) return false;
  return a <= b ? b - a < a_size : a - b < b_size;
}

}  // namespace

std::optional<std::string> find_violation(const std::vector<Buffer>& buffers, const Layout& layout) {
  if (layout.offsets.size() != buffers.size())
    return concat("the layout has ", layout.offsets.size(), " offsets for ", buffers.size(), " buffers");
  if (std::optional<std::string> bad_place = find_bad_place(buffers, layout)) return bad_place;
  for (size_t i = 0; i < buffers.size(); ++i) {
    for (size_t j = i + 1; j < buffers.size(); ++j) {
      const bool alive_together = buffers[i].begin < buffers[j].end && buffers[j].begin < buffers[i].end;
      if (alive_together && share_a_byte(layout.offsets[i], buffers[i].size, layout.offsets[j], buffers[j].size))
        return concat(describe(i, buffers[i], layout.offsets[i]), " overlaps ", describe(j, buffers[j], layout.offsets[j]));
    }
  }
  return std::nullopt;
}

}  // namespace tenure::plan
