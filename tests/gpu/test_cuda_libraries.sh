#!/usr/bin/env bash
# The CUDA module, where it was built, finds cuBLAS by itself: the folder of the toolkit is often known to
# nobody but the compiler.
set -u
module=$(dirname "$MOQA")/libmoqa_cuda.so
if [ ! -e "$module" ]; then
    echo 'skipped: built without CUDA'
    exit 0
fi
dynamic=$(readelf -d "$module")
cublas=$(sed -n 's/.*NEEDED.*\[\(libcublas\.so[^]]*\)\].*/\1/p' <<<"$dynamic")
IFS=: read -ra folders <<<"$(sed -n 's/.*\(RUNPATH\|RPATH\).*\[\(.*\)\].*/\2/p' <<<"$dynamic")"
for folder in "${folders[@]}"; do
    [ -n "$folder" ] && [ -e "$folder/$cublas" ] && exit 0
done
echo "FAILED: $module needs ${cublas:-no cuBLAS} and looks for it in ${folders[*]:-no folder of its own}"
exit 1
