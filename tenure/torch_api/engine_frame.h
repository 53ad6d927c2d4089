// tenure/torch_api/engine_frame.h: all that one call of a standalone engine writes: a context, and memory for outputs and for
// inputs that are not dense.
#pragma once

#include <ATen/core/Tensor.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "tenure/engine/engine.h"
#include "tenure/session/cell.h"

namespace tenure {

/// Used by one call at a time.
class EngineFrame {
 public:
  EngineFrame(const Engine& engine, c10::Device device, SharedLedger ledger);

  /// Runs the engine, on an accelerator on the thread's current stream, after this frame's run before. `reuse`: serve tensors from
  /// cells that nobody holds; else all are allocated. Throws Error.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs, bool reuse);

  /// Buffers that the last run had to allocate before it could go on.
  int64_t last_allocations() const { return allocations_; }
  /// Gives back the memory that nobody holds; returns the bytes.
  size_t trim();

 private:
  struct Output {
    bool unowned;
    std::unique_ptr<CellPool> pool;
  };

  std::vector<at::Tensor> run_in_order(const std::vector<at::Tensor>& inputs, bool reuse);
  void follow_ownership();
  at::Tensor in_cell(Cell& cell, size_t bytes, at::IntArrayRef sizes, at::ScalarType dtype) const;
  at::Tensor make_tensor(CellPool& pool, at::IntArrayRef sizes, at::ScalarType dtype, bool reuse);
  at::Tensor dense(size_t index, const at::Tensor& input, bool reuse);
  void allocate_ahead();

  const Engine& engine_;
  const c10::Device device_;
  SharedLedger ledger_;
  StreamOrder order_;  // of the frame's runs, on an accelerator
  std::unique_ptr<EngineContext> context_;
  std::vector<Output> outputs_;
  std::vector<std::unique_ptr<CellPool>> dense_inputs_;
  std::unique_ptr<CellPool> made_;  // on a device: what the engine asks for while it runs (scratch, data-dependent outputs)
  uint64_t ownership_version_ = 0;
  int64_t allocations_ = 0;
};

/// Lends frames to concurrent calls. Thread-safe.
class EngineFrames {
 public:
  EngineFrames(const Engine& engine, c10::Device device, SharedLedger ledger);

  /// A frame for the lease's life.
  class Lease {
   public:
    /// Takes the frame that was used last, makes one, or waits if there are as many as there may be.
    explicit Lease(EngineFrames& frames) : frames_(frames), frame_(frames.take()) {}
    ~Lease() { frames_.give_back(std::move(frame_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    EngineFrame* operator->() const { return frame_.get(); }

   private:
    EngineFrames& frames_;
    std::unique_ptr<EngineFrame> frame_;
  };

  int64_t count() const;
  /// EngineFrame::trim of the frames that no call uses now.
  size_t trim();

 private:
  std::unique_ptr<EngineFrame> take();
  void give_back(std::unique_ptr<EngineFrame> frame);

  const Engine& engine_;
  const c10::Device device_;
  SharedLedger ledger_;
  mutable std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<EngineFrame>> free_;
  int64_t made_ = 0;
};

}  // namespace tenure
