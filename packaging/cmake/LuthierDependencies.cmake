# SPDX-License-Identifier: Apache-2.0
# Every outside library, found once. Torch is the PyPI wheel unpacked by packaging/bootstrap (see LuthierTorch.cmake).
find_package(nlohmann_json 3.11 REQUIRED)
find_package(Threads REQUIRED)
include(LuthierTorch)

# luthier_json_pch(target): JSON and the standard library, compiled once for the rooms that know no torch.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/json_pch.cpp CONTENT "")
add_library(luthier_json_headers OBJECT ${CMAKE_BINARY_DIR}/json_pch.cpp)
target_link_libraries(luthier_json_headers PRIVATE nlohmann_json::nlohmann_json luthier_warnings)
target_precompile_headers(luthier_json_headers PRIVATE ${PROJECT_SOURCE_DIR}/core/contract/json_pch.h)

function(luthier_json_pch target)
  target_precompile_headers(${target} REUSE_FROM luthier_json_headers)
endfunction()
