# TensorRT from 10.1 on, or TensorRT-RTX from 1.4 on: the headers and library of an SDK, or its headers beside the libraries of NVIDIA's
# wheels.
#
# Input:  TENSORRT_ROOT, a variable or environment variable: a folder with include/NvInferRuntime.h, and lib/ unless a wheel
#         (tensorrt_rtx_libs, tensorrt_libs) is installed for Python_EXECUTABLE. Headers and library must be of one version: the same
#         calls are other virtual functions in another.
# Result: TensorRT_VERSION, TensorRT_INCLUDE_DIR and TensorRT_LIBRARY; TensorRT_RTX, whether it is TensorRT-RTX; TensorRT_TELLS_ALIASES,
#         whether engines name the inputs that outputs are written into; tensorrt::headers (without the library too), tensorrt::runtime.
# An older one is an error if TENSORRT_ROOT names it, else as good as none.

set(tensorrt_root "${TENSORRT_ROOT}")
if(NOT tensorrt_root)
  set(tensorrt_root "$ENV{TENSORRT_ROOT}")
endif()

find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h HINTS "${tensorrt_root}" PATH_SUFFIXES include include/x86_64-linux-gnu)
set(TensorRT_RTX OFF)
set(TensorRT_TELLS_ALIASES OFF)
set(TensorRT_VERSION)
set(tensorrt_usable_include)
set(tensorrt_reason "name a folder with its include/ and lib/ by TENSORRT_ROOT")
if(TensorRT_INCLUDE_DIR)
  # NV_TENSORRT_MAJOR is a number, or a macro for one: TRT_MAJOR_ENTERPRISE or TRT_MAJOR_RTX.
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferVersion.h" tensorrt_numbers REGEX "^#define (NV_TENSORRT|TRT)_(MAJOR|MINOR|PATCH)[A-Z_]* +[0-9]+")
  if(tensorrt_numbers MATCHES "_MAJOR[A-Z_]* +([0-9]+)")
    set(TensorRT_VERSION ${CMAKE_MATCH_1})
  endif()
  foreach(part IN ITEMS MINOR PATCH)
    if(tensorrt_numbers MATCHES "_${part}[A-Z_]* +([0-9]+)")
      string(APPEND TensorRT_VERSION ".${CMAKE_MATCH_1}")
    endif()
  endforeach()
  set(tensorrt_name "TensorRT")
  set(tensorrt_oldest 10.1)  # the first with setDeviceMemoryV2, by which engines are given planned scratch memory
  if(tensorrt_numbers MATCHES "TRT_MAJOR_RTX")
    set(TensorRT_RTX ON)
    set(tensorrt_name "TensorRT-RTX")
    set(tensorrt_oldest 1.4)  # the oldest that was tried
  endif()
  file(STRINGS "${TensorRT_INCLUDE_DIR}/NvInferRuntime.h" tensorrt_aliases REGEX "getAliasedInputTensor")
  if(tensorrt_aliases)
    set(TensorRT_TELLS_ALIASES ON)
  endif()
  if(TensorRT_VERSION VERSION_LESS tensorrt_oldest)
    set(tensorrt_reason "${tensorrt_name} ${TensorRT_VERSION} in ${TensorRT_INCLUDE_DIR} is too old: Tenure needs ${tensorrt_oldest} or newer")
    if(tensorrt_root)
      message(FATAL_ERROR "${tensorrt_reason}")
    endif()
    message(STATUS "${tensorrt_reason}")
  else()
    set(tensorrt_usable_include "${TensorRT_INCLUDE_DIR}")
  endif()
endif()

get_filename_component(tensorrt_site "${TENURE_TORCH_DIR}" DIRECTORY)
if(TensorRT_RTX)
  find_library(TensorRT_LIBRARY NAMES tensorrt_rtx libtensorrt_rtx.so.1 HINTS "${tensorrt_root}" "${tensorrt_site}/tensorrt_rtx_libs" PATH_SUFFIXES lib .)
else()
  find_library(TensorRT_LIBRARY NAMES nvinfer libnvinfer.so.11 libnvinfer.so.10 HINTS "${tensorrt_root}" "${tensorrt_site}/tensorrt_libs" PATH_SUFFIXES lib .)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRT REQUIRED_VARS TensorRT_LIBRARY tensorrt_usable_include VERSION_VAR TensorRT_VERSION
  REASON_FAILURE_MESSAGE "${tensorrt_reason}")

if(tensorrt_usable_include AND NOT TARGET tensorrt::headers)
  add_library(tensorrt::headers INTERFACE IMPORTED)
  target_include_directories(tensorrt::headers SYSTEM INTERFACE "${TensorRT_INCLUDE_DIR}")
  # Their own classes use what they deprecate.
  target_compile_options(tensorrt::headers INTERFACE -Wno-deprecated-declarations)
endif()
if(TensorRT_FOUND AND NOT TARGET tensorrt::runtime)
  add_library(tensorrt::runtime SHARED IMPORTED)
  set_target_properties(tensorrt::runtime PROPERTIES IMPORTED_LOCATION "${TensorRT_LIBRARY}" INTERFACE_LINK_LIBRARIES tensorrt::headers)
endif()
