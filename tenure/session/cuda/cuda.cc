#include "tenure/session/cuda/cuda.h"

#include <ATen/Context.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <nvtx3/nvToolsExt.h>

#include <mutex>

#include "tenure/base/error.h"
#include "tenure/session/allocator.h"
#include "tenure/session/cell.h"
#include "tenure/session/cuda/pass_through.h"

namespace tenure::cuda {
namespace {

caching::CUDAAllocator* ordinary = nullptr;  // the allocator that was there before ours

c10::Device current_device() { return {c10::DeviceType::CUDA, c10::cuda::current_device()}; }

// Calls ordinary->recordStream for memory that the ordinary allocator gave.
void record_stream(void* p, c10::Device device, c10::cuda::CUDAStream stream) {
  c10::DataPtr as_ordinary(p, p, ordinary->raw_deleter(), device);
  ordinary->recordStream(as_ordinary, stream);
  as_ordinary.release_context();
}

// Of memory that a run got from the ordinary allocator. Whoever lets go of it may have used it on the stream that is current then,
// as with a cell's; on the stream that it was allocated on this is nothing to the allocator.
void delete_in_order(void* p) {
  if (MemoryScope* scope = current_memory_scope(); scope != nullptr && scope->watches_frees()) scope->freed(p);
  record_stream(p, current_device(), c10::cuda::getCurrentCUDAStream());
  ordinary->raw_delete(p);
}

// PyTorch's CUDA operators are a library of their own, which a C++ program need not have linked. Nobody may have asked
// at::hasCUDA() before: PyTorch keeps the answer.
void load_operators() {
  void* const library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);  // never closed: the dispatcher keeps pointers into it
  check(library != nullptr, ErrorCode::kUnsupported,
        "the program runs on CUDA, and PyTorch's CUDA library cannot be loaded: ", library != nullptr ? "" : dlerror());
}

}  // namespace

c10::DataPtr PassThroughAllocator::allocate(size_t bytes) {
  MemoryScope* const scope = current_memory_scope();
  if (scope == nullptr || bytes == 0) return ordinary_->allocate(bytes);
  if (const Served served = scope->serve(Space::kDevice, bytes)) return as_device_pointer(served, current_device());
  c10::DataPtr memory = ordinary_->allocate(bytes);
  scope->allocated(Space::kDevice, memory.get(), bytes);
  if (memory.get_deleter() != ordinary_->raw_deleter()) return memory;
  const c10::Device device = memory.device();
  void* const p = memory.release_context();
  return {p, p, &delete_in_order, device};
}

void PassThroughAllocator::recordStream(const c10::DataPtr& memory, c10::cuda::CUDAStream stream) {
  void* const p = memory.get();
  if (Cell* cell = cell_of(memory)) {
    cell->add_stream(stream);
    return;
  }
  if (MemoryScope* scope = current_memory_scope()) scope->used_on_other_stream(p);
  if (memory.get_deleter() == &delete_in_order)
    record_stream(p, memory.device(), stream);
  else
    ordinary_->recordStream(memory, stream);  // which knows its own memory, and does nothing to other
}

void* PassThroughAllocator::raw_alloc(size_t bytes) {
  if (MemoryScope* scope = current_memory_scope()) scope->allocated_raw(bytes);
  return ordinary_->raw_alloc(bytes);
}

void* PassThroughAllocator::raw_alloc_with_stream(size_t bytes, cudaStream_t stream) {
  if (MemoryScope* scope = current_memory_scope()) scope->allocated_raw(bytes);
  return ordinary_->raw_alloc_with_stream(bytes, stream);
}

void install_allocator() {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (ordinary != nullptr) return;
  check(c10::cuda::device_count() > 0, ErrorCode::kUnsupported,
        "the program runs on CUDA, and PyTorch finds no CUDA device here; load it with device=\"cpu\" where it should run on the "
        "CPU");
  load_operators();
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  caching::CUDAAllocator* const before = caching::allocator.load();
  check(before != nullptr && before->raw_deleter() != nullptr, ErrorCode::kUnsupported,
        "PyTorch's CUDA allocator is one that has no raw deleter; Tenure needs PyTorch's own");
  ordinary = before;
  auto* const allocator = new PassThroughAllocator(before);  // outlives every tensor
  c10::SetAllocator(c10::DeviceType::CUDA, allocator, /*priority=*/100);
  caching::allocator.store(allocator);
}

bool is_capturing(c10::Stream stream) {
  if (stream.device_type() != c10::DeviceType::CUDA) return false;
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  return cudaStreamIsCapturing(c10::cuda::CUDAStream(stream).stream(), &status) == cudaSuccess &&
         status != cudaStreamCaptureStatusNone;
}

void push_range(const char* name) { nvtxRangePushA(name); }
void pop_range() { nvtxRangePop(); }

}  // namespace tenure::cuda
