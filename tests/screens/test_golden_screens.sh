#!/usr/bin/env bash
# Keys in, screen out, through the program itself, against the files in golden/: every screen at
# four sizes in every depth of colour and glyph set, and at some of them what lies over a screen.
# MOQA_UPDATE_PICTURES=1 writes them anew: look at the difference before it is committed.
. "$(dirname "$0")/../cli/common.bash"
golden=$(cd "$(dirname "$0")" && pwd)/golden
cd "$work" || exit 1
cp "$TEST_SAMPLE/trace.h5" sample.h5
open() { "$MOQA" open sample.h5 --model "$sample_model" --group-size 64 "$@"; }

# same NAME: the file of that name here is the one in golden/.
same() {
    if [ -n "${MOQA_UPDATE_PICTURES:-}" ]; then
        cp "$1" "$golden/$1"
    elif ! cmp -s "$1" "$golden/$1"; then
        echo "$1 differs (MOQA_UPDATE_PICTURES=1 bash tests/screens/test_golden_screens.sh takes it over):"
        diff "$golden/$1" "$1" | head -n 20
        return 1
    fi
}

# The state of each screen that has most to show, and what lies over a screen.
screens=(1 "1 Down*3 Up" 2 "2 >" 3 "3 ] ] L" "4" "4 a e" "5 p > p" "5 A [ H B" 6 7
    "5 ?" "3 Enter '0.4'" "3 / '2.17'" "5 p q"
    "5 A > p p c" "3 / 'L2 E17' Enter" "1 / 'the' Enter" "1 / 'the' Enter Enter ]")

# states NAME SIZE LOOK: all of them in one file, each under its keys.
states() {
    local keys
    for keys in "${screens[@]}"; do
        open --size "$2" --look "$3" --keys "$keys" --picture screen.txt || return 1
        printf '=== %s\n' "$keys"
        cat screen.txt
    done >"$1"
    same "$1"
}

for size in 40x10 80x24 120x40 200x60; do
    check "states at $size" states "$size.txt" "$size" dark,256,braille
done
check 'states in ASCII' states 80x24-ascii.txt 80x24 mono,0,ascii
check 'states in blocks' states 80x24-block.txt 80x24 dark,16,block

# matrix NAME SIZE LOOK: the seven screens as they open, with their colours.
matrix() {
    local screen keys=
    for screen in 1 2 3 4 5 6 7; do
        keys+="$screen shot:$screen.ansi "
    done
    open --size "$2" --look "$3" --keys "$keys" --picture last.txt || return 1
    for screen in 1 2 3 4 5 6 7; do
        printf '=== %s\n' "$screen"
        cat "$screen.ansi"
    done >"$1"
    same "$1"
}

# plain NAME: without its colours.
plain() { sed 's/\x1b\[[0-9;]*m//g' "$1"; }

for size in 40x10 80x24 120x40 200x60; do
    for depth in 256 8 0; do
        for glyphs in braille ascii; do
            name=$size-$depth-$glyphs.ansi
            theme=dark
            [ "$depth" = 0 ] && theme=mono
            check "all screens at $size, $depth colours, $glyphs" matrix "$name" "$size" "$theme,$depth,$glyphs"
            check "$name keeps within $size" [ "$(plain "$name" | wc -L)" -le "${size%x*}" ]
            check "$name has the rows of $size" [ "$(wc -l <"$name")" = $((7 * (${size#*x} + 1))) ]
            [ "$glyphs" = ascii ] &&
                check "$name is ASCII" [ "$(plain "$name" | LC_ALL=C grep -c '[^ -~]')" = 0 ]
            [ "$depth" = 8 ] && check "$name has the eight colours only" \
                [ "$(grep -cE $'\x1b\\[[0-9;]*[;[](38|48|9[0-9]|10[0-9])[;m]' "$name")" = 0 ]
            [ "$depth" = 0 ] && check "$name has no colours" \
                [ "$(grep -cE $'\x1b\\[[0-9;]*[;[][34][0-9][;m]' "$name")" = 0 ]
        done
    done
    check "colours change no character at $size" \
        cmp <(plain "$size-256-braille.ansi") <(plain "$size-8-braille.ansi")
done
check 'on a light background' matrix 80x24-light.ansi 80x24 light,256,braille
check 'in blocks without colours' matrix 80x24-0-block.ansi 80x24 mono,0,block
finish
