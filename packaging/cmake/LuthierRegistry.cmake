# SPDX-License-Identifier: Apache-2.0
# Lists of leaves. A leaf is one source and one line of a list; this makes the rest.
#
#   luthier_registry(TARGET FOLDER TYPE SUFFIX HEADER [NAMESPACE])
#
# reads FOLDER.list beside the calling file: one leaf a line, in the order in which people see them; # begins a comment. For the line "prefix_tuning" it adds the
# source FOLDER/prefix_tuning.cpp to TARGET, and the function `TYPE prefixTuningSUFFIX();` that this source defines to the list that
# `std::vector<TYPE> listOfSUFFIXs();` (of Family: listOfFamilies) returns. "p_tuning_v2 in prefix_tuning" says that the leaf stands in another leaf's source. "ia3 together" lets the source be
# compiled in one piece with its neighbours, which is faster and asks that no two have a function of one name; without it a leaf is compiled by itself.
# HEADER declares TYPE and listOfSUFFIXs(), in NAMESPACE (luthier unless given).
function(luthier_registry target folder type suffix header)
  set(_namespace luthier)
  if(ARGC GREATER 5)
    set(_namespace ${ARGV5})
  endif()
  set(_list ${CMAKE_CURRENT_SOURCE_DIR}/${folder}.list)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${_list})
  file(STRINGS ${_list} _lines)
  set(_declared "")
  set(_listed "")
  set(_sources "")
  foreach(_line ${_lines})
    string(REGEX REPLACE "#.*" "" _line "${_line}")
    string(STRIP "${_line}" _line)
    if(_line STREQUAL "")
      continue()
    endif()
    string(REGEX REPLACE "[ \t]+" ";" _words "${_line}")
    list(GET _words 0 _leaf)
    set(_source ${_leaf})
    list(FIND _words in _in)
    if(_in GREATER 0)
      math(EXPR _in "${_in} + 1")
      list(GET _words ${_in} _source)
    elseif(NOT together IN_LIST _words)
      set_source_files_properties(${folder}/${_source}.cpp PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
    string(REGEX MATCHALL "_[a-z0-9]" _seams "${_leaf}")
    set(_name "${_leaf}")
    foreach(_seam ${_seams})
      string(SUBSTRING ${_seam} 1 1 _letter)
      string(TOUPPER ${_letter} _letter)
      string(REPLACE "${_seam}" "${_letter}" _name "${_name}")
    endforeach()
    string(APPEND _declared "${type} ${_name}${suffix}();\n")
    string(APPEND _listed "        ${_name}${suffix}(),\n")
    list(APPEND _sources ${folder}/${_source}.cpp)
  endforeach()
  list(REMOVE_DUPLICATES _sources)
  string(REGEX REPLACE "y$" "ie" _plural "${suffix}")
  string(MAKE_C_IDENTIFIER "${folder}" _file)
  set(_made ${CMAKE_CURRENT_BINARY_DIR}/registry/${_file}.cpp)
  file(CONFIGURE OUTPUT ${_made} @ONLY CONTENT [[
// Made from @folder@.list by luthier_registry() in packaging/cmake/LuthierRegistry.cmake.
#include "@header@"

namespace @_namespace@ {

@_declared@
std::vector<@type@> listOf@_plural@s() {
    return {
@_listed@    };
}

}  // namespace @_namespace@
]])
  target_sources(${target} PRIVATE ${_sources} ${_made})
endfunction()
