# Which TensorRT cmake/FindTensorRT.cmake takes, told by its headers. Run with -D MODULES=<folder of it> -D SCRATCH=<folder>.

file(REMOVE_RECURSE ${SCRATCH})
file(WRITE ${SCRATCH}/project/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(finds NONE)
set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)
set(CMAKE_FIND_USE_CMAKE_SYSTEM_PATH OFF)
find_package(TensorRT QUIET)
message(STATUS "found=${TensorRT_FOUND} version=${TensorRT_VERSION} rtx=${TensorRT_RTX} aliases=${TensorRT_TELLS_ALIASES}")
if(TARGET tensorrt::headers)
  message(STATUS "has headers")
endif()
]])

# The project's output must match `expected`, with headers of these lines in `folder`.
function(expect folder version_header runtime_header expected)
  file(WRITE ${SCRATCH}/${folder}/include/NvInferVersion.h "${version_header}")
  file(WRITE ${SCRATCH}/${folder}/include/NvInferRuntime.h "${runtime_header}")
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E env --unset=TENSORRT_ROOT ${CMAKE_COMMAND} -S ${SCRATCH}/project -B ${SCRATCH}/${folder}/build -D CMAKE_MODULE_PATH=${MODULES} ${ARGN}
    OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " output "${output}")  # messages are wrapped
  if(NOT output MATCHES "${expected}")
    message(SEND_ERROR "${folder}: expected ${expected}, got: ${output}")
  endif()
endfunction()

function(numbers result major minor suffix)
  set(${result} "#define TRT_MAJOR${suffix} ${major}\n#define TRT_MINOR${suffix} ${minor}\n#define TRT_PATCH${suffix} 0\n#define NV_TENSORRT_MAJOR TRT_MAJOR${suffix} //!< major\n" PARENT_SCOPE)
endfunction()

set(plain "#define NV_TENSORRT_MAJOR 10 //!< major\n#define NV_TENSORRT_MINOR 1 //!< minor\n#define NV_TENSORRT_PATCH 0\n")
expect(oldest "${plain}" "" "found=FALSE version=10.1.0 rtx=OFF aliases=OFF.*has headers" -D TENSORRT_ROOT=${SCRATCH}/oldest)

numbers(enterprise 11 1 _ENTERPRISE)
file(WRITE ${SCRATCH}/newest/lib/libnvinfer.so.11 "")
expect(newest "${enterprise}" "getAliasedInputTensor" "found=TRUE version=11.1.0 rtx=OFF aliases=ON.*has headers" -D TENSORRT_ROOT=${SCRATCH}/newest)

numbers(rtx 1 4 _RTX)
expect(rtx "${rtx}" "getAliasedInputTensor" "version=1.4.0 rtx=ON aliases=ON.*has headers" -D TENSORRT_ROOT=${SCRATCH}/rtx)

# Too old: refused where it was named, left alone where it merely lies about.
string(REPLACE "MINOR 1" "MINOR 0" plain "${plain}")
expect(too_old "${plain}" "" "CMake Error.*TensorRT 10.0.0 in .*too_old/include is too old: Tenure needs 10.1 or newer" -D TENSORRT_ROOT=${SCRATCH}/too_old)
expect(about "${plain}" "" "TensorRT 10.0.0 in .* is too old.*found=FALSE version=10.0.0 rtx=OFF aliases=OFF -- Configuring done" -D CMAKE_PREFIX_PATH=${SCRATCH}/about)
numbers(rtx 1 3 _RTX)
expect(rtx_too_old "${rtx}" "" "TensorRT-RTX 1.3.0 in .* is too old: Tenure needs 1.4 or newer" -D TENSORRT_ROOT=${SCRATCH}/rtx_too_old)
