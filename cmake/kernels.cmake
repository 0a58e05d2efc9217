# Kernel images: every cuda/kernels/*.cu compiled by nvcc for every architecture asked for, into kernels/ beside the addon.
# Reader: someone who adds an architecture, or wonders why there are no images. No CUDA language of CMake's: nvcc is only
# run as a command, and what it makes is never linked.

set(TILEWISE_CUDA AUTO CACHE STRING "Kernel images: AUTO (when there is nvcc), ON (fail without it) or OFF")
# What `npm test` builds: machine code for one architecture, so that every change passes ptxas and the gate, and PTX, which
# every GPU from Ampere on runs once its driver has compiled it. All of them take several times as long: prebuilds have them.
set(TILEWISE_CUDA_ARCHS "80;80-virtual" CACHE STRING
    "Architectures as CMAKE_CUDA_ARCHITECTURES names them (80, 90a, 80-virtual for PTX), or ALL")
set(TILEWISE_ALL_CUDA_ARCHS 80 86 89 90a 100 120 80-virtual)

# Adds the images of the sources in `folder` to target `target`.
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

  set(architectures ${TILEWISE_CUDA_ARCHS})
  if(architectures STREQUAL "ALL")
    set(architectures ${TILEWISE_ALL_CUDA_ARCHS})
  endif()
  set(images)
  foreach(source ${ARGN})
    get_filename_component(source ${source} ABSOLUTE)
    get_filename_component(module ${source} NAME_WE)
    foreach(architecture ${architectures})
      if(architecture MATCHES "^([0-9]+a?)-virtual$")
        set(image ${module}.compute_${CMAKE_MATCH_1}.ptx)
      elseif(architecture MATCHES "^[0-9]+a?$")
        set(image ${module}.sm_${architecture}.cubin)
      else()
        message(FATAL_ERROR "TILEWISE_CUDA_ARCHS has ${architecture}; what it takes are names like 80, 90a and 80-virtual")
      endif()
      set(log ${CMAKE_CURRENT_BINARY_DIR}/kernel-logs/${image})
      add_custom_command(
        OUTPUT ${folder}/${image}
        COMMAND ${CMAKE_COMMAND} -D NVCC=${TILEWISE_NVCC} -D SOURCE=${source} -D IMAGE=${folder}/${image} -D LOG=${log}
                -P ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/nvcc.cmake
        DEPENDS ${source} ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/nvcc.cmake
        DEPFILE ${log}.d
        COMMENT "Building kernel image ${image}"
        VERBATIM)
      list(APPEND images ${folder}/${image})
    endforeach()
  endforeach()

  # What earlier configurations have built would be shipped, and run, along with the rest.
  file(GLOB present ${folder}/*.cubin ${folder}/*.ptx)
  list(REMOVE_ITEM present ${images} "")
  if(present)
    file(REMOVE ${present})
  endif()
  add_custom_target(${target} ALL DEPENDS ${images})
endfunction()
