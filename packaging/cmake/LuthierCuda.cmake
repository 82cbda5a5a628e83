# SPDX-License-Identifier: Apache-2.0
# luthier::cuda_kernels, the .cu files of core/kernels/cuda compiled by the wheels' own nvcc (packaging/bootstrap unpacks it). Needs no
# GPU and none of torch's headers, so they are compiled wherever nvcc is there: CI cannot run kernels but must know that they compile.
# Called by hand: enable_language(CUDA) wants to link a program against a whole toolkit first.
find_program(LUTHIER_NVCC nvcc HINTS ${LUTHIER_CACHE}/nvcc-13.0/nvidia/cu13/bin NO_DEFAULT_PATH DOC "nvcc 13.0 of packaging/wheels/nvcc.txt")
if(NOT LUTHIER_NVCC)
  if(LUTHIER_CUDA)
    message(FATAL_ERROR "nvcc is not in ${LUTHIER_CACHE}/nvcc-13.0. Run packaging/bootstrap --cuda first.")
  endif()
  message(STATUS "No nvcc in ${LUTHIER_CACHE}: the CUDA kernels are not compiled")
  return()
endif()
get_filename_component(_home ${LUTHIER_NVCC} DIRECTORY)
get_filename_component(_home ${_home} DIRECTORY)
set(_objects)
foreach(name elementwise)
  set(_source ${PROJECT_SOURCE_DIR}/core/kernels/cuda/${name}.cu)
  set(_object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
  add_custom_command(OUTPUT ${_object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
    COMMAND ${LUTHIER_NVCC} -std=c++20 -O3 -arch=all-major -Werror all-warnings -Xcompiler -fPIC,-Wall -I${PROJECT_SOURCE_DIR}/core
            -MD -MF ${_object}.d -MT ${_object} -c ${_source} -o ${_object}
    DEPENDS ${_source} DEPFILE ${_object}.d COMMENT "Compiling CUDA kernels ${name}.cu" VERBATIM)
  list(APPEND _objects ${_object})
endforeach()
add_library(luthier_cuda_kernels STATIC ${_objects})
set_target_properties(luthier_cuda_kernels PROPERTIES LINKER_LANGUAGE CXX)
target_include_directories(luthier_cuda_kernels INTERFACE ${PROJECT_SOURCE_DIR}/core)
add_library(luthier::cuda_kernels ALIAS luthier_cuda_kernels)
if(LUTHIER_CUDA)
  # The runtime is the one that libtorch_cuda.so loads.
  set(_torch ${LUTHIER_TORCH_DIR})
  target_include_directories(luthier_cuda_kernels SYSTEM INTERFACE ${_home}/include)
  target_link_libraries(luthier_cuda_kernels INTERFACE -Wl,--no-as-needed ${_torch}/torch/lib/libtorch_cuda.so ${_torch}/torch/lib/libc10_cuda.so
    ${_torch}/nvidia/cu13/lib/libcudart.so.13 -Wl,--as-needed)
endif()
