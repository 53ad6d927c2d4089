// tenure/session/cuda/pass_through.h: the allocator that lets a run see and serve what operators allocate on CUDA devices.
//
// PyTorch 2.11's interface, whole: what is not about a run goes to the allocator that was there before, also where the interface
// has a default.
#pragma once

#include <c10/cuda/CUDACachingAllocator.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

namespace tenure::cuda {

namespace caching = c10::cuda::CUDACachingAllocator;

class PassThroughAllocator final : public caching::CUDAAllocator {
 public:
  /// `ordinary` lives as long as the process.
  explicit PassThroughAllocator(caching::CUDAAllocator* ordinary) : ordinary_(ordinary) {}

  c10::DataPtr allocate(size_t bytes) override;
  void recordStream(const c10::DataPtr& memory, c10::cuda::CUDAStream stream) override;

  // Scratch that knows no deleter but raw_delete: never planned, only counted.
  void* raw_alloc(size_t bytes) override;
  void* raw_alloc_with_stream(size_t bytes, cudaStream_t stream) override;
  void raw_delete(void* p) override { ordinary_->raw_delete(p); }
  c10::DeleterFnPtr raw_deleter() const override { return ordinary_->raw_deleter(); }

  void copy_data(void* to, const void* from, size_t bytes) const override { ordinary_->copy_data(to, from, bytes); }
  bool is_simple_data_ptr(const c10::DataPtr& memory) const override { return ordinary_->is_simple_data_ptr(memory); }
  bool initialized() override { return ordinary_->initialized(); }
  void emptyCache(c10::MempoolId_t pool) override { ordinary_->emptyCache(pool); }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override {
    return ordinary_->getDeviceStats(device);
  }
  void resetAccumulatedStats(c10::DeviceIndex device) override { ordinary_->resetAccumulatedStats(device); }
  void resetPeakStats(c10::DeviceIndex device) override { ordinary_->resetPeakStats(device); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override { return ordinary_->getMemoryInfo(device); }
  void init(int device_count) override { ordinary_->init(device_count); }
  double getMemoryFraction(c10::DeviceIndex device) override { return ordinary_->getMemoryFraction(device); }
  void setMemoryFraction(double fraction, c10::DeviceIndex device) override { ordinary_->setMemoryFraction(fraction, device); }
  std::vector<caching::StreamSegmentSize> getExpandableSegmentSizes(c10::DeviceIndex device) override {
    return ordinary_->getExpandableSegmentSizes(device);
  }
  void enable(bool value) override { ordinary_->enable(value); }
  bool isEnabled() const override { return ordinary_->isEnabled(); }
  void cacheInfo(c10::DeviceIndex device, size_t* largest) override { ordinary_->cacheInfo(device, largest); }
  void* getBaseAllocation(void* p, size_t* size) override { return ordinary_->getBaseAllocation(p, size); }
  caching::SnapshotInfo snapshot(c10::MempoolId_t pool, bool traces) override { return ordinary_->snapshot(pool, traces); }
  void beginAllocateToPool(c10::DeviceIndex device, c10::MempoolId_t pool, std::function<bool(cudaStream_t)> filter) override {
    ordinary_->beginAllocateToPool(device, pool, std::move(filter));
  }
  void endAllocateToPool(c10::DeviceIndex device, c10::MempoolId_t pool) override { ordinary_->endAllocateToPool(device, pool); }
  void releasePool(c10::DeviceIndex device, c10::MempoolId_t pool) override { ordinary_->releasePool(device, pool); }
  int getPoolUseCount(c10::DeviceIndex device, c10::MempoolId_t pool) override { return ordinary_->getPoolUseCount(device, pool); }
  void createOrIncrefPool(c10::DeviceIndex device, c10::MempoolId_t pool, std::shared_ptr<CUDAAllocator> allocator) override {
    ordinary_->createOrIncrefPool(device, pool, std::move(allocator));
  }
  void setUseOnOOM(c10::DeviceIndex device, c10::MempoolId_t pool, bool use) override { ordinary_->setUseOnOOM(device, pool, use); }
  void setNoSplit(c10::DeviceIndex device, c10::MempoolId_t pool) override { ordinary_->setNoSplit(device, pool); }
  bool checkPoolLiveAllocations(c10::DeviceIndex device, c10::MempoolId_t pool, const std::unordered_set<void*>& live) override {
    return ordinary_->checkPoolLiveAllocations(device, pool, live);
  }
  caching::ShareableHandle shareIpcHandle(void* p) override { return ordinary_->shareIpcHandle(p); }
  std::shared_ptr<void> getIpcDevPtr(std::string handle) override { return ordinary_->getIpcDevPtr(std::move(handle)); }
  bool isHistoryEnabled() override { return ordinary_->isHistoryEnabled(); }
  void recordHistory(bool enabled, caching::CreateContextFn recorder, size_t max_entries, caching::RecordContext when, bool clear,
                     const std::vector<std::string>& skip) override {
    ordinary_->recordHistory(enabled, recorder, max_entries, when, clear, skip);
  }
  void recordAnnotation(const std::vector<std::pair<std::string, std::string>>& annotation) override {
    ordinary_->recordAnnotation(annotation);
  }
  void pushCompileContext(std::string& context) override { ordinary_->pushCompileContext(context); }
  void popCompileContext() override { ordinary_->popCompileContext(); }
  void setUserMetadata(const std::string& metadata) override { ordinary_->setUserMetadata(metadata); }
  std::string getUserMetadata() override { return ordinary_->getUserMetadata(); }
  void attachOutOfMemoryObserver(caching::OutOfMemoryObserver observer) override {
    ordinary_->attachOutOfMemoryObserver(std::move(observer));
  }
  void attachAllocatorTraceTracker(caching::AllocatorTraceTracker tracker) override {
    ordinary_->attachAllocatorTraceTracker(std::move(tracker));
  }
  void enablePeerAccess(c10::DeviceIndex device, c10::DeviceIndex peer) override { ordinary_->enablePeerAccess(device, peer); }
  cudaError_t memcpyAsync(void* to, int to_device, const void* from, int from_device, size_t bytes, cudaStream_t stream,
                          bool peer) override {
    return ordinary_->memcpyAsync(to, to_device, from, from_device, bytes, stream, peer);
  }
  std::shared_ptr<caching::AllocatorState> getCheckpointState(c10::DeviceIndex device, c10::MempoolId_t pool) override {
    return ordinary_->getCheckpointState(device, pool);
  }
  caching::CheckpointDelta setCheckpointPoolState(c10::DeviceIndex device,
                                                  std::shared_ptr<caching::AllocatorState> state) override {
    return ordinary_->setCheckpointPoolState(device, std::move(state));
  }
  // How memory_stats() and snapshots tell which allocator is at work: the one that was there.
  std::string name() override { return ordinary_->name(); }

 private:
  caching::CUDAAllocator* const ordinary_;
};

}  // namespace tenure::cuda
