# The C++ SDK inside an installed openvino wheel: headers, CMake config and libraries. Gives openvino::runtime.
#
# Input: Python_EXECUTABLE, or OpenVINO_DIR (the folder of OpenVINOConfig.cmake).

if(NOT OpenVINO_DIR)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import importlib.util as u; print(u.find_spec('openvino').submodule_search_locations[0])"
    OUTPUT_VARIABLE tenure_openvino_package OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE openvino_not_found ERROR_QUIET)
  if(NOT openvino_not_found)
    set(OpenVINO_DIR "${tenure_openvino_package}/cmake" CACHE PATH "Folder of OpenVINOConfig.cmake")
  endif()
endif()
find_package(OpenVINO COMPONENTS Runtime QUIET)
if(NOT OpenVINO_FOUND)
  message(FATAL_ERROR "OpenVINO was not found; install it (pip install openvino) or configure with -DTENURE_OPENVINO=OFF")
endif()
