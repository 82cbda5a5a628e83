# SPDX-License-Identifier: Apache-2.0
# The rooms that know torch, as one library.
add_library(luthier_engine STATIC
  kernels/block_pool.cpp
  kernels/elementwise.cpp
  kernels/elementwise_reference.cpp
  model/alibi.cpp
  model/arch/common.cpp
  model/arch/families.cpp
  model/attention.cpp
  model/cache.cpp
  model/description.cpp
  model/functions.cpp
  model/linears.cpp
  model/model.cpp
  model/open.cpp
  model/relative.cpp
  model/rope.cpp
  model/site.cpp
  model/stack.cpp
  model/stack_attention.cpp
  model/stack_block.cpp
  model/tensors.cpp
  model/weights.cpp
  peft/adapter.cpp
  peft/adapter_file.cpp
  peft/combine.cpp
  peft/combine_ia3.cpp
  peft/combine_lora.cpp
  peft/methods.cpp
  peft/methods/base_weights.cpp
  peft/methods/delta_weights.cpp
  peft/dropout.cpp
  peft/methods/lora_embedding.cpp
  peft/methods/own_copies.cpp
  peft/gguf_adapter.cpp
  peft/mixed_stack.cpp
  peft/saved_modules.cpp
  peft/targets.cpp
  task/causal_lm.cpp
  task/choices.cpp
  task/classification.cpp
  task/metrics.cpp
  task/rows.cpp
  task/seq2seq_lm.cpp
  task/task.cpp
  task/texts.cpp
  train/adamw.cpp
  train/checkpoint.cpp
  train/devices.cpp
  train/estimate.cpp
  train/run.cpp
  train/memory_probe.cpp
  train/optimizer.cpp
  train/optimizers/adafactor.cpp
  train/optimizers/adamw_8bit.cpp
  train/optimizers/lion.cpp
  train/optimizers/sgd.cpp
  train/schedule.cpp
  train/trainer.cpp
  generate/generator.cpp
  export/exporter.cpp
  export/gguf_file.cpp
  export/gguf_importer.cpp
  model/gguf_config.cpp
  model/gguf_layout.cpp
  model/shards.cpp
  model/gguf_values.cpp
)
luthier_registry(luthier_engine export/exporters Exporter Exporter export/exporter.h)
luthier_registry(luthier_engine model/arch Family Family model/arch/families.h)
luthier_registry(luthier_engine peft/methods Method Method peft/method.h)
# Help pages are part of the program, so that a copied luthier-cli has them.
file(GLOB _help_pages CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/../resources/help/*.md)
set(_help_entries "")
foreach(_page ${_help_pages})
  get_filename_component(_type ${_page} NAME_WE)
  file(READ ${_page} _text)
  string(APPEND _help_entries "        {\"${_type}\", R\"help(${_text})help\"},\n")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${_page})
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/help_pages.cpp CONTENT [[
// Made from resources/help by core/engine.cmake.
#include <map>
#include <string>
namespace luthier {
const std::string& methodHelp(const std::string& type) {
    static const std::map<std::string, std::string> pages{
@_help_entries@    };
    static const std::string none;
    const auto found = pages.find(type);
    return found == pages.end() ? none : found->second;
}
}  // namespace luthier
]] @ONLY)
target_sources(luthier_engine PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/help_pages.cpp)
target_include_directories(luthier_engine PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(luthier_engine PUBLIC luthier_data luthier_io luthier_text luthier::torch)
include(LuthierCuda)
if(LUTHIER_CUDA)
  target_sources(luthier_engine PRIVATE kernels/elementwise_device.cpp)
  target_link_libraries(luthier_engine PUBLIC luthier::cuda_kernels)
  target_compile_definitions(luthier_engine PUBLIC LUTHIER_CUDA)
endif()
target_compile_definitions(luthier_engine PUBLIC LUTHIER_VERSION="${PROJECT_VERSION}")
luthier_torch_pch(luthier_engine)
set_source_files_properties(kernels/elementwise.cpp PROPERTIES COMPILE_OPTIONS "-O3;-fopenmp-simd;-fno-math-errno;-fno-trapping-math"
  SKIP_PRECOMPILE_HEADERS ON)

luthier_room_together(luthier_engine
  export/gguf_importer.cpp
  peft/combine_ia3.cpp)
