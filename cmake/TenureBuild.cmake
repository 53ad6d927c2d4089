# How Tenure's own targets are built: warnings, sanitizers, ccache, one precompiled header, one static library a layer.

find_program(TENURE_CCACHE ccache)
if(TENURE_CCACHE)
  # ccache needs to be told that a precompiled header is only as new as what it includes.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${TENURE_CCACHE})
endif()

add_library(tenure_options INTERFACE)
target_include_directories(tenure_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
target_compile_options(tenure_options INTERFACE -Wall -Wextra -Wno-unused-parameter -Werror=return-type -Wno-psabi)
if(TENURE_CCACHE)
  target_compile_options(tenure_options INTERFACE -fpch-preprocess)
endif()
if(TENURE_SANITIZE)
  target_compile_options(tenure_options INTERFACE -fsanitize=${TENURE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize=vptr -fno-sanitize-recover=all)
  target_link_options(tenure_options INTERFACE -fsanitize=${TENURE_SANITIZE})
endif()

# A libtorch header takes most of a translation unit's compile time: read it once.
file(WRITE ${CMAKE_BINARY_DIR}/tenure_pch.cc "")
add_library(tenure_pch OBJECT ${CMAKE_BINARY_DIR}/tenure_pch.cc)
target_link_libraries(tenure_pch PUBLIC tenure_options tenure::torch)
target_precompile_headers(tenure_pch PRIVATE
  <ATen/ATen.h> <ATen/core/dispatch/Dispatcher.h> <ATen/core/ivalue.h> <map> <memory> <optional> <string> <variant> <vector>)

# tenure_layer(name SOURCES a.cc ... DEPENDS base graph ... [LIBRARIES lib ...])
# The static library tenure_<name>. DEPENDS are layers and may only be those above it in docs/architecture.md's list. A layer that
# depends on none of torch's headers says NO_TORCH.
function(tenure_layer name)
  cmake_parse_arguments(arg "NO_TORCH" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(tenure_${name} STATIC ${arg_SOURCES})
  set_property(GLOBAL APPEND PROPERTY TENURE_LAYERS tenure_${name})
  target_link_libraries(tenure_${name} PUBLIC tenure_options ${arg_LIBRARIES})
  foreach(layer IN LISTS arg_DEPENDS)
    target_link_libraries(tenure_${name} PUBLIC tenure_${layer})
  endforeach()
  if(NOT arg_NO_TORCH)
    target_link_libraries(tenure_${name} PUBLIC tenure::torch)
    target_precompile_headers(tenure_${name} REUSE_FROM tenure_pch)
  endif()
endfunction()

# tenure_test(name SOURCES a_test.cc ... LINK target ...): the GoogleTest program <name>_test, one test of ctest; with CHECKED, another
# one that runs it with TENURE_CHECK_OWNERSHIP.
function(tenure_test name)
  cmake_parse_arguments(arg "NO_TORCH;CHECKED" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name}_test ${arg_SOURCES})
  target_link_libraries(${name}_test PRIVATE ${arg_LINK} GTest::gmock GTest::gtest_main)
  if(NOT arg_NO_TORCH)
    target_precompile_headers(${name}_test REUSE_FROM tenure_pch)
    # The header was compiled as a library's: GCC takes it for nothing that is compiled -fPIE, as CMake does with programs.
    set_target_properties(${name}_test PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${name}_test PRIVATE -fPIC)
  endif()
  # One process a program, not one a test: loading libtorch takes longer than most tests. Brief: what failed or was skipped, and sums.
  add_test(NAME ${name} COMMAND ${name}_test)
  set_tests_properties(${name} PROPERTIES ENVIRONMENT GTEST_BRIEF=1)
  if(arg_CHECKED)
    add_test(NAME ${name}_checked COMMAND ${name}_test)
    set_tests_properties(${name}_checked PROPERTIES ENVIRONMENT "GTEST_BRIEF=1;TENURE_CHECK_OWNERSHIP=1")
  endif()
endfunction()
