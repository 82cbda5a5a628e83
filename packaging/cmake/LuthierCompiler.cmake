# SPDX-License-Identifier: Apache-2.0
# Language level, warnings, linker and compiler cache; one place for all targets.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# The products are LibTorch's; of ours only core/kernels has loops that -O3 makes faster, and it says so there.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

add_library(luthier_warnings INTERFACE)
target_compile_options(luthier_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wno-missing-field-initializers>)
# GCC 12 warns of std::string's own operator+ and of members behind an exception's path (its bugs 105329, 105651, 105562), by which optimisation it happens to do;
# GCC 13 and later and Clang look for the same without.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(luthier_warnings INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict;-Wno-stringop-overflow;-Wno-array-bounds;-Wno-maybe-uninitialized>)
endif()

if(LUTHIER_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(LUTHIER_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
endif()

find_program(LUTHIER_CCACHE ccache)
if(LUTHIER_CCACHE)
  # Precompiled headers need the sloppiness; base_dir and nohashdir let several work trees share one cache.
  set(_ccache ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${LUTHIER_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${_ccache})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${_ccache})
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
find_program(LUTHIER_MOLD mold)
if(LUTHIER_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# luthier_together(TARGET NAME FILE…): small sources of TARGET compiled as one file, since each would spend most of its time on the same headers.
# FILEs are relative to an include directory of the target, so that the one file is the same in every work tree. Names in their anonymous
# namespaces must not clash; a file whose names do stays by itself. `dev` compiles them apart (LUTHIER_TOGETHER=OFF).
option(LUTHIER_TOGETHER "Compile small sources together" ON)
# luthier_room_together(TARGET FILE…): a whole room in batches, but for the FILEs, whose names clash with a neighbour's.
function(luthier_room_together target)
  if(NOT LUTHIER_TOGETHER)
    return()
  endif()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  set_source_files_properties(${ARGN} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
function(luthier_together target name)
  if(NOT LUTHIER_TOGETHER)
    return()
  endif()
  set(_text "// Made by luthier_together() in packaging/cmake/LuthierCompiler.cmake.\n")
  foreach(_file ${ARGN})
    string(APPEND _text "#include \"${_file}\"\n")
    set_source_files_properties(${_file} PROPERTIES HEADER_FILE_ONLY ON)
  endforeach()
  set(_source ${CMAKE_CURRENT_BINARY_DIR}/together/${target}_${name}.cpp)
  file(CONFIGURE OUTPUT ${_source} CONTENT "${_text}" @ONLY)
  target_sources(${target} PRIVATE ${_source})
endfunction()
