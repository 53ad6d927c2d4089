// tenure/session/plan_cache.h: the signatures that a session has met, with their plans, in an LRU under a byte budget.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "tenure/session/plan.h"
#include "tenure/session/signature.h"

namespace tenure {

/// Thread-safe. The least recently used plan goes when the budget is exceeded; the one used last always stays.
///
/// A signature whose replays deviated three times runs without a plan. Every 256 runs forgive one deviation, so that it is tried
/// again; but not if an operator kept memory of the arena, which each trial could cost once more.
class PlanCache {
 public:
  /// What is known of a signature whose inputs were found valid.
  struct Known {
    std::shared_ptr<const Plan> plan;  // null until observed
    bool runs_plain = false;
  };

  explicit PlanCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  /// For a run. Nothing if the signature was never met, or went.
  std::optional<Known> find(const Signature& signature);
  /// `signature`'s inputs are valid.
  void add(const Signature& signature);
  /// A signature that went meanwhile is added again.
  void set_plan(const Signature& signature, std::shared_ptr<const Plan> plan);
  /// A replay deviated: the plan is dropped, so that the next run observes again. `kept`: an operator kept memory of the arena.
  void note_deviation(const Signature& signature, bool kept);
  /// The plans go; that the signatures are valid is remembered.
  void drop_plans();

  /// Grows whenever a plan is dropped.
  uint64_t version() const;
  bool contains(const Plan* plan) const;
  int64_t count() const;
  int64_t bytes() const;

 private:
  struct Entry {
    Signature signature;
    std::shared_ptr<const Plan> plan;
    int64_t bytes = 0;
    int deviations = 0;  // not forgiven
    int quiet_runs = 0;  // since the last one, or since one was forgiven
    bool kept = false;
  };
  using Entries = std::list<Entry>;  // most recently used first

  Entry& touch(const Signature& signature);
  void drop_plan(Entry& entry);
  void keep_to_budget();

  const int64_t max_bytes_;
  mutable std::mutex mutex_;  // guards what follows
  Entries entries_;
  std::unordered_map<Signature, Entries::iterator, SignatureHash> by_signature_;
  int64_t bytes_ = 0;
  uint64_t version_ = 0;
};

}  // namespace tenure
