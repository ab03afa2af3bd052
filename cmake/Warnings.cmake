# The one list of compiler flags.  titan_library(NAME SOURCES...) and
# titan_program(NAME SOURCES...) apply it.
set(TITAN_C_FLAGS
  -std=c17 -Wall -Wextra -Wpedantic -Werror -Wshadow -Wstrict-prototypes
  -Wmissing-prototypes -Wold-style-definition -Wconversion
  -Wno-sign-conversion -Wvla -Wundef -Wwrite-strings -Wpointer-arith
  -Wcast-qual -Wformat=2 -Wimplicit-fallthrough -fno-strict-aliasing
  -ffp-contract=off)
# Training programs are linked by titanc, with the same runtime.
set(TITAN_LINK_FLAGS "")
if(TITAN_SANITIZE STREQUAL "thread")
  set(TITAN_LINK_FLAGS -fsanitize=thread)
  # of a clang that warns of more than those that the warnings are held to
  list(APPEND TITAN_C_FLAGS -Wno-error)
elseif(TITAN_SANITIZE)
  list(APPEND TITAN_C_FLAGS -fno-sanitize-recover=undefined)
  set(TITAN_LINK_FLAGS -fsanitize=address,undefined)
endif()
if(TITAN_SANITIZE)
  list(APPEND TITAN_C_FLAGS ${TITAN_LINK_FLAGS} -fno-omit-frame-pointer)
  add_link_options(${TITAN_LINK_FLAGS})
endif()
if(TITAN_PURIFY)
  add_compile_definitions(TITAN_PURIFY)
endif()

function(titan_flags target)
  target_compile_options(${target} PRIVATE ${TITAN_C_FLAGS})
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
endfunction()

function(titan_library name)
  add_library(${name} STATIC ${ARGN})
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  titan_flags(${name})
endfunction()

function(titan_program name)
  add_executable(${name} ${ARGN})
  titan_flags(${name})
endfunction()
