// tenure/session/space.h: the two kinds of memory that a run touches.
#pragma once

#include <c10/core/Device.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace tenure {

enum class Space : uint8_t {
  kHost,    // the CPU's
  kDevice,  // of the program's accelerator; it has one at most
};

inline Space space_of(c10::Device device) { return device.is_cpu() ? Space::kHost : Space::kDevice; }

/// One T for each space.
template <typename T>
class BySpace {
 public:
  constexpr BySpace() = default;
  constexpr BySpace(T host, T device) : of_space_{std::move(host), std::move(device)} {}

  T& operator[](Space space) { return of_space_[static_cast<size_t>(space)]; }
  const T& operator[](Space space) const { return of_space_[static_cast<size_t>(space)]; }
  auto begin() { return of_space_.begin(); }
  auto end() { return of_space_.end(); }
  auto begin() const { return of_space_.begin(); }
  auto end() const { return of_space_.end(); }

  static constexpr std::array<Space, 2> kSpaces = {Space::kHost, Space::kDevice};

 private:
  std::array<T, 2> of_space_{};
};

}  // namespace tenure
