# SPDX-License-Identifier: Apache-2.0
# luthier::torch, the LibTorch that packaging/bootstrap unpacked from pinned PyPI wheels, and luthier_torch_pch(target).
# No find_package(Torch): its config drags in every operator, protobuf, and on the CUDA wheel a whole CUDA toolkit.
if(LUTHIER_CUDA)
  set(_variant cuda)
else()
  set(_variant cpu)
endif()
if(DEFINED ENV{LUTHIER_CACHE})
  set(LUTHIER_CACHE $ENV{LUTHIER_CACHE})
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(LUTHIER_CACHE $ENV{XDG_CACHE_HOME}/luthier)
else()
  set(LUTHIER_CACHE $ENV{HOME}/.cache/luthier)
endif()
set(LUTHIER_TORCH_DIR ${LUTHIER_CACHE}/torch-2.11.0-${_variant} CACHE PATH "LibTorch as packaging/bootstrap unpacks it")

set(_lib ${LUTHIER_TORCH_DIR}/torch/lib)
set(_cuda_lib ${LUTHIER_TORCH_DIR}/nvidia/cu13/lib)
set(_include ${LUTHIER_TORCH_DIR}/torch/include)
if(NOT EXISTS ${_lib}/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch is not in ${LUTHIER_TORCH_DIR}. Run packaging/bootstrap first (with --cuda for -DLUTHIER_CUDA=ON).")
endif()

add_library(luthier_c10 SHARED IMPORTED)
set_target_properties(luthier_c10 PROPERTIES IMPORTED_LOCATION ${_lib}/libc10.so)
add_library(luthier_torch_cpu SHARED IMPORTED)
set_target_properties(luthier_torch_cpu PROPERTIES IMPORTED_LOCATION ${_lib}/libtorch_cpu.so)

add_library(luthier_torch INTERFACE)
add_library(luthier::torch ALIAS luthier_torch)
target_include_directories(luthier_torch SYSTEM INTERFACE ${_include} ${_include}/torch/csrc/api/include)
# Without AT_PER_OPERATOR_HEADERS ATen/TensorOperators.h brings every operator.
target_compile_definitions(luthier_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1 AT_PER_OPERATOR_HEADERS)
target_link_libraries(luthier_torch INTERFACE luthier_torch_cpu luthier_c10 Threads::Threads)
# libtorch_cpu.so needs libcudart.so.13, libcupti.so.13 and its own libgomp.so.1; its run path reaches them as long as the
# wheels' relative layout is kept, so programs need one run path only. The link editor wants to see them too.
target_link_options(luthier_torch INTERFACE LINKER:-rpath-link,${_lib}:${_cuda_lib})

# In an install the same layout lies under lib/luthier.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib/luthier/torch/lib")
install(DIRECTORY ${_lib}/ DESTINATION lib/luthier/torch/lib COMPONENT engine FILES_MATCHING PATTERN "*.so*")
install(DIRECTORY ${_cuda_lib}/ DESTINATION lib/luthier/nvidia/cu13/lib COMPONENT engine FILES_MATCHING PATTERN "*.so*")

# One precompiled header serves every target that asks for it (with the same flags: gcc refuses it under another -Wpedantic or -fPIC).
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/torch_pch.cpp CONTENT "")
add_library(luthier_torch_headers OBJECT ${CMAKE_BINARY_DIR}/torch_pch.cpp)
target_link_libraries(luthier_torch_headers PRIVATE luthier_torch nlohmann_json::nlohmann_json luthier_warnings)
target_precompile_headers(luthier_torch_headers PRIVATE ${PROJECT_SOURCE_DIR}/core/kernels/torch_pch.h)

# luthier_torch_pch(TARGET [HEADER]): with a precompiled header of its own, which includes kernels/torch_pch.h, else with the shared one.
function(luthier_torch_pch target)
  target_link_libraries(${target} PRIVATE luthier_torch luthier_warnings)
  get_target_property(_type ${target} TYPE)
  if(_type STREQUAL EXECUTABLE)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
  if(ARGC GREATER 1)
    target_precompile_headers(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${ARGV1})
  else()
    target_precompile_headers(${target} REUSE_FROM luthier_torch_headers)
  endif()
endfunction()
