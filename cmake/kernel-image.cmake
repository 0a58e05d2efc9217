# One kernel image: PTX becomes machine code of one architecture, or stays PTX, and is packed for the driver, which unpacks it
# itself. Machine code passes a gate first: no spilled register, no stack, no warning of ptxas about code that it had to
# make slower (C75xx). What ptxas says of each kernel stays in a log, from which scripts/kernel-report.mjs makes its table,
# and the machine code beside it, which scripts/launch-limits.mjs reads.
# Reader: someone whose kernel does not build. A script, for builds and CI alike:
#   cmake -D PTXAS=<ptxas> -D FATBINARY=<fatbinary> -D PTX=<file> -D IMAGE=<module>.sm_80.fatbin or .compute_80.fatbin
#         -D LOG=<file> -P kernel-image.cmake

get_filename_component(name ${IMAGE} NAME)
get_filename_component(folder ${IMAGE} DIRECTORY)
get_filename_component(logs ${LOG} DIRECTORY)
file(MAKE_DIRECTORY ${folder} ${logs})
cmake_path(REPLACE_EXTENSION LOG LAST_ONLY cubin OUTPUT_VARIABLE cubin)

# Without the lines of the sources, which tests want (emulator/ptx): ptxas would put them and the text into an image, which
# doubles it. What is left is what nvcc writes without -lineinfo.
set(bare ${LOG}.ptx)
file(READ ${PTX} text)
string(REGEX REPLACE "\n\t\\.(loc|file)[ \t][^\n]*" "" text "${text}")
string(REGEX REPLACE "\n\t\\.section\t\\.debug_str.*" "\n" text "${text}")
file(WRITE ${bare} "${text}")

macro(refuse why)
  file(REMOVE ${IMAGE} ${cubin} ${bare})
  message(FATAL_ERROR "${name}: ${why}")
endmacro()

if(name MATCHES "\\.compute_([0-9]+)\\.fatbin$")
  set(packed kind=ptx,sm=${CMAKE_MATCH_1},file=${bare})
elseif(name MATCHES "\\.sm_([0-9]+a?)\\.fatbin$")
  set(packed kind=elf,sm=${CMAKE_MATCH_1},file=${cubin})
  execute_process(COMMAND ${PTXAS} -v -arch=sm_${CMAKE_MATCH_1} -o ${cubin} ${bare}
    RESULT_VARIABLE status OUTPUT_VARIABLE log ERROR_VARIABLE log)
  file(WRITE ${LOG} "${log}")
  if(NOT status EQUAL 0)
    refuse("ptxas failed:\n${log}")
  endif()
  if(log MATCHES "warning")
    message(WARNING "${name}:\n${log}")
  endif()
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
    refuse("there is no kernel in ${PTX}")
  endif()
else()
  message(FATAL_ERROR "${name} does not say an architecture")
endif()

execute_process(COMMAND ${FATBINARY} --create=${IMAGE} --compress-mode=size --image3=${packed}
  RESULT_VARIABLE status OUTPUT_VARIABLE log ERROR_VARIABLE log)
if(NOT status EQUAL 0)
  refuse("fatbinary failed:\n${log}")
endif()
file(REMOVE ${bare})
