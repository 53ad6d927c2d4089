#include "tenure/engine/tensorrt/log.h"

#include <algorithm>

namespace tenure::tensorrt {
namespace {

constexpr size_t kLines = 32;

}  // namespace

void Log::log(Severity severity, const char* text) noexcept {
  if (severity > Severity::kWARNING) return;
  try {
    const std::lock_guard lock(mutex_);
    if (lines_.size() == kLines) lines_.pop_front();
    lines_.push_back({severity, text});
  } catch (...) {  // no memory for a line of text: the call that failed will say so itself
  }
}

std::string Log::take() {
  const std::lock_guard lock(mutex_);
  const bool has_errors =
      std::any_of(lines_.begin(), lines_.end(), [](const Line& line) { return line.severity <= Severity::kERROR; });
  std::string text;
  for (const Line& line : lines_)
    if (!has_errors || line.severity <= Severity::kERROR) text += (text.empty() ? "" : "; ") + line.text;
  lines_.clear();
  return text.empty() ? "it gives no reason" : text;
}

Log& the_log() {
  static Log& log = *new Log;
  return log;
}

}  // namespace tenure::tensorrt
