#!/usr/bin/env bash
# The workbench without a terminal: keys in, screens out.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5
cd "$work" || exit 1
open() { "$MOQA" open "$trace" --model "$sample_model" --group-size 64 "$@"; }

expect 'a key chooses a screen' 0 '^experts$|^experts ' open --keys 3
expect 'a typed value is taken' 0 'alpha +0\.35 ' open --keys "3 Enter '0.35' Enter"
expect 'a repeated key counts' 0 'alpha +0\.35 ' open --keys '3 Right*5'
expect 'the mouse clicks' 0 '^ expert +' open --keys 'm click:20,1' --size 120x40
expect 'similarity is waited for' 0 'cosine' open --keys 4
check 'and shown without a word of progress' [ "$(grep -c 'reading the experts' "$work/out")" = 0 ]
expect 'no run is there yet' 0 'No runs yet' open --keys 7
expect 'a dry run is waited for' 0 'y runs it, any other key does not' open --keys x
expect 'a run is waited for' 0 'the run is done: moqa-runs/moqa-' open --keys 'x y wait'
expect 'and listed from then on' 0 '^moqa-[^ ]+ [^ ]+ moqa +2\.9' open --keys 7
expect 'also in the walk that makes it' 0 '^moqa-[^ ]+ ' open --keys '7 5 Left x y wait 7'
check 'as the second one' [ "$(grep -cE '^moqa-[^ ]+ ' "$work/out")" = 2 ]

check 'pictures of one walk' open --keys '1 shot:one.txt size:60x20 2 shot:two.ansi 3' --size 100x30 --picture three.txt
check 'have the sizes that were asked for' [ "$(wc -l <one.txt) $(wc -l <two.ansi) $(wc -l <three.txt)" = '30 20 20' ]
check 'are other screens' [ "$(cmp -s one.txt three.txt && echo same)" = '' ]
check 'have colours where they are wanted' grep -q $'\e\\[0;' two.ansi
open --keys '1 shot:again.txt' --size 100x30 >/dev/null
check 'are the same every time' cmp one.txt again.txt
check 'ASCII has nothing else' [ "$(open --keys '3' --look ascii,0 | LC_ALL=C grep -c '[^ -~]')" = 0 ]

check 'no session is left behind' [ "$(find "$XDG_STATE_HOME" -name 'session*')" = '' ]
expect 'saving needs --session' 0 'sessions are off' open --keys 's'
check 'with it, the session is saved' open --keys 's' --session --picture saved.txt
check 'under the state folder' ls "$XDG_STATE_HOME"/moqa/session-*.json
open --keys 'Right*3 s' --session >/dev/null
check 'and read only when asked' [ "$(open --keys 'e' | grep -c 'session restored')$(open --keys '' --session | grep -c 'session restored')" = 01 ]

expect 'an unknown word' 2 '--keys: word 2 is "rigth", expected a character' open --keys '3 rigth'
expect 'keys after leaving' 2 '--keys: word 1 leaves the workbench, and more follow' open --keys 'q 3'
expect 'an unknown kind of picture' 2 'a.doc: not a kind of picture' open --picture a.doc
expect 'is found before the first step' 2 'b.doc: not a kind of picture' open --keys 'w shot:b.doc'
check 'so that nothing was written' [ ! -e moqa.plan.json ]
expect 'a size without a number' 2 'size: found "80", expected COLUMNSxROWS' open --keys 3 --size 80
expect 'an unknown look' 2 'look: found "blue", expected words of dark, light' open --keys 3 --look mono,blue
expect 'a bad trace' 3 'not an HDF5 file' "$MOQA" open "$TEST_SAMPLE/text/evaluation/letters-1.txt" --keys 3
finish
