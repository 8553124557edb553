#!/usr/bin/env bash
# Keys in, screen out, through the program itself: every screen at four sizes, and at one of them
# in every depth of colour and glyph set, against the files in golden/. MOQA_UPDATE_PICTURES=1
# writes them anew: look at the difference before it is committed.
. "$(dirname "$0")/../cli/common.bash"
golden=$(cd "$(dirname "$0")" && pwd)/golden
cd "$work" || exit 1
cp "$TEST_SAMPLE/trace.h5" sample.h5

# The state of each screen that has most to show, and what lies over a screen.
screens=(1 "1 Down*3 Up" 2 "2 >" 3 "3 ] ] L" "4" "4 a e" "5 p > p" "5 A [ H B" 6 7
    "5 ?" "3 Enter '0.4'" "3 / '2.17'" "5 p q"
    "5 A > p p c" "3 / 'L2 E17' Enter" "1 / 'the' Enter" "1 / 'the' Enter Enter ]")

# picture ENDING SIZE LOOK: all screens in one file, each under its keys.
picture() {
    local keys
    for keys in "${screens[@]}"; do
        "$MOQA" open sample.h5 --model "$sample_model" --group-size 64 --size "$2" --look "$3" \
            --keys "$keys" --picture "screen.$1" || return 1
        printf '=== %s\n' "$keys"
        cat "screen.$1"
    done
}

compare() {
    local name=$1
    shift
    picture "$@" >"$work/$name"
    if [ -n "${MOQA_UPDATE_PICTURES:-}" ]; then
        cp "$work/$name" "$golden/$name"
    elif ! cmp -s "$work/$name" "$golden/$name"; then
        echo "$name differs (MOQA_UPDATE_PICTURES=1 bash tests/screens/test_golden_screens.sh takes it over):"
        diff "$golden/$name" "$work/$name" | head -n 20
        return 1
    fi
}

for size in 40x10 80x24 120x40; do
    check "screens at $size" compare "$size.txt" txt "$size" dark,256,braille
done
check 'in ASCII' compare 80x24-ascii.txt txt 80x24 mono,0,ascii
check 'in blocks' compare 80x24-block.txt txt 80x24 dark,16,block
screens=(1 2 3 4 5 6 7)
check 'screens at 200x60' compare 200x60.txt txt 200x60 dark,256,braille
screens=(1 2 3 4 5 6)
check 'in 256 colours' compare 80x24-256.ansi ansi 80x24 dark,256,braille
check 'in 256 colours on a light background' compare 80x24-light.ansi ansi 80x24 light,256,braille
check 'in 8 colours' compare 80x24-8.ansi ansi 80x24 dark,8,braille
check 'without colours' compare 80x24-0.ansi ansi 80x24 mono,0,block
finish
