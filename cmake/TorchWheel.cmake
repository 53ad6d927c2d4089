# Imported targets for the libtorch inside an installed torch wheel.
#
# find_package(Torch) on a CUDA wheel demands a CUDA toolkit, which most machines that run CPU programs lack. Tenure needs three
# libraries and the headers, so it names them itself:
#   tenure::torch         libtorch_cpu, libc10 and the headers
#   tenure::torch_python  libtorch_python, for the Python bindings
#   tenure::torch_cuda    libc10_cuda, the CUDA runtime and its headers; only if TENURE_CUDA. They come with a CUDA wheel of torch (the
#                         nvidia packages it depends on, and nvidia-cuda-crt for the headers that those lack), or from a CUDA
#                         toolkit: nothing is compiled for a device, so no nvcc is needed.
#
# Input: Python_EXECUTABLE, or TENURE_TORCH_DIR (the folder that holds torch/include and torch/lib).

if(NOT TENURE_TORCH_DIR)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE TENURE_TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE torch_not_found ERROR_QUIET)
  if(torch_not_found)
    message(FATAL_ERROR "torch is not installed for ${Python_EXECUTABLE}; install it (pip install torch) or set TENURE_TORCH_DIR")
  endif()
endif()
set(TENURE_TORCH_DIR "${TENURE_TORCH_DIR}" CACHE PATH "Folder of the torch package (holds include/ and lib/)")

add_library(tenure::torch SHARED IMPORTED)
set_target_properties(tenure::torch PROPERTIES
  IMPORTED_LOCATION "${TENURE_TORCH_DIR}/lib/libtorch_cpu.so"
  IMPORTED_NO_SONAME FALSE
  INTERFACE_INCLUDE_DIRECTORIES "${TENURE_TORCH_DIR}/include;${TENURE_TORCH_DIR}/include/torch/csrc/api/include"
  INTERFACE_LINK_LIBRARIES "${TENURE_TORCH_DIR}/lib/libc10.so"
  # libtorch_cpu's own needs (CUDA, OpenMP) are found through its rpath when it is loaded, not by our linker.
  INTERFACE_LINK_OPTIONS "LINKER:--allow-shlib-undefined")

# TENURE_CUDA is ON where torch and its CUDA headers are there, unless the user says otherwise.
file(GLOB tenure_nvidia "${TENURE_TORCH_DIR}/../nvidia/cu[0-9]*" "${TENURE_TORCH_DIR}/../nvidia/cuda_runtime")
find_path(TENURE_CUDA_INCLUDE cuda_runtime_api.h HINTS ${tenure_nvidia} /usr/local/cuda PATH_SUFFIXES include)
find_path(TENURE_CUDA_CRT crt/host_config.h HINTS ${tenure_nvidia} /usr/local/cuda PATH_SUFFIXES include)
find_path(TENURE_NVTX_INCLUDE nvtx3/nvToolsExt.h HINTS ${tenure_nvidia} "${TENURE_TORCH_DIR}/../nvidia/nvtx" /usr/local/cuda PATH_SUFFIXES include)
find_library(TENURE_CUDART NAMES libcudart.so.13 libcudart.so.12 libcudart.so HINTS ${tenure_nvidia} /usr/local/cuda PATH_SUFFIXES lib lib64)
set(tenure_has_cuda OFF)
if(EXISTS "${TENURE_TORCH_DIR}/lib/libc10_cuda.so" AND TENURE_CUDA_INCLUDE AND TENURE_CUDA_CRT AND TENURE_NVTX_INCLUDE AND TENURE_CUDART)
  set(tenure_has_cuda ON)
endif()
option(TENURE_CUDA "Run programs on CUDA devices" ${tenure_has_cuda})
if(TENURE_CUDA)
  if(NOT tenure_has_cuda)
    message(FATAL_ERROR "TENURE_CUDA needs a torch with CUDA, cuda_runtime_api.h, crt/host_config.h (pip install nvidia-cuda-crt), "
                        "nvtx3/nvToolsExt.h (nvidia-nvtx) and libcudart; found ${TENURE_TORCH_DIR}, ${TENURE_CUDA_INCLUDE}, ${TENURE_CUDA_CRT}, "
                        "${TENURE_NVTX_INCLUDE}, ${TENURE_CUDART}")
  endif()
  add_library(tenure::torch_cuda SHARED IMPORTED)
  set_target_properties(tenure::torch_cuda PROPERTIES
    IMPORTED_LOCATION "${TENURE_TORCH_DIR}/lib/libc10_cuda.so"
    INTERFACE_INCLUDE_DIRECTORIES "${TENURE_CUDA_INCLUDE};${TENURE_CUDA_CRT};${TENURE_NVTX_INCLUDE}"
    INTERFACE_LINK_LIBRARIES "tenure::torch;${TENURE_CUDART}")
endif()

add_library(tenure::torch_python SHARED IMPORTED)
set_target_properties(tenure::torch_python PROPERTIES
  IMPORTED_LOCATION "${TENURE_TORCH_DIR}/lib/libtorch_python.so"
  INTERFACE_LINK_LIBRARIES tenure::torch)
