# What `cmake --install` and the Python wheel hold for C++ users: lib/libtenure.so, include/tenure, and find_package(tenure).
#
# In a wheel (scikit-build-core sets SKBUILD) the prefix is site-packages/tenure, next to the torch and openvino packages: the
# libraries find those relative to themselves, for the ones built against may have been in a build environment that is gone.

include(CMakePackageConfigHelpers)

if(SKBUILD)
  set(tenure_rpath "$ORIGIN/../../torch/lib;$ORIGIN/../../openvino/libs")
  if(TENURE_CUDA)
    cmake_path(GET TENURE_CUDART PARENT_PATH tenure_cudart_dir)
    cmake_path(RELATIVE_PATH tenure_cudart_dir BASE_DIRECTORY "${TENURE_TORCH_DIR}/..")
    list(APPEND tenure_rpath "$ORIGIN/../../${tenure_cudart_dir}")
  endif()
  set_target_properties(tenure PROPERTIES INSTALL_RPATH "${tenure_rpath}")
  set(TENURE_INSTALLED_TORCH_DIR "")
else()
  set_target_properties(tenure PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  set(TENURE_INSTALLED_TORCH_DIR "${TENURE_TORCH_DIR}")
endif()

install(TARGETS tenure EXPORT tenureTargets LIBRARY DESTINATION lib)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/tenure" DESTINATION include FILES_MATCHING PATTERN "*.h")
install(EXPORT tenureTargets NAMESPACE tenure:: DESTINATION lib/cmake/tenure)

configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/tenureConfig.cmake.in" "${PROJECT_BINARY_DIR}/tenureConfig.cmake"
  INSTALL_DESTINATION lib/cmake/tenure NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/tenureConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/tenureConfig.cmake"
  "${PROJECT_BINARY_DIR}/tenureConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/TorchWheel.cmake"
  DESTINATION lib/cmake/tenure)
