# The Python grammar of tree-sitter as target `tree_sitter_python`, on the distribution's runtime.
#
# The grammar comes from its pinned source package, the few headers that its sources include from
# the source package of tree-sitter itself (the runtime's own copies are too old for it). Both are
# fetched with pip once, checked against their hashes, and kept in QUOIN_GRAMMAR_CACHE, so that
# every later configuration works offline. Grammar and runtime agree on ABI 14.
set(QUOIN_GRAMMAR_CACHE ${PROJECT_SOURCE_DIR}/.cache/tree-sitter CACHE PATH
    "Where the fetched tree-sitter grammar is kept")
set(grammar_version 0.23.6)
set(grammar_hash 354bfa0a2f9217431764a631516f85173e9711af2c13dbd796a8815acfe505d9)
set(headers_version 0.23.2)
set(headers_hash 66bae8dd47f1fed7bdef816115146d3a41c39b5c482d7bad36d9ba1def088450)

set(grammar_archive ${QUOIN_GRAMMAR_CACHE}/tree_sitter_python-${grammar_version}.tar.gz)
set(headers_archive ${QUOIN_GRAMMAR_CACHE}/tree-sitter-${headers_version}.tar.gz)

function(quoin_fetch_source_package archive requirement hash)
  if(EXISTS ${archive})
    file(SHA256 ${archive} found)
    if(found STREQUAL hash)
      return()
    endif()
    file(REMOVE ${archive})
  endif()
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  message(STATUS "Fetching ${requirement}")
  set(requirements ${CMAKE_CURRENT_BINARY_DIR}/grammar_requirements.txt)
  file(WRITE ${requirements} "${requirement} --hash=sha256:${hash}\n")
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -m pip download --quiet --disable-pip-version-check --no-deps
            --no-binary :all: --require-hashes --dest ${QUOIN_GRAMMAR_CACHE} -r ${requirements}
    RESULT_VARIABLE failed ERROR_VARIABLE reason)
  if(failed OR NOT EXISTS ${archive})
    message(FATAL_ERROR "pip could not download ${requirement}, which the architect's parser needs "
                        "(-DQUOIN_ARCHITECT=OFF builds without it):\n${reason}")
  endif()
endfunction()

quoin_fetch_source_package(${grammar_archive} "tree-sitter-python==${grammar_version}"
                           ${grammar_hash})
quoin_fetch_source_package(${headers_archive} "tree-sitter==${headers_version}" ${headers_hash})

set(unpacked ${CMAKE_CURRENT_BINARY_DIR}/tree_sitter)
set(grammar ${unpacked}/tree_sitter_python-${grammar_version}/src)
set(headers ${unpacked}/tree-sitter-${headers_version}/tree_sitter/core/lib/src)
if(NOT EXISTS ${grammar}/parser.c OR NOT EXISTS ${headers}/parser.h)
  file(ARCHIVE_EXTRACT INPUT ${grammar_archive} DESTINATION ${unpacked})
  file(ARCHIVE_EXTRACT INPUT ${headers_archive} DESTINATION ${unpacked})
endif()
foreach(header alloc array parser ts_assert)  # included as "tree_sitter/<header>.h"
  configure_file(${headers}/${header}.h ${unpacked}/include/tree_sitter/${header}.h COPYONLY)
endforeach()

find_path(TREE_SITTER_INCLUDE_DIR tree_sitter/api.h)
find_library(TREE_SITTER_LIBRARY tree-sitter)
if(NOT TREE_SITTER_INCLUDE_DIR OR NOT TREE_SITTER_LIBRARY)
  message(FATAL_ERROR "tree-sitter's runtime is missing: install libtree-sitter-dev, or configure "
                      "with -DQUOIN_ARCHITECT=OFF")
endif()

add_library(tree_sitter_python STATIC ${grammar}/parser.c ${grammar}/scanner.c)
# Generated code: a table of 130,000 lines that no optimiser improves, and no warning of ours.
target_compile_options(tree_sitter_python PRIVATE -O1 -w)
target_include_directories(tree_sitter_python PRIVATE ${unpacked}/include
                           SYSTEM INTERFACE ${TREE_SITTER_INCLUDE_DIR})
target_link_libraries(tree_sitter_python INTERFACE ${TREE_SITTER_LIBRARY})
