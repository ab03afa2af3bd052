# What the build needs, and what it says when something optional is absent.
find_package(FLEX 2.6 REQUIRED)
find_package(BISON 3.8 REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# The libraries of the runtime: the archive where there is one, so that a
# training program needs no file beside it.  TITAN_LINK_LIBS are the words by
# which titanc links the same, on this machine or another one.
add_library(titan_libraries INTERFACE)
set(TITAN_LINK_LIBS "")
function(titan_use package version name debian)
  pkg_check_modules(${package} QUIET ${package}>=${version})
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "${package} ${version} was not found: install Debian's"
      " ${debian} (./tools/setup installs everything)")
  endif()
  find_library(ARCHIVE_${name} NAMES lib${name}.a
    HINTS ${${package}_LIBRARY_DIRS})
  mark_as_advanced(ARCHIVE_${name})
  if(ARCHIVE_${name})
    set(word "-l:lib${name}.a")
    target_link_libraries(titan_libraries INTERFACE ${ARCHIVE_${name}})
  else()
    set(word "-l${name}")
    find_library(LIBRARY_${name} NAMES ${name} REQUIRED
      HINTS ${${package}_LIBRARY_DIRS})
    target_link_libraries(titan_libraries INTERFACE ${LIBRARY_${name}})
  endif()
  target_include_directories(titan_libraries SYSTEM INTERFACE
    ${${package}_INCLUDE_DIRS})
  set(TITAN_LINK_LIBS "${TITAN_LINK_LIBS} ${word}" PARENT_SCOPE)
endfunction()
titan_use(jansson 2.14 jansson libjansson-dev)
# utf8proc 2.8 calls itself 2.6 there
titan_use(libutf8proc 2.6 utf8proc libutf8proc-dev)
titan_use(libpcre2-8 10.42 pcre2-8 libpcre2-dev)
titan_use(zlib 1.2.13 z zlib1g-dev)
titan_use(libzstd 1.5.4 zstd libzstd-dev)
string(STRIP "${TITAN_LINK_LIBS} -lpthread -ldl -lm" TITAN_LINK_LIBS)

find_program(LLVM_CONFIG NAMES llvm-config-22 REQUIRED)
execute_process(COMMAND ${LLVM_CONFIG} --includedir
  OUTPUT_VARIABLE LLVM_INCLUDE_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --libdir
  OUTPUT_VARIABLE LLVM_LIBRARY_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${LLVM_CONFIG} --bindir
  OUTPUT_VARIABLE LLVM_BINARY_DIR OUTPUT_STRIP_TRAILING_WHITESPACE)
add_library(titan_llvm INTERFACE)
target_include_directories(titan_llvm SYSTEM INTERFACE ${LLVM_INCLUDE_DIR})
target_link_directories(titan_llvm INTERFACE ${LLVM_LIBRARY_DIR})
target_link_libraries(titan_llvm INTERFACE LLVM-22)

pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)
find_program(PTXAS NAMES ptxas HINTS /usr/local/cuda/bin)
if(PTXAS)
  message(STATUS "ptxas: ${PTXAS}")
else()
  message(STATUS "ptxas: not found; PTX is emitted but not assembled in the tests")
endif()

find_program(MPIRUN mpirun)
if(NOT MPIRUN)
  message(STATUS "mpirun: not found; tests of ranks under mpirun are left out (tools/setup --mpi)")
endif()
