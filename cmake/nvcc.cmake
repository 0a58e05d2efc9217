# One run of nvcc, and the gate that every image passes: no spilled register, no stack, no warning of ptxas about code that
# it had to make slower (C75xx). What ptxas says of each kernel stays in a log, from which scripts/kernel-report.mjs makes
# its table. Reader: someone whose kernel does not build. A script, for builds and CI alike:
#   cmake -D NVCC=<nvcc> -D SOURCE=<.cu> -D IMAGE=<module>.sm_80.cubin or .compute_80.ptx -D LOG=<file> -P nvcc.cmake

get_filename_component(name ${IMAGE} NAME)
get_filename_component(folder ${IMAGE} DIRECTORY)
get_filename_component(logs ${LOG} DIRECTORY)
file(MAKE_DIRECTORY ${folder} ${logs})
# sm_90a code needs compute_90a beside it, and no PTX of its own.
if(name MATCHES "\\.sm_([0-9]+a?)\\.cubin$")
  set(flags --cubin -gencode=arch=compute_${CMAKE_MATCH_1},code=sm_${CMAKE_MATCH_1} -Xptxas=-v)
elseif(name MATCHES "\\.compute_([0-9]+a?)\\.ptx$")
  set(flags --ptx -gencode=arch=compute_${CMAKE_MATCH_1},code=compute_${CMAKE_MATCH_1})
else()
  message(FATAL_ERROR "${name} does not say an architecture")
endif()

execute_process(
  COMMAND ${NVCC} -std=c++17 ${flags} -MD -MF ${LOG}.d -MT ${IMAGE} -o ${IMAGE} ${SOURCE}
  RESULT_VARIABLE status OUTPUT_VARIABLE log ERROR_VARIABLE log)
file(WRITE ${LOG}.log "${log}")

macro(refuse why)
  file(REMOVE ${IMAGE})
  message(FATAL_ERROR "${name}: ${why}")
endmacro()

if(NOT status EQUAL 0)
  refuse("nvcc failed:\n${log}")
endif()
if(log MATCHES "warning")
  message(WARNING "${name}:\n${log}")
endif()
if(name MATCHES "cubin$")
  string(REGEX MATCHALL
    "Function properties for [^\n]+\n[^\n]*[^0-9\n][1-9][0-9]* bytes (stack frame|spill stores|spill loads)[^\n]*" spills "${log}")
  if(spills)
    string(REPLACE ";" "\n" spills "${spills}")
    refuse("kernels must not spill registers nor use a stack:\n${spills}")
  endif()
  string(REGEX MATCHALL "[^\n]*C75[0-9][0-9][^\n]*" slowed "${log}")
  if(slowed)
    string(REPLACE ";" "\n" slowed "${slowed}")
    refuse("ptxas had to make code slower:\n${slowed}")
  endif()
  if(NOT log MATCHES "Compiling entry function")
    refuse("there is no kernel in ${SOURCE}")
  endif()
endif()
