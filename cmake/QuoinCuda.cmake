# The CUDA backends, their checks and their benchmark. Off unless asked for; without a CUDA toolkit
# the build says so and goes on. docs/sm90a.md.
option(QUOIN_CUDA "Build the CUDA backends (needs CUDA 13)" OFF)
set(QUOIN_HAS_CUDA OFF)
if(QUOIN_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    message(STATUS "QUOIN_CUDA: no CUDA compiler found, the CUDA backends are left out")
  else()
    set(QUOIN_HAS_CUDA ON)
  endif()
endif()
if(NOT QUOIN_HAS_CUDA)
  target_sources(quoin PRIVATE ${PROJECT_SOURCE_DIR}/src/linear/gpu_none.cpp)
  return()
endif()
set(CMAKE_CUDA_ARCHITECTURES 90-real)  # each target says its own
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know nvcc 13's
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
find_package(CUDAToolkit REQUIRED)

set(cuda ${PROJECT_SOURCE_DIR}/src/linear/kernels/cuda)

# sm_90a code runs on Hopper alone; everything else also as PTX, for cards that come later.
add_library(quoin_sm90a OBJECT ${cuda}/sm90a_decode.cu ${cuda}/sm90a_large.cu
                               ${cuda}/sm90a_launch.cu ${cuda}/sm90a_middle.cu)
set_target_properties(quoin_sm90a PROPERTIES CUDA_ARCHITECTURES 90a-real)
add_library(quoin_any_gpu OBJECT ${cuda}/any_shape.cu ${cuda}/sm80.cu
                                 ${PROJECT_SOURCE_DIR}/src/linear/quantize/cuda.cu)
set_target_properties(quoin_any_gpu PROPERTIES
                      CUDA_ARCHITECTURES "80-real;86-real;89-real;90-real;80-virtual")
foreach(target quoin_sm90a quoin_any_gpu)
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/src
                                               ${PROJECT_SOURCE_DIR}/include)
endforeach()
target_sources(quoin PRIVATE ${PROJECT_SOURCE_DIR}/src/linear/gpu_cuda.cpp
                             ${PROJECT_SOURCE_DIR}/src/linear/gpu_device.cpp
                             $<TARGET_OBJECTS:quoin_sm90a> $<TARGET_OBJECTS:quoin_any_gpu>)
set_target_properties(quoin PROPERTIES CUDA_ARCHITECTURES 90-real)
target_include_directories(quoin SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(quoin PRIVATE CUDA::cudart_static)

# Built on demand: they need a GPU to run.
foreach(check check quantize_check)
  add_executable(quoin_cuda_${check} EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/tests/cuda/${check}.cu)
endforeach()
# QUOIN_CUTLASS: CUTLASS's include/ and tools/ are in it; then it is a peer (minutes to compile).
set(QUOIN_CUTLASS "" CACHE PATH "CUTLASS's sources, to compare with")
if(QUOIN_CUTLASS)
  add_executable(quoin_cuda_bench EXCLUDE_FROM_ALL
                 ${PROJECT_SOURCE_DIR}/bench/cuda/bench.cu
                 ${PROJECT_SOURCE_DIR}/bench/cuda/cutlass_list.cu)
  foreach(part RANGE 8)  # a library each, so that they compile side by side
    add_library(quoin_cutlass_${part} OBJECT EXCLUDE_FROM_ALL
                ${PROJECT_SOURCE_DIR}/bench/cuda/cutlass_peers.cu)
    target_compile_definitions(quoin_cutlass_${part} PRIVATE NDEBUG CUTLASS_ENABLE_GDC_FOR_SM90
                                                             CUTLASS_PART=${part})
    target_compile_options(quoin_cutlass_${part} PRIVATE --expt-relaxed-constexpr)
    set_target_properties(quoin_cutlass_${part} PROPERTIES CUDA_ARCHITECTURES 90a-real
                                                           CUDA_STANDARD 20)
    target_include_directories(
      quoin_cutlass_${part} PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include
                                    ${QUOIN_CUTLASS}/include ${QUOIN_CUTLASS}/tools/util/include)
    target_sources(quoin_cuda_bench PRIVATE $<TARGET_OBJECTS:quoin_cutlass_${part}>)
  endforeach()
else()
  add_executable(quoin_cuda_bench EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/bench/cuda/bench.cu
                                                   ${PROJECT_SOURCE_DIR}/bench/cuda/no_peers.cu)
endif()
foreach(program floor host_cost)
  add_executable(quoin_cuda_${program} EXCLUDE_FROM_ALL
                 ${PROJECT_SOURCE_DIR}/bench/cuda/${program}.cu)
endforeach()
foreach(program check quantize_check bench floor host_cost)
  set_target_properties(quoin_cuda_${program} PROPERTIES CUDA_ARCHITECTURES 90a-real
                                                         CUDA_STANDARD 20)
  target_include_directories(quoin_cuda_${program} PRIVATE ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(quoin_cuda_${program} PRIVATE quoin CUDA::cudart_static)
endforeach()
