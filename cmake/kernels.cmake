# Kernel images: every cuda/kernels/*.cu becomes PTX once, and that an image for every architecture asked for, in kernels/
# beside the addon. Reader: someone who adds an architecture, or wonders why there are no images. No CUDA language of
# CMake's: the toolkit's programs are only run as commands, and what they make is never linked.

set(TILEWISE_CUDA AUTO CACHE STRING "Kernel images: AUTO (when there is nvcc), ON (fail without it) or OFF")
# What `npm test` builds: PTX, which every GPU from Ampere on runs once its driver has compiled it, and machine code for the
# GPUs of this machine, mostly none. Machine code for all of them takes several times as long; CI builds two, prebuilds all.
set(TILEWISE_CUDA_ARCHS NATIVE CACHE STRING
    "Architectures as CMAKE_CUDA_ARCHITECTURES names them (80, 90a, and 80-virtual for PTX), NATIVE or ALL")
# 8.9 runs the code of 86, which is what ptxas makes for 89, byte for byte.
set(TILEWISE_ALL_CUDA_ARCHS 80 86 90a 100 120 80-virtual)

# PTX, and the architectures of this machine's GPUs.
function(tilewise_native_archs result)
  set(architectures 80-virtual)
  find_program(TILEWISE_NVIDIA_SMI nvidia-smi)
  if(TILEWISE_NVIDIA_SMI)
    execute_process(COMMAND ${TILEWISE_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
                    OUTPUT_VARIABLE capabilities ERROR_QUIET)
    string(REGEX MATCHALL "[0-9]+\\.[0-9]" capabilities "${capabilities}")
    list(REMOVE_DUPLICATES capabilities)
    foreach(capability ${capabilities})
      string(REPLACE "." "" capability ${capability})
      string(REGEX REPLACE "^90$" "90a" capability ${capability})
      list(APPEND architectures ${capability})
    endforeach()
  endif()
  set(${result} ${architectures} PARENT_SCOPE)
endfunction()

# Adds the images of the sources in `folder` to target `target`. A source <name>_sm90a.cu uses what that architecture alone
# has: it gets an image for it and for no other.
function(tilewise_add_kernels target folder)
  if(NOT TILEWISE_CUDA MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "TILEWISE_CUDA must be AUTO, ON or OFF, not ${TILEWISE_CUDA}")
  endif()
  if(TILEWISE_CUDA STREQUAL "OFF")
    return()
  endif()
  find_program(TILEWISE_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(NOT TILEWISE_NVCC)
    if(TILEWISE_CUDA STREQUAL "ON")
      message(FATAL_ERROR "TILEWISE_CUDA is ON and there is no nvcc: install the CUDA toolkit or set CUDA_HOME")
    endif()
    message(NOTICE "no nvcc: building without kernel images, so device 'cuda' will not be available")
    return()
  endif()
  # Of the same toolkit, also where nvcc is a link into it.
  get_filename_component(beside ${TILEWISE_NVCC} DIRECTORY)
  get_filename_component(real ${TILEWISE_NVCC} REALPATH)
  get_filename_component(real ${real} DIRECTORY)
  foreach(tool ptxas fatbinary)
    find_program(${tool} ${tool} HINTS ${beside} ${real} ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin
                 NO_CACHE REQUIRED)
  endforeach()

  set(architectures ${TILEWISE_CUDA_ARCHS})
  if(architectures STREQUAL "ALL")
    set(architectures ${TILEWISE_ALL_CUDA_ARCHS})
  elseif(architectures STREQUAL "NATIVE")
    tilewise_native_archs(architectures)
  endif()
  foreach(architecture ${architectures})
    if(NOT architecture MATCHES "^([0-9]+a?|80-virtual)$")
      message(FATAL_ERROR "TILEWISE_CUDA_ARCHS has ${architecture}; what it takes are names like 80 and 90a, and 80-virtual")
    endif()
  endforeach()

  set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/kernel-image.cmake)
  set(work ${CMAKE_CURRENT_BINARY_DIR}/kernel-ptx)
  set(logs ${CMAKE_CURRENT_BINARY_DIR}/kernel-logs)
  file(MAKE_DIRECTORY ${work})
  set(images)
  set(records)
  foreach(source ${ARGN})
    get_filename_component(source ${source} ABSOLUTE)
    get_filename_component(module ${source} NAME_WE)
    set(virtual 80)
    set(own ${architectures})
    if(module MATCHES "_sm([0-9]+a)$")
      set(virtual ${CMAKE_MATCH_1})
      list(FILTER own INCLUDE REGEX "^${virtual}$")
    endif()
    # Once: it takes as long as the machine code of one architecture.
    set(ptx ${work}/${module}.ptx)
    add_custom_command(
      OUTPUT ${ptx}
      COMMAND ${TILEWISE_NVCC} -std=c++17 -ptx -lineinfo -arch=compute_${virtual} -MD -MF ${ptx}.d -MT ${ptx} -o ${ptx} ${source}
      DEPENDS ${source} ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
      DEPFILE ${ptx}.d
      COMMENT "Compiling kernels of ${module}"
      VERBATIM)
    foreach(architecture ${own})
      if(architecture MATCHES "^([0-9]+)-virtual$")
        set(image ${module}.compute_${CMAKE_MATCH_1})
      else()
        set(image ${module}.sm_${architecture})
      endif()
      add_custom_command(
        OUTPUT ${folder}/${image}.fatbin
        COMMAND ${CMAKE_COMMAND} -D PTXAS=${ptxas} -D FATBINARY=${fatbinary} -D PTX=${ptx}
                -D IMAGE=${folder}/${image}.fatbin -D LOG=${logs}/${image}.log -P ${script}
        DEPENDS ${ptx} ${script}
        COMMENT "Building kernel image ${image}.fatbin"
        VERBATIM)
      list(APPEND images ${folder}/${image}.fatbin)
      list(APPEND records ${logs}/${image}.log ${logs}/${image}.cubin)
    endforeach()
  endforeach()

  # What earlier configurations have built would be shipped, run and judged along with the rest.
  file(GLOB present ${folder}/* ${logs}/*)
  list(REMOVE_ITEM present ${images} ${records} "")
  if(present)
    file(REMOVE ${present})
  endif()
  add_custom_target(${target} ALL DEPENDS ${images})
endfunction()
