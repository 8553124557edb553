#!/usr/bin/env bash
# Comparisons: the same figures as by hand, nothing computed twice, cut and gone on with.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5
letters=$TEST_SAMPLE/text/evaluation/letters-1.txt
cd "$work" || exit 1

# compare RUNS OPTION...: small windows, few of them
compare() {
    local runs=$1
    shift
    "$MOQA" compare "$trace" --model "$sample_model" --group-size 64 --calib "${calibration[@]}" --window 128 \
        --samples 6 --eval-samples 4 --runs "$runs" "$@"
}
# field METHOD BITS COLUMN FILE: of a CSV whose fields have no commas
field() {
    awk -F, -v m="$1" -v b="$2" -v c="$3" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == c) k = i; next }
        $1 == m && $2 == b { print $k; exit }' "$4"
}
column() { field "$1" "$2" folder table.csv; }
# Without the times, which are never the same.
untimed() { awk -F, 'BEGIN { OFS = "," } { NF -= 3; print }' "$1"; }
weights() { (cd "$1" && sha256sum ./*.safetensors config.json); }

# --- The figures ---

expect 'a comparison' 0 '^budget@2\.5 +2\.5' compare runs --text letters="$letters" --bits 2.5,3 \
    --methods gptq-3 rtn-4 moeptq-r importance moqa budget moqa:alpha=0.6 budget:grain=expert
expect 'says how predicted and measured agree' 0 'measured excess: (-?0\.[0-9]+|1\.000) over 11 plans' \
    compare runs --text letters="$letters" --bits 2.5,3 \
    --methods gptq-3 rtn-4 moeptq-r importance moqa budget moqa:alpha=0.6 budget:grain=expert
check 'nothing is computed twice' grep -q 'moqa: 0 runs computed, 13 were there' out
compare runs --text letters="$letters" --methods gptq-3 budget@2.5 -f csv >table.csv 2>log
check 'nor by another list of methods' grep -q '0 runs computed, 3 were there' log

"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --method gptq-3 -o plan.json >/dev/null
"$MOQA" quantize plan.json --model "$sample_model" --calib "${calibration[@]}" --window 128 --samples 6 -o hand 2>/dev/null
check 'the bytes of moqa quantize' diff <(weights hand) <(weights "runs/$(column gptq-3 '')")
"$MOQA" eval hand --text "$letters" --window 128 --samples 4 --json >json
check 'the perplexity of moqa eval' within "$(field gptq-3 '' 'perplexity letters' table.csv)" "$(number perplexity json)" 1e-9
"$MOQA" losses --model "$sample_model" --calib "${calibration[@]}" --window 128 --samples 6 --group-size 64 -o losses.json 2>/dev/null
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --method budget --losses losses.json --bits 2.5 --json -o budget.json >json
"$MOQA" quantize budget.json --model "$sample_model" --calib "${calibration[@]}" --window 128 --samples 6 -o hand2 2>/dev/null
check 'the budget plan of moqa losses and plan' diff <(weights hand2) <(weights "runs/$(column budget 2.5)")
check 'the predicted rise of moqa plan' within "$(field budget 2.5 predicted table.csv)" "$(number predicted_rise json)" 1e-9
"$MOQA" eval "$sample_model" --text "$letters" --window 128 --samples 4 --json >json
check 'the original, too' within "$(field fp16 '' 'perplexity letters' table.csv)" "$(number perplexity json)" 1e-9

# --- Channels as a choice ---

compare mixed --text letters="$letters" --bits 2.5 -f csv >mixed.csv 2>log \
    --methods budget budget:grain=channel,bits_channel=4,channels=0.25 moqa:bits_channel=4
check 'one measurement serves all' [ "$(ls mixed/losses-*.json | wc -l)" = 1 ]
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --method budget --losses mixed/losses-*.json \
    --bits 2.5 --grain channel --bits-channel 4 --json -o mixed.json >json
check 'the plan has channels' grep -q '"gate": *[1-9]' mixed.json
check 'and the predicted rise of moqa plan' grep -qF "$(number predicted_rise json | cut -c 1-12)" mixed.csv
"$MOQA" losses --model "$sample_model" --calib "${calibration[@]}" --window 128 --samples 6 --group-size 64 \
    --bits-channel 4 --channels 0.25 -o mixed.losses.json 2>/dev/null
check 'the losses of moqa losses' cmp -s mixed/losses-*.json mixed.losses.json

# --- What is added ---

touch -d 2001-01-01 runs/*/*.safetensors
expect 'another text is only evaluated' 0 '3 runs computed, 0 were there' \
    compare runs --text letters="$letters" "${evaluation[1]}" --methods gptq-3 budget@2.5
check 'the passes are not run again' [ -z "$(find runs -name '*.safetensors' -newermt 2002-01-01)" ]
expect 'a method is added' 0 '1 runs computed, 2 were there' compare runs --text letters="$letters" --methods gptq-3 gptq-4
expect 'other settings of the rounding are other runs' 0 '1 runs computed, 1 were there' \
    compare runs --text letters="$letters" --methods gptq-3 --damping 0.02
expect 'settings that change no bit are not' 0 '0 runs computed, 2 were there' \
    compare runs --text letters="$letters" --methods gptq-3 --alpha 0.9
expect 'nor is another seed of what draws nothing' 0 '0 runs computed, 2 were there' \
    compare runs --text letters="$letters" --methods gptq-3 --seed 5
expect 'learned rounding is another run' 0 '1 runs computed, 1 were there' \
    compare runs --text letters="$letters" --methods gptq-3:learn=1
expect 'and another one by each seed' 0 '1 runs computed, 1 were there' \
    compare runs --text letters="$letters" --methods gptq-3:learn=1 --seed 5
expect 'other windows are' 0 '1 runs computed, 1 were there' compare runs --text letters="$letters" --methods gptq-3 --samples 5

sample=$sample_model
cp -r "$sample" copy
sample_model=copy
expect 'a copy of the model is the same model' 0 '0 runs computed, 2 were there' \
    compare runs --text letters="$letters" --methods gptq-3
echo >>copy/tokenizer.json
expect 'with another tokenizer it is evaluated again' 0 '2 runs computed, 0 were there' \
    compare runs --text letters="$letters" --methods gptq-3
run=runs/$(column gptq-3 '')
check 'and its folder gets that tokenizer' cmp -s copy/tokenizer.json "$run/tokenizer.json"
sample_model=$sample
expect 'back to the first tokenizer nothing is computed' 0 '0 runs computed, 2 were there' \
    compare runs --text letters="$letters" --methods gptq-3
check 'and the folder gets it again' cmp -s "$sample_model/tokenizer.json" "$run/tokenizer.json"
damaged=$(echo runs/losses-*.json | cut -d ' ' -f 1)
cp "$damaged" whole.json
echo '{"schema":' >"$damaged"
expect 'damaged losses are measured again' 0 'it is kept as .*\.damaged and measured again' \
    compare runs --text letters="$letters" --methods gptq-3 budget@2.5
check 'as they were' cmp -s "$damaged" whole.json

# --- Draws, and results alone ---

more=()
draws() { compare kept --text letters="$letters" "${more[@]}" --methods gptq-3 moeptq-r --bits 2.5 --seeds 2 --results-only "$@"; }
expect 'several draws' 0 '^gptq-3 +3\.000 .* ± .* 2$' draws
draws -f csv -p bars.svg --file-bits >table.csv 2>/dev/null
check 'a picture has bars for them' grep -q 'Bars are' bars.svg
check 'and the bits that are asked for' grep -q '>bits in the file<' bars.svg
check 'each of them is in the CSV' [ "$(grep -c '^gptq-3,,[12],' table.csv)" = 2 ]
check 'they differ' [ "$(field gptq-3 '' seed table.csv)" = 1 ]
"$MOQA" plan "$trace" --model "$sample_model" --group-size 64 --method moeptq-r --bits 2.5 --windows random --seed 1 -o plan.json >/dev/null
"$MOQA" quantize plan.json --model "$sample_model" --calib "${calibration[@]}" --window 128 --samples 6 -o hand3 2>/dev/null
"$MOQA" eval hand3 --text "$letters" --window 128 --samples 4 --json >json
check 'a draw is that of --windows random --seed' \
    within "$(field moeptq-r 2.5 'perplexity letters' table.csv)" "$(number perplexity json)" 1e-9
check 'no weights are left' [ -z "$(find kept -name '*.safetensors' -o -name config.json)" ]
expect 'the Results screen shows the runs' 0 'gptq-3-[0-9a-f]{12}' "$MOQA" open "$trace" --model "$sample_model" --runs kept --keys 7 --size 120x40
check 'as finished' [ "$(grep -c unfinished out)" = 0 ]
check 'so does the figure of the results' "$MOQA" figure "$trace" --model "$sample_model" --runs kept --figure results -o kept.svg
check 'with both methods' [ "$(grep -oE '>(gptq-3|moeptq-r)<' kept.svg | sort -u | wc -l)" = 2 ]
expect 'they are not computed again' 0 '0 runs computed, 5 were there' draws
more=("${evaluation[1]}")
expect 'but for another text' 0 '5 runs computed, 0 were there' draws
more=()
draws -f csv >again.csv 2>/dev/null
check 'with what was known before' diff <(untimed table.csv) <(untimed again.csv)
check 'and nothing beside it' [ -z "$(find kept -name '*.again')" ]
run=$(echo kept/gptq-3-* | cut -d ' ' -f 1)
echo left >"$run/model-00001-of-00002.safetensors"
more=("${evaluation[@]:0:2}")
expect 'weights whose removal was cut are no hindrance' 0 '5 runs computed, 0 were there' draws
more=()
check 'and are gone with the next' [ -z "$(find kept -name '*.safetensors')" ]
cp -r "$run" "$run.again"
rm "$run/moqa_result.json"
echo left >"$run/model-00001-of-00002.safetensors"
expect 'a replacement that was cut is finished' 0 '0 runs computed, 5 were there' draws
check 'under its name' [ -e "$run/moqa_result.json" -a ! -e "$run.again" ]

# --- Divergence ---

apart() { compare apart --text letters="$letters" --methods gptq-3 budget --bits 2.5 --seeds 2 "$@"; }
apart -f csv >plain.csv 2>/dev/null
check 'no divergence without the option' [ "$(grep -c divergence plain.csv)" = 0 ]
touch -d 2001-01-01 apart/*/*.safetensors
expect 'a cache without divergences gets them' 0 '4 runs computed, 1 were there' apart --divergence
check 'with a column and its spread' grep -qE '^gptq-3 .* 0\.0[0-9]{4} ± 0\.0[0-9]{4} ' out
check 'no pass is run again' [ -z "$(find apart -name '*.safetensors' -newermt 2002-01-01)" ]
apart --divergence -f csv >apart.csv 2>log
check 'once' grep -q '0 runs computed, 5 were there' log
check 'beside what was known' diff <(cut -d , -f 1-8 plain.csv) <(cut -d , -f 1-8 apart.csv)
check 'the original is 0 away from itself' [ "$(field fp16 '' 'divergence letters' apart.csv)" = 0 ]
run=apart/$(field gptq-3 '' folder apart.csv)
"$MOQA" eval "$run" --text "$letters" --original "$sample_model" --window 128 --samples 4 --json >json
check 'the divergence of moqa eval' within "$(field gptq-3 '' 'divergence letters' apart.csv)" "$(number divergence json)" 1e-9
check 'and its error' within "$(field gptq-3 '' 'divergence_error letters' apart.csv)" "$(number divergence_error json)" 1e-9
run=apart/$(field budget 2.5 folder apart.csv)
"$MOQA" eval "$run" --text "$letters" --original "$sample_model" --window 128 --samples 4 --json >json
check 'of a run behind the first, too' within "$(field budget 2.5 'divergence letters' apart.csv)" "$(number divergence json)" 1e-9
expect 'the mean is in the JSON' 0 '"divergence":\{"letters":\{"mean":0\.0[0-9]+,"deviation":0\.0[0-9]+,"runs":2\}\}' apart --divergence --json
record=$run/moqa_result.json
sed -i '/"divergence_seconds"/d; /"divergence_error"/d; /"divergence"/d' "$record"
sed -i 'N; s/,\(\n *}\)/\1/; P; D' "$record"
expect 'what is missing is measured alone' 0 'to do: 0 passes, 1 evaluation$' apart --divergence --progress plain
check 'of one run' grep -q '1 runs computed, 4 were there' out
apart --divergence -f csv >again.csv 2>/dev/null
check 'to the same table' diff <(untimed apart.csv) <(untimed again.csv)

# --- What no draw changes ---

undrawn() { compare undrawn --text letters="$letters" --methods rtn-3 rtn-3:scale_search=on gptq-4 --seeds 3 "$@"; }
undrawn -f csv >undrawn.csv 2>log
check 'is run once' [ "$(grep -c '^rtn-3,,,3,' undrawn.csv)" = 1 ]
check 'and so is the original' [ "$(grep -c '^fp16,,,' undrawn.csv)" = 1 ]
check 'all others for each draw' [ "$(grep -cE '^(rtn-3:scale_search=on|gptq-4),,[123],' undrawn.csv)" = 6 ]
check 'they differ' [ "$(grep '^rtn-3:scale' undrawn.csv | cut -d , -f 8 | sort -u | wc -l)" = 3 ]
check 'that are all runs' grep -q '8 runs computed, 0 were there' log
expect 'the table says so' 0 'Rows of 1 run without a deviation are of what no draw changes' undrawn
check 'and has no deviation there' grep -qE '^rtn-3 .* 1$' <(grep -v '±' out)
for seed in 2 3; do compare undrawn --text letters="$letters" --methods rtn-3 --windows random --seed $seed >/dev/null 2>&1; done
bytes_of_draws() {
    for plan in $(grep -lE '"scale_search": *"off"' undrawn/rtn-3-*/moqa_plan.json); do
        weights "$(dirname "$plan")" | sha256sum
    done
}
check 'three draws' [ "$(bytes_of_draws | wc -l)" = 3 ]
check 'make the same bytes' [ "$(bytes_of_draws | sort -u | wc -l)" = 1 ]
expect 'draws of the same windows are one run' 0 '^gptq-4 .*[0-9]  +1$' \
    "$MOQA" compare "$trace" --model "$sample_model" --group-size 64 --calib "${calibration[2]}" --window 512 --samples 1000 \
    --text "$letters" --eval-samples 1 --eval-window 64 --runs same --methods gptq-4 --seeds 3
check 'which the table says' grep -q 'Draws that make the same run count as one' out

# --- What it costs ---

cost() { compare costs --text letters="$letters" "${evaluation[1]}" --methods rtn-3 gptq-3 budget@2.5 --seeds 2 --divergence "$@"; }
expect 'a dry run lists what there is to do' 0 '^gptq-3 +- +2  to do$' cost --dry-run
check 'without a seed where none matters' grep -qE '^rtn-3 +- +-  to do$' out
check 'and what it cannot know yet' grep -qE '^budget +2\.5 +1  unknown: its plan needs losses' out
check 'and what it costs' grep -qE '^at most 6 runs, 22 evaluations; kept in costs: 0 and 0; to do: 2 measurements of losses, 5 passes, 22 evaluations$' out
check 'and does nothing' [ ! -e costs ]
expect 'what it costs is said before it starts' 0 'moqa: 6 runs, 22 evaluations; kept in costs: 0 and 0; to do: 5 passes, 22 evaluations' cost --progress plain
check 'then how long it takes' grep -qE 'moqa: more than [0-9]+:[0-9]+ left: 5 passes, 20 evaluations, 5 of them not like any' out
check 'once more when all is known' grep -qE 'moqa: about [0-9]+:[0-9]+ left: [1-3] pass(es)?, [0-9]+ evaluations$' out
rm costs/gptq-3-*/moqa_result.json
rm -r "$(echo costs/gptq-3-* | cut -d ' ' -f 1)"
find costs | sort >before
expect 'a dry run knows what is kept' 0 '^budget +2\.5 +2  kept$' cost --dry-run
check 'what is to be evaluated' grep -qE '^gptq-3 +- +[12]  to evaluate \(0 of 4 evaluations kept\)$' out
check 'and what is to do' grep -qE '^gptq-3 +- +[12]  to do$' out
check 'and touches nothing' diff before <(find costs | sort)
expect 'as JSON' 0 '^\{"schema":"moqa.comparison_runs","schema_version":1,.*"cost":\{"runs":6,"runs_kept":4,"evaluations":22,"evaluations_kept":14,"passes":1,"losses":0,"unknown":0\}\}$' \
    cost --dry-run --json
expect 'a run that stands in two rows is one' 0 '^gptq-3:alpha=0\.5 +- +2  same as gptq-3, seed 2$' \
    compare costs --text letters="$letters" --methods gptq-3 gptq-3:alpha=0.5 --seeds 2 --dry-run
cost >/dev/null 2>&1
expect 'the Results screen shows a divergence' 0 'divergence +[0-9.]+ ± [0-9.]+' \
    "$MOQA" open "$trace" --model "$sample_model" --runs costs --keys '7 down' --size 120x40
sed -i 's/^ "seconds": .*/ "seconds": 1800.0,/' costs/{gptq,budget}-*/moqa_result.json # of the pass, not of texts
expect 'what is kept tells how long the like of it takes' 0 'moqa: about 1:0[0-9]:[0-9]+ left: 2 passes, 4 evaluations$' \
    compare costs --text letters="$letters" "${evaluation[1]}" --methods gptq-3 rtn-4 gptq-4 --seeds 2 --progress plain
check 'the completion knows it' grep -q -- '--divergence' <("$MOQA" completion bash)

# --- Cut ---

long=(--text letters="$letters" --methods gptq-2 gptq-3 gptq-4 outlier budget --bits 2.5,3)
compare whole "${long[@]}" -f csv >whole.csv 2>/dev/null
command=("$MOQA" compare "$trace" --model "$sample_model" --group-size 64 --calib "${calibration[@]}" --window 128
    --samples 6 --eval-samples 4 "${long[@]}" -f csv --runs)
"${command[@]}" cut >cut.csv 2>log &
pid=$!
for ((i = 0; i < 3000; i++)); do compgen -G 'cut/gptq-3-*/model-00001-*' >/dev/null && break; sleep 0.01; done
kill -INT $pid
wait $pid
status=$?
check 'interrupted' [ $status -eq 4 ]
check 'it says how to go on' grep -q 'the same command goes on' log
check 'no table is printed' [ ! -s cut.csv ]
compare cut "${long[@]}" -f csv >cut.csv 2>log
check 'it goes on' grep -qE 'moqa: [1-6] runs computed, [2-7] were there' log
check 'to the same table' diff <(untimed whole.csv) <(untimed cut.csv)
"${command[@]}" killed >/dev/null 2>&1 &
pid=$!
for ((i = 0; i < 3000; i++)); do compgen -G 'killed/gptq-4-*/model-00002-*' >/dev/null && break; sleep 0.01; done
kill -9 $pid
wait $pid 2>/dev/null
check 'only a part was done' [ ! -e "$(compgen -G 'killed/budget-*' | head -n 1)" ]
compare killed "${long[@]}" -f csv >cut.csv 2>/dev/null
check 'a killed one, too' diff <(untimed whole.csv) <(untimed cut.csv)

# --- Formats and pictures ---

expect 'Markdown' 0 '^\| gptq-3 +\| +3\.000 \|' compare runs --text letters="$letters" --methods gptq-3 -f markdown
expect 'JSON' 0 '^\{"schema":"moqa.comparison","schema_version":1,' compare runs --text letters="$letters" --methods gptq-3 --json
expect 'a picture' 0 'gptq-3' compare runs --text letters="$letters" --methods gptq-3 -p bits.svg
check 'is written' grep -q '</svg>' bits.svg
expect 'one for each text' 0 'gptq-3' compare runs --text letters="$letters" "${evaluation[1]}" --methods gptq-3 -p 'bits-{text}.pdf'
check 'are written' [ -s bits-letters.pdf -a -s "bits-$(basename "${evaluation[1]}").pdf" ]
printf '%s\n' '{"goal":"boil water","sol1":"use a kettle","sol2":"use a fridge","label":0}' >piqa.jsonl
expect 'accuracies' 0 'piqa acc +piqa acc_norm' compare runs --text letters="$letters" --task piqa=piqa.jsonl --methods gptq-3
expect 'the methods without a run' 0 '^budget  at each of --bits$' compare runs --list

# --- Shared experts ---

qwen() {
    "$MOQA" compare "$TEST_GOLDEN/tiny-qwen2moe/trace.h5" --model "$TEST_GOLDEN/tiny-qwen2moe/model" --group-size 64 \
        --samples 4 --eval-samples 4 --runs qwen --text letters="$letters" "$@"
}
expect 'averages are those of all experts' 0 '^moeptq-r@3 +(2\.99|3\.00)' qwen --methods moeptq-r@3
expect 'a wide shared expert makes room' 0 '^moeptq-r@2\.25:bits_shared=4 +2\.2[456]' qwen --methods moeptq-r@2.25
expect 'but not where its bits are asked for' 2 'moqa: moeptq-r: found an average of 1\.6' qwen --methods moeptq-r@2.25:bits_shared=8

# --- Refused ---

refuse() { local name=$1 pattern=$2; shift 2; expect "$name" 2 "$pattern" compare none --text "$letters" "$@"; }
refuse 'an unknown method' 'found "gptq-5": no method is called "gptq-5"; known: moqa' --methods gptq-3 gptq-5
refuse 'an unknown setting' 'no setting is called "colour"' --methods moqa:colour=red
refuse 'bits that a method cannot have' 'moeptq-r: .*expected --bits from 2 to 4' --methods moeptq-r@5
refuse 'settings that contradict' 'moqa:classes=3,class_bits=2,4: class_bits: found 2' --methods moqa:classes=3,class_bits=2,4
refuse 'bits' '--bits: found "2;3"' --bits '2;3'
refuse 'a format' '--format: found "html"' -f html
refuse 'a picture' 'gif' -p x.gif
refuse 'a dry run as CSV' '--dry-run: found -f csv, expected text or json' --dry-run -f csv
refuse 'draws of nothing' '--seeds: found 0' --seeds 0
expect 'draws of a trace' 2 '--seeds: expected texts in --calib, or --windows balanced' \
    "$MOQA" compare "$trace" --model "$sample_model" --calib "$trace" --text "$letters" --seeds 2 --runs none
expect 'divergences on no text' 2 '--divergence: expected --text' compare none --task piqa=piqa.jsonl --divergence
expect 'no text' 2 'expected --text FILE' compare none --methods gptq-3
echo 'too short' >short.txt
expect 'a text that is too short' 3 'fewer than one window' compare none --text short.txt --methods gptq-3
check 'nothing is written by what is refused' [ ! -e none ]
expect 'budgets that nothing fits in' 2 'budget: .*expected 2' compare low --text "$letters" --methods budget@1.5
finish
