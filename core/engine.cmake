# SPDX-License-Identifier: Apache-2.0
# The rooms that know torch, as one library.
add_library(luthier_engine STATIC
  kernels/elementwise.cpp
  kernels/elementwise_reference.cpp
  model/arch/families.cpp
  model/arch/gpt2.cpp
  model/arch/llama.cpp
  model/decoder.cpp
  model/description.cpp
  model/functions.cpp
  model/rope.cpp
  model/site.cpp
)
target_include_directories(luthier_engine PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(luthier_engine PUBLIC luthier_contract luthier::torch)
luthier_torch_pch(luthier_engine)
set_source_files_properties(kernels/elementwise.cpp PROPERTIES COMPILE_OPTIONS "-O3;-fopenmp-simd;-fno-math-errno;-fno-trapping-math"
  SKIP_PRECOMPILE_HEADERS ON)
