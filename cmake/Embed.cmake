# Writes OUT, a C file with the text of each of FILES:
#     const LibraryText library_texts[] = { {"nn", "...", size}, ..., {0} };
# Text goes in as integer arrays: a string literal has a length limit in C.
set(body "")
set(rows "")
set(i 0)
foreach(f IN LISTS FILES)
  get_filename_component(name ${f} NAME_WE)
  file(READ ${f} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
         "\\1\n" bytes "${bytes}")
  string(APPEND body "static const char text_${i}[] = {\n${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", text_${i}, ${size}},\n")
  math(EXPR i "${i} + 1")
endforeach()
file(WRITE ${OUT}.new
"/* Generated from stdlib/. */
#include \"library.h\"

${body}
const LibraryText library_texts[] = {
${rows}    {0, 0, 0},
};
")
execute_process(COMMAND ${CMAKE_COMMAND} -E copy_if_different ${OUT}.new ${OUT})
file(REMOVE ${OUT}.new)
