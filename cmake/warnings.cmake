# Flags that every target of the project shares.
add_library(moqa_flags INTERFACE)
target_compile_definitions(moqa_flags INTERFACE _GNU_SOURCE)
target_include_directories(moqa_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(moqa_flags INTERFACE
  -Wall -Wextra -Wshadow -Wpointer-arith
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes> $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes>
  -Wvla -Wundef -Wformat=2 -Wwrite-strings
  -fno-math-errno -ffp-contract=off -fno-strict-aliasing)
# -ffp-contract=off: the same operations on every machine, so that a plan gives the same bytes.
if(MOQA_WERROR)
  target_compile_options(moqa_flags INTERFACE -Werror)
endif()
if(MOQA_SANITIZE)
  target_compile_options(moqa_flags INTERFACE -fsanitize=${MOQA_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -O1)
  target_link_options(moqa_flags INTERFACE -fsanitize=${MOQA_SANITIZE})
endif()
if(MOQA_COVERAGE)
  target_compile_options(moqa_flags INTERFACE --coverage -O1)
  target_compile_definitions(moqa_flags INTERFACE MOQA_COVERAGE)
  target_link_options(moqa_flags INTERFACE --coverage)
endif()
