// tenure/session/poison.h: the pattern that SessionOptions::check_ownership leaves in memory whose value is dead.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace tenure {

/// As float32 or float64 a NaN, as int32 or int64 an index far out of range: whoever reads a dead value gets a wrong answer, not a
/// nearly right one.
constexpr uint64_t kPoison = 0xFFF7DEADFFF7DEADull;

inline void fill_poison(void* p, size_t bytes) {
  if (bytes == 0) return;
  char* to = static_cast<char*>(p);
  for (; bytes >= sizeof(kPoison); bytes -= sizeof(kPoison), to += sizeof(kPoison)) std::memcpy(to, &kPoison, sizeof(kPoison));
  std::memcpy(to, &kPoison, bytes);
}

/// Offset of the first word that is not poison; `bytes` if there is none.
inline size_t find_unpoisoned(const void* p, size_t bytes) {
  if (bytes == 0) return 0;
  const char* from = static_cast<const char*>(p);
  size_t at = 0;
  for (; at + sizeof(kPoison) <= bytes; at += sizeof(kPoison))
    if (std::memcmp(from + at, &kPoison, sizeof(kPoison)) != 0) return at;
  return std::memcmp(from + at, &kPoison, bytes - at) == 0 ? bytes : at;
}

}  // namespace tenure
