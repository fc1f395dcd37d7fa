# tree-sitter's runtime with the Python grammar, as target `tree_sitter_python`.
#
# Both come from their pinned source packages, fetched with pip once, checked against their hashes
# and kept in QUOIN_GRAMMAR_CACHE, so that every later configuration works offline. The runtime is
# not Debian's libtree-sitter 0.20.7: that one corrupts the heap on a node with more than 65,535
# children, which any long enough line of unclosed brackets makes. Both agree on ABI 14.
set(QUOIN_GRAMMAR_CACHE ${PROJECT_SOURCE_DIR}/.cache/tree-sitter CACHE PATH
    "Where the fetched tree-sitter grammar is kept")
set(grammar_version 0.23.6)
set(grammar_hash 354bfa0a2f9217431764a631516f85173e9711af2c13dbd796a8815acfe505d9)
set(runtime_version 0.23.2)
set(runtime_hash 66bae8dd47f1fed7bdef816115146d3a41c39b5c482d7bad36d9ba1def088450)

set(grammar_archive ${QUOIN_GRAMMAR_CACHE}/tree_sitter_python-${grammar_version}.tar.gz)
set(runtime_archive ${QUOIN_GRAMMAR_CACHE}/tree-sitter-${runtime_version}.tar.gz)

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
quoin_fetch_source_package(${runtime_archive} "tree-sitter==${runtime_version}" ${runtime_hash})

set(unpacked ${CMAKE_CURRENT_BINARY_DIR}/tree_sitter)
set(grammar ${unpacked}/tree_sitter_python-${grammar_version}/src)
set(runtime ${unpacked}/tree-sitter-${runtime_version}/tree_sitter/core/lib)
if(NOT EXISTS ${grammar}/parser.c OR NOT EXISTS ${runtime}/src/lib.c)
  file(ARCHIVE_EXTRACT INPUT ${grammar_archive} DESTINATION ${unpacked})
  file(ARCHIVE_EXTRACT INPUT ${runtime_archive} DESTINATION ${unpacked})
endif()
# The grammar's package lacks the headers that its sources include as "tree_sitter/<header>.h".
foreach(header alloc array parser ts_assert)
  configure_file(${runtime}/src/${header}.h ${unpacked}/include/tree_sitter/${header}.h COPYONLY)
endforeach()

add_library(tree_sitter_python STATIC ${grammar}/parser.c ${grammar}/scanner.c ${runtime}/src/lib.c)
# Other people's code, no warning of ours. The tables of parser.c, 130,000 lines, are no work for
# an optimiser.
target_compile_options(tree_sitter_python PRIVATE -w)
set_source_files_properties(${grammar}/parser.c PROPERTIES COMPILE_OPTIONS -O1)
set_source_files_properties(${runtime}/src/lib.c PROPERTIES
                            COMPILE_OPTIONS "-O2;-D_POSIX_C_SOURCE=200112L;-D_DEFAULT_SOURCE")
target_include_directories(tree_sitter_python
  PRIVATE ${unpacked}/include ${runtime}/src
  SYSTEM INTERFACE ${runtime}/include
  PRIVATE ${runtime}/include)
