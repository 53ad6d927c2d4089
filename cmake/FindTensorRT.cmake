# TensorRT 10 or 11, or TensorRT-RTX: the headers and library of an SDK, or its headers beside the libraries of NVIDIA's wheels.
#
# Input:  TENSORRT_ROOT, a variable or environment variable: a folder with include/NvInferRuntime.h, and lib/ unless a wheel
#         (tensorrt_rtx_libs, tensorrt_libs) is installed for Python_EXECUTABLE. Headers and library must be of one version: the same
#         calls are other virtual functions in another.
# Result: TensorRT_INCLUDE_DIR and TensorRT_LIBRARY; TensorRT_RTX, whether it is TensorRT-RTX; TensorRT_TELLS_ALIASES, whether engines
#         name the inputs that outputs are written into; tensorrt::headers, tensorrt::runtime.

set(tensorrt_root "${TENSORRT_ROOT}")
if(NOT tensorrt_root)
  set(tensorrt_root "$ENV{TENSORRT_ROOT}")
endif()

find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h HINTS "${tensorrt_root}" PATH_SUFFIXES include include/x86_64-linux-gnu)
set(TensorRT_RTX OFF)
set(TensorRT_TELLS_ALIASES OFF)
if(TensorRT_INCLUDE_DIR)
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" tensorrt_rtx REGEX "define TRT_MAJOR_RTX")
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferRuntime.h" tensorrt_aliases REGEX "getAliasedInputTensor")
  if(tensorrt_rtx)
    set(TensorRT_RTX ON)
  endif()
  if(tensorrt_aliases)
    set(TensorRT_TELLS_ALIASES ON)
  endif()
endif()

get_filename_component(tensorrt_site "${TENURE_TORCH_DIR}" DIRECTORY)
if(TensorRT_RTX)
  find_library(TensorRT_LIBRARY NAMES tensorrt_rtx libtensorrt_rtx.so.1 HINTS "${tensorrt_root}" "${tensorrt_site}/tensorrt_rtx_libs" PATH_SUFFIXES lib .)
else()
  find_library(TensorRT_LIBRARY NAMES nvinfer libnvinfer.so.11 libnvinfer.so.10 HINTS "${tensorrt_root}" "${tensorrt_site}/tensorrt_libs" PATH_SUFFIXES lib .)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT REQUIRED_VARS TensorRT_LIBRARY TensorRT_INCLUDE_DIR
  REASON_FAILURE_MESSAGE "name a folder with its include/ and lib/ by TENSORRT_ROOT")

if(TensorRT_INCLUDE_DIR AND NOT TARGET tensorrt::headers)
  add_library(tensorrt::headers INTERFACE IMPORTED)
  target_include_directories(tensorrt::headers SYSTEM INTERFACE "${TensorRT_INCLUDE_DIR}")
  # Their own classes use what they deprecate.
  target_compile_options(tensorrt::headers INTERFACE -Wno-deprecated-declarations)
endif()
if(TensorRT_FOUND AND NOT TARGET tensorrt::runtime)
  add_library(tensorrt::runtime SHARED IMPORTED)
  set_target_properties(tensorrt::runtime PROPERTIES IMPORTED_LOCATION "${TensorRT_LIBRARY}" INTERFACE_LINK_LIBRARIES tensorrt::headers)
endif()
