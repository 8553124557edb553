#!/usr/bin/env bash
# moqa report: everything on one page.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5
cd "$work" || exit 1
report() { "$MOQA" report "$trace" --model "$sample_model" --group-size 64 "$@"; }

expect 'a page' 0 'wrote r.html' report -o r.html
check 'names the command that repeats it' grep -q 'moqa analyze .*trace.h5 --model .* --group-size 64' r.html
check 'and the one of the plan' grep -q 'moqa plan .*trace.h5' r.html
check 'has the plan' grep -q 'Bits of the experts' r.html
check 'and the similarity' grep -q 'Similarity of experts' r.html
expect 'what is there stays' 2 'r.html: is there already; --force replaces it' report -o r.html
expect 'unless it is asked for' 0 'wrote r.html' report -o r.html --force --title 'My "model"'
check 'with a title' grep -q '<title>My &quot;model&quot;</title>' r.html
expect 'a document' 0 'wrote r.pdf' report -o r.pdf
check 'as PDF' [ "$(head -c 5 r.pdf)" = '%PDF-' ]
expect 'another ending' 2 'expected a name that ends in .html or .pdf' report -o r.txt
expect 'a trace alone' 0 'wrote t.html' "$MOQA" report "$trace" -o t.html
check 'without what needs a model' [ "$(grep -c 'Similarity of experts\|Bits of the experts' t.html)" = 0 ]
expect 'without similarity' 0 'wrote n.html' report --no-cosine -o n.html
check 'which is left out' [ "$(grep -c 'Similarity of experts' n.html)" = 0 ]
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --pin 0.3=8 -o p.json >/dev/null
expect 'a plan that is given' 0 'wrote p.html' report --plan p.json -o p.html
check 'is that one' grep -q -- '--pin 0.3=8' p.html

# A row of the table is 2, 3, 4, 8 and 16 bits and the average, as the plan's own file has them.
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --losses "$TEST_SAMPLE/losses.json" \
    --method budget --bits 2.5 -o b.json >plan.txt
expect 'a plan whose linears differ' 0 'wrote b.html' report --no-cosine --plan b.json -o b.html
check 'counts them' grep -q 'Linears of each width' b.html
layer_of_plan() { # "0 x 2" and so on of `moqa plan`, as cells with their average
    awk -v layer="$1" '$1 == layer {
        for (i = 2; i < NF; i++) if ($(i + 1) == "x") n[$(i + 2) + 0] = $i
        sum = 2 * n[2] + 3 * n[3] + 4 * n[4] + 8 * n[8] + 16 * n[16]
        all = n[2] + n[3] + n[4] + n[8] + n[16]
        printf "%d %d %d %d %d %.3f\n", n[2], n[3], n[4], n[8], n[16], sum / all }' plan.txt
}
layer_of_report() {
    sed -n '/Linears of each width/,$p' b.html | tr -d '\n' | sed 's/<tr>/\n/g' | sed 's/<[^>]*>/ /g' |
        awk -v layer="$1" 'NR > 2 && $1 == layer { print $2, $3, $4, $5, $6, $7; exit }'
}
for layer in 0 1 5; do
    check "all of layer $layer" [ "$(layer_of_plan $layer)" = "$(layer_of_report $layer)" ]
done

# A plan brings its settings along: the numbers, the table of the settings and both commands are theirs.
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --alpha 1.5 --rule threshold --rule 2:jenks -o s.json >/dev/null
with_plan() { "$MOQA" report "$trace" --model "$sample_model" --no-cosine --plan s.json "$@"; }
expect 'a plan of other settings' 0 'wrote s.html' with_plan --losses "$TEST_SAMPLE/losses.json" -o s.html
check 'they are the summary'"'"'s' grep -q 'with alpha = 1.5' s.html
check 'and in the table' grep -q '<td>alpha</td><td class="r">1.5 \*</td>' s.html
for verb in analyze plan; do
    check "and those of moqa $verb" \
        grep -q "moqa $verb .*--alpha 1.5 --rule threshold --group-size 64 --rule 2:jenks" s.html
done
check 'the mark of MoQa is that plan' [ "$(sed -n '/least bits for it/,$p' s.html | tr -d '\n' |
    sed 's/<tr>/\n/g;s/<[^>]*>/ /g' | awk '$1 == "moqa" || $1 == "MoQa" { print $2 }' | uniq | wc -l)" = 1 ]
check 'no word of others' [ "$(grep -c 'made with other settings' s.html)" = 0 ]
expect 'the command line stands over them' 0 'wrote f.html' with_plan --alpha 0.5 --rule 3:jenks -o f.html
check 'in the numbers' grep -q 'with alpha = 0.5' f.html
check 'for single layers as well' grep -q 'moqa analyze .*--rule threshold --group-size 64 --rule 2:jenks --rule 3:jenks' f.html
check 'and it is said' grep -q 'The plan was made with other settings: alpha = 1.5 (here 0.5)\.' f.html
expect 'a figure is of its settings, too' 0 '' bash -c "'$MOQA' figure '$trace' --plan s.json -f utilization -o p.svg &&
    '$MOQA' figure '$trace' --alpha 1.5 -f utilization -o a.svg && cmp p.svg a.svg && echo same"
expect 'a plan needs its model' 2 'needs --model' "$MOQA" report "$trace" --plan p.json -o q.html
expect 'no folder to write to' 1 'none/r.html' report -o none/r.html
check 'and nothing is left' [ ! -e none ]
finish
