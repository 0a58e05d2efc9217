# Kernel images: every cuda/kernels/*.cu compiled by nvcc for every architecture asked for, into kernels/ beside the addon.
# Reader: someone who adds an architecture, or wonders why there are no images. No CUDA language of CMake's: nvcc is only
# run as a command, and what it makes is never linked.

set(TILEWISE_CUDA AUTO CACHE STRING "Kernel images: AUTO (when there is nvcc), ON (fail without it) or OFF")
# What `npm test` builds: PTX, which every GPU from Ampere on runs once its driver has compiled it, and machine code for the
# GPUs of this machine, mostly none. Machine code for all of them takes several times as long; CI builds two, prebuilds all.
set(TILEWISE_CUDA_ARCHS NATIVE CACHE STRING
    "Architectures as CMAKE_CUDA_ARCHITECTURES names them (80, 90a, 80-virtual for PTX), NATIVE or ALL")
set(TILEWISE_ALL_CUDA_ARCHS 80 86 89 90a 100 120 80-virtual)

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

# Adds the command that makes `image` of `source`, in `folder`.
function(tilewise_add_kernel folder image source)
  set(log ${CMAKE_CURRENT_BINARY_DIR}/kernel-logs/${image})
  set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/nvcc.cmake)
  add_custom_command(
    OUTPUT ${folder}/${image}
    COMMAND ${CMAKE_COMMAND} -D NVCC=${TILEWISE_NVCC} -D SOURCE=${source} -D IMAGE=${folder}/${image} -D LOG=${log} -P ${script}
    DEPENDS ${source} ${script}
    DEPFILE ${log}.d
    COMMENT "Building kernel image ${image}"
    VERBATIM)
endfunction()

# Adds the images of the sources to target `target`, in `folder`.
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
  elseif(architectures STREQUAL "NATIVE")
    tilewise_native_archs(architectures)
  endif()
  set(images)
  foreach(source ${ARGN})
    get_filename_component(source ${source} ABSOLUTE)
    get_filename_component(module ${source} NAME_WE)
    # Kernels are the same for all architectures without an `a`: the compiler proper, a good third of the time, runs once.
    set(common ${CMAKE_CURRENT_BINARY_DIR}/kernel-ptx)
    tilewise_add_kernel(${common} ${module}.compute_80.ptx ${source})
    foreach(architecture ${architectures})
      if(architecture STREQUAL "80-virtual")
        set(image ${module}.compute_80.ptx)
        add_custom_command(
          OUTPUT ${folder}/${image}
          COMMAND ${CMAKE_COMMAND} -E copy ${common}/${image} ${folder}/${image}
          DEPENDS ${common}/${image}
          VERBATIM)
      elseif(architecture MATCHES "^[0-9]+$")
        set(image ${module}.sm_${architecture}.cubin)
        tilewise_add_kernel(${folder} ${image} ${common}/${module}.compute_80.ptx)
      elseif(architecture MATCHES "^[0-9]+a$")
        set(image ${module}.sm_${architecture}.cubin)
        tilewise_add_kernel(${folder} ${image} ${source})
      else()
        message(FATAL_ERROR "TILEWISE_CUDA_ARCHS has ${architecture}; what it takes are names like 80 and 90a, and 80-virtual")
      endif()
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
