# What the build needs, and what it says when something optional is absent.
find_package(FLEX 2.6 REQUIRED)
find_package(BISON 3.8 REQUIRED)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.14)

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
