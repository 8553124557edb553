#!/usr/bin/env bash
# moqa figure: the figures of the method as files.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5
cd "$work" || exit 1
figure() { "$MOQA" figure "$trace" --model "$sample_model" --group-size 64 "$@"; }

expect 'the list needs no trace' 0 '^mapping +Fig. 3 +the ranks.*; for each layer$' "$MOQA" figure --list
expect 'and says what a figure needs' 0 '^similarity .*needs --model$' "$MOQA" figure --list
check 'a figure as SVG' figure --figure significance --layer 3 -o s.svg
check 'has the words of its layer' grep -q '<title>Significance of the experts, layer 3</title>' s.svg
check 'its text is text' grep -q '>significance S</text>' s.svg
check 'no page of its own style' [ "$(grep -c '<style>' s.svg)" = 0 ]
check 'the page rules where it shall' figure -f significance -o auto.svg --theme auto
check 'by its preference' grep -q 'prefers-color-scheme:dark' auto.svg
check 'several figures' figure --figure zipf,mapping --layer all -o 'x-{figure}-{layer}.svg'
check 'one of no layer, six of layers' [ "$(echo x-*)" = 'x-mapping-0.svg x-mapping-1.svg x-mapping-2.svg x-mapping-3.svg x-mapping-4.svg x-mapping-5.svg x-zipf-all.svg' ]
check 'everything on the pages of a PDF' figure --figure all --layer all -o all.pdf
check '5 figures of 6 layers, 3 of none' [ "$(grep -ac '/Type /Page ' all.pdf)" = 33 ]
check 'a PNG of a size' figure --figure bits --width 300 --height 100 --scale 3 -o bits.png
check 'in pixels' [ "$(od -An -tu1 -j16 -N8 bits.png | tr -s ' ')" = ' 0 0 3 132 0 0 1 44' ]
for kind in svg pdf png; do
    figure --figure similarity -o a.$kind && figure --figure similarity -o b.$kind
    check "the same $kind twice" cmp a.$kind b.$kind
done
check 'a setting changes the picture' figure --figure significance --layer 3 --alpha 0 -o alpha.svg
check 'which is another' [ "$(cmp -s s.svg alpha.svg && echo same)" = '' ]

figure -f bits -o own.svg && "$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --pin 0.3=8 -o p.plan >/dev/null
check 'the plan that is given' "$MOQA" figure "$trace" --plan p.plan -f bits -o given.svg
check 'with its pins' grep -q '>pinned</text>' given.svg
check 'not those of another' [ "$(grep -c '>pinned</text>' own.svg)" = 0 ]

expect 'no figure' 2 '--figure NAME is missing; moqa figure --list' figure -o a.svg
expect 'no file' 2 '-o FILE is missing' figure -f zipf
expect 'an unknown figure' 2 '--figure: found "zip", expected names of moqa figure --list, or all' figure -f zip -o a.svg
expect 'a figure without its model' 2 'give the model' "$MOQA" figure "$trace" -f similarity -o none.svg
expect 'a figure without runs' 2 'there are none: quantize' figure -f results -o none.svg
expect 'an unknown kind' 2 'a.jpg: not a kind of picture; expected a name that ends in .svg, .pdf or .png' figure -f zipf -o a.jpg
expect 'a layer that is not there' 2 '--layer: found "6", expected a MoE layer from 0 to 5, or all' figure -f mapping --layer 6 -o a.svg
expect 'several into one' 2 'several figures: expected \{figure\} in the name, or a .pdf' figure -f zipf,bits -o none.svg
expect 'layers into one' 2 'several layers: expected \{layer\}' figure -f mapping --layer all -o 'none-{figure}.svg'
expect 'an unknown theme' 2 '--theme: found "pink", expected light, dark or auto' figure -f zipf --theme pink -o a.svg
expect 'too small' 2 '--width: found -1' figure -f zipf --width -1 -o a.svg
expect 'more pixels than a picture has' 2 'expected 1 to 20000 each way' figure -f zipf --width 14000 --scale 9 -o none.png
expect 'a folder that is not there' 1 'nowhere/a.svg' figure -f zipf -o nowhere/a.svg
check 'nothing was left by those that failed' [ ! -e nowhere ] && [ "$(echo none*)" = 'none*' ]
check 'nor a temporary file' [ "$(find . -name '*tmp*' | wc -l)" = 0 ]

# The same from the workbench.
press() { "$MOQA" open "$trace" --model "$sample_model" --group-size 64 --keys "$@"; }
expect 'W proposes a name' 0 'picture .*: moqa-significance-layer1.svg_ +Enter writes, Esc does not' press '3 ] W' --size 100x30
expect 'Esc leaves it' 0 ' layer 1 ' press '3 ] W Esc'
check 'unwritten' [ ! -e moqa-significance-layer1.svg ]
expect 'Enter writes it' 0 'picture written to moqa-significance-layer1.svg' press '3 ] W Enter'
check 'as moqa figure does' grep -q '<title>Significance of the experts, layer 1</title>' moqa-significance-layer1.svg
check 'for any page' grep -q 'prefers-color-scheme:dark' moqa-significance-layer1.svg
cp moqa-significance-layer1.svg before.svg
expect 'it asks before it replaces' 0 'There is a file moqa-significance-layer1.svg already' press "3 ] Enter '0.9' Enter W Enter"
expect 'no is no' 0 'not written' press "3 ] Enter '0.9' Enter W Enter n"
check 'the old one stays' cmp before.svg moqa-significance-layer1.svg
expect 'yes is yes' 0 'picture written to' press "3 ] Enter '0.9' Enter W Enter y"
check 'the new one is there' [ "$(cmp -s before.svg moqa-significance-layer1.svg && echo same)" = '' ]
expect 'the other chart' 0 'written to moqa-utilization.svg' press '1 v W Enter'
expect 'a PDF' 0 'picture written to moqa-similarity-layer0.pdf' press "4 W Backspace*3 'pdf' Enter"
check 'has both charts' [ "$(grep -ac '/Type /Page ' moqa-similarity-layer0.pdf)" = 2 ]
expect 'another kind' 0 'not written: .*\.svg, \.pdf or \.png' press "5 W Backspace*3 'gif' Enter" --size 140x30
expect 'a folder that is not there' 0 'not written: none/a.svg' press "5 W Backspace*20 'none/a.svg' Enter" --size 140x30
expect 'a screen without a chart' 0 'this screen has no chart' press '6 W'
expect 'no runs yet' 0 'no picture: .*there are none' press '7 W' --size 140x30
finish
