#include "tenure/session/plan_cache.h"

#include <algorithm>
#include <utility>

namespace tenure {
namespace {

constexpr int kMaxDeviations = 3;
constexpr int kRunsThatForgive = 256;

int64_t bytes_of(const Signature& signature) { return static_cast<int64_t>(signature.words.size() * sizeof(int64_t)) + 256; }

}  // namespace

std::optional<PlanCache::Known> PlanCache::find(const Signature& signature) {
  std::lock_guard lock(mutex_);
  const auto found = by_signature_.find(signature);
  if (found == by_signature_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  Entry& entry = entries_.front();
  if (entry.deviations > 0 && !entry.kept && ++entry.quiet_runs > kRunsThatForgive) {
    --entry.deviations;
    entry.quiet_runs = 0;
  }
  return Known{entry.plan, entry.deviations >= kMaxDeviations};
}

PlanCache::Entry& PlanCache::touch(const Signature& signature) {
  const auto found = by_signature_.find(signature);
  if (found != by_signature_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front();
  }
  entries_.push_front({.signature = signature, .plan = nullptr, .bytes = bytes_of(signature)});
  bytes_ += entries_.front().bytes;
  by_signature_.emplace(signature, entries_.begin());
  return entries_.front();
}

void PlanCache::add(const Signature& signature) {
  std::lock_guard lock(mutex_);
  touch(signature);
  keep_to_budget();
}

void PlanCache::set_plan(const Signature& signature, std::shared_ptr<const Plan> plan) {
  std::lock_guard lock(mutex_);
  Entry& entry = touch(signature);
  drop_plan(entry);
  entry.plan = std::move(plan);
  const int64_t added = footprint(*entry.plan);
  entry.bytes += added;
  bytes_ += added;
  keep_to_budget();
}

void PlanCache::keep_to_budget() {
  while (bytes_ > max_bytes_ && entries_.size() > 1) {
    drop_plan(entries_.back());
    bytes_ -= entries_.back().bytes;
    by_signature_.erase(entries_.back().signature);
    entries_.pop_back();
  }
}

void PlanCache::drop_plan(Entry& entry) {
  if (entry.plan == nullptr) return;
  bytes_ -= std::exchange(entry.bytes, bytes_of(entry.signature)) - bytes_of(entry.signature);
  entry.plan = nullptr;
  ++version_;
}

void PlanCache::note_deviation(const Signature& signature, bool kept) {
  std::lock_guard lock(mutex_);
  const auto found = by_signature_.find(signature);
  if (found == by_signature_.end()) return;
  Entry& entry = *found->second;
  ++entry.deviations;
  entry.quiet_runs = 0;
  entry.kept |= kept;
  drop_plan(entry);
}

void PlanCache::drop_plans() {
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) drop_plan(entry);
}

uint64_t PlanCache::version() const {
  std::lock_guard lock(mutex_);
  return version_;
}

bool PlanCache::contains(const Plan* plan) const {
  std::lock_guard lock(mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.plan.get() == plan; });
}

int64_t PlanCache::count() const {
  std::lock_guard lock(mutex_);
  return std::count_if(entries_.begin(), entries_.end(), [](const Entry& entry) { return entry.plan != nullptr; });
}

int64_t PlanCache::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace tenure
