#!/usr/bin/env bash
# The pictures in docs/screens are those of the program as it is.
. "$(dirname "$0")/../cli/common.bash"
root=$(cd "$(dirname "$0")/../.." && pwd)
mkdir "$work/screens"
check 'the pictures can be made' bash "$root/docs/screens/make.sh" "$MOQA" "$work/screens"
for picture in "$work"/screens/*.svg; do
    name=$(basename "$picture")
    check "docs/screens/$name is up to date; docs/screens/make.sh makes it again" \
        cmp -s "$picture" "$root/docs/screens/$name"
    check "$name is well-formed" grep -q '^</svg>$' "$picture"
done
check 'there are no others' [ "$(ls "$work/screens" | wc -l)" = "$(ls "$root"/docs/screens/*.svg | wc -l)" ]
finish
