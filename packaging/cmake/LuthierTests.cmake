# SPDX-License-Identifier: Apache-2.0
# luthier_test(name SOURCES a.cpp… [LIBRARIES targets…] [TORCH] [GOLDEN]): one doctest program, and every test case of it a ctest case
# with the label "fast": it needs no Python and takes seconds. GOLDEN: it reads tests/golden, and includes "golden/golden.h".
# The sources hold TEST_CASEs only; main() comes with luthier_test_main.
find_package(doctest REQUIRED)
include(doctest)  # doctest_discover_tests

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/doctest_main.cpp CONTENT "#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN\n#include <doctest/doctest.h>\n")
add_library(luthier_test_main OBJECT ${CMAKE_BINARY_DIR}/doctest_main.cpp)
target_link_libraries(luthier_test_main PUBLIC doctest::doctest)

function(luthier_test name)
  cmake_parse_arguments(ARG "TORCH;GOLDEN" "" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE luthier_test_main ${ARG_LIBRARIES} luthier_warnings)
  set(environment "")
  if(ARG_TORCH)
    luthier_torch_pch(${name})
    # Tests run beside each other: threads that wait for each other in turns would take many times as long.
    set(environment ENVIRONMENT OMP_NUM_THREADS=1)
  endif()
  if(ARG_GOLDEN)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_compile_definitions(${name} PRIVATE LUTHIER_GOLDEN="${PROJECT_SOURCE_DIR}/tests/golden")
  endif()
  doctest_discover_tests(${name} TEST_PREFIX "${name}: " PROPERTIES TIMEOUT 300 LABELS fast ${environment})
endfunction()
