// tests/session/operators.h: custom operators (namespace tenure_test) that behave as no schema says, and their switches.
#pragma once

#include <atomic>
#include <functional>

namespace tenure::testing {

/// What the operators do; every test begins with the defaults (make an OperatorSwitches object first).
struct OperatorSwitches {
  OperatorSwitches();
  ~OperatorSwitches();
  OperatorSwitches(const OperatorSwitches&) = delete;
  OperatorSwitches& operator=(const OperatorSwitches&) = delete;
};

/// tenure_test::keep keeps its output alive in a global until its next call, tenure_test::hold its argument; only while this is
/// set.
extern std::atomic<bool> keep_output;
/// tenure_test::erratic, lie, two, scratch, pair, overrun, underrun, scribble: take the other one of their two ways.
extern std::atomic<bool> other_way;
/// tenure_test::fail throws.
extern std::atomic<bool> fail_now;
/// What tenure_test::call_back calls.
extern std::function<void()> on_call_back;
/// How often tenure_test::note was called.
extern std::atomic<int> notes;
/// The largest number of tenure_test::slow under way at once.
extern std::atomic<int> most_at_once;

}  // namespace tenure::testing
