#!/usr/bin/env bash
# Plans within a budget through the program: the workbench with its losses, found, given and
# measured; the front as a figure, in a report and as numbers.
. "$(dirname "$0")/common.bash"
trace=$TEST_SAMPLE/trace.h5 losses=$TEST_SAMPLE/losses.json
cd "$work" || exit 1
common=(--model "$sample_model" --group-size 64)
open() { "$MOQA" open "$trace" "${common[@]}" "$@"; }
plan() { "$MOQA" plan "$trace" "${common[@]}" "$@"; }

expect 'without losses' 0 'a budget needs losses measured with these settings' open --keys '5 b'
expect 'losses that are given' 0 'the best plan of 2\.92' open --losses "$losses" --keys '5 b'
expect 'they need a model' 2 '\-\-losses needs --model' \
    "$MOQA" open "$trace" --losses "$losses" --keys 5
expect 'a file that is none' 3 'schema' open --losses "$sample_model/config.json" --keys 5
expect 'a file that is not there' 3 'none\.json' open --losses none.json --keys 5
expect 'other settings' 0 'a budget needs losses' open --losses "$losses" --grid symmetric --keys '5 b'

# What the screen writes is what the command that it copies writes.
for budget in 2.5 1700kB; do
    rm -f moqa.plan.json
    expect "a budget of $budget" 0 'copied: moqa plan' \
        open --losses "$losses" --keys "5 b > p*2 Enter '$budget' Enter w y" --size 400x24
    command=$(grep -o 'moqa plan .*PLAN' out | head -n 1)
    expect "$budget: the copied command" 0 'ln perplexity rises' \
        bash -c "\"$MOQA\" ${command#moqa } >/dev/null; \"$MOQA\" ${command#moqa }"
    check "$budget: the same plan" cmp -s PLAN moqa.plan.json
    expect "$budget: and starts from it" 0 'budget +2\.|budget +1\.6' \
        open --losses "$losses" --plan moqa.plan.json --keys 5
    rm -f PLAN
done

# Measured from the screen, cancelled, gone on with, and found by the next one.
expect 'measured in the background' 0 'the best plan of 2\.92' open --keys '5 M wait b'
check 'into the folder of the runs' [ "$(ls moqa-runs/losses-*.json | wc -l)" = 1 ]
expect 'the same as the command' 0 '^$' bash -c \
    "\"$MOQA\" losses ${common[*]} --calib \"$trace\" -o l.json 2>/dev/null; cmp l.json moqa-runs/losses-*.json; echo"
rm l.json
expect 'found by the next session' 0 'measured for these settings already' open --keys '5 M'
expect 'and as many others' 0 'the best plan of 2\.92' bash -c "
    for i in {10..50}; do
        sed 's/\"damping\": *[0-9.]*/\"damping\": 0.1'\$i'/' '$losses' >moqa-runs/losses-a\$i.json
    done
    rm moqa-runs/losses-????????.json
    \"$MOQA\" open '$trace' ${common[*]} --keys '5 M wait b'"
rm moqa-runs/losses-a*.json
expect 'beside a folder with a slash at its end' 0 'measured for these settings already: ./tiny.losses' \
    bash -c "mv moqa-runs/losses-*.json tiny.losses.json
        \"$MOQA\" open '$trace' ${common[*]} --runs moqa-runs/ --keys '5 M' --size 120x24"
expect 'and beside the folder of the runs' 0 'measured for these settings already: ./tiny.losses' \
    open --keys '5 M' --size 120x24
rm tiny.losses.json
expect 'cancelled' 0 'measuring is cancelled|losses are measured' open --keys '5 M Ctrl-C wait'
expect 'and gone on with' 0 'the best plan of 2\.92' open --keys '5 M wait b'
rm -rf moqa-runs
cp "${calibration[0]}" text.txt
expect 'by a text' 0 'the best plan of 2\.92' open --calib text.txt --keys '5 M wait b'
expect 'which is known again' 0 'measured for these settings already' open --calib text.txt --keys '5 M'
sed -i '1s/^/Other words first. /' text.txt
expect 'of a text that was changed since' 0 'of another calibration' open --calib text.txt --keys 5 --size 160x50
expect 'they serve a budget' 0 'the best plan of 2\.92' open --calib text.txt --keys '5 b'
expect 'and are measured anew' 0 'losses are measured: moqa-runs' open --calib text.txt --keys '5 M wait' --size 160x50
check 'into another file' [ "$(ls moqa-runs/losses-*.json | wc -l)" = 2 ]
expect 'which counts from then on' 0 'measured for these settings already' open --calib text.txt --keys '5 M'
check 'no word of another calibration' bash -c \
    "! \"$MOQA\" open '$trace' ${common[*]} --calib text.txt --keys 5 --size 160x50 | grep -q 'another calibration'"
rm -rf moqa-runs
expect 'a given file of another calibration' 0 'of another calibration' \
    open --calib text.txt --losses "$losses" --keys 5 --size 160x50
cp -r "$sample_model" tuned
printf '\1\1' | dd of=tuned/model.safetensors bs=1 conv=notrunc status=none \
    seek=$(($(stat -c %s tuned/model.safetensors) - 2))
of_tuned() { "$MOQA" "$1" "$trace" --model tuned --group-size 64 --losses "$losses" "${@:2}"; }
expect 'losses of other weights' 3 'other weights of the same shape' of_tuned open --keys 5
expect 'no plan is made by them' 3 'other weights of the same shape' \
    of_tuned plan --method budget --bits 2.5 -o tuned.json
check 'nor written' [ ! -e tuned.json ]
expect 'nor a rise predicted' 3 'other weights of the same shape' of_tuned plan --dry-run
expect 'nor a figure drawn' 3 'other weights of the same shape' of_tuned figure --figure front -o front.svg
rm tuned/model.safetensors
expect 'a model without weights plans by them' 0 'ln perplexity rises' \
    of_tuned plan --method budget --bits 2.5 --dry-run

# Mixed channels as a part of the choice: measured, planned, seen on the screen, quantized.
expect 'shares that are none' 2 '\-\-channels: found "0.5,0.1", expected 1 to 4 shares' \
    "$MOQA" losses "${common[@]}" --calib "$trace" --channels 0.5,0.1 -o no.json
expect 'no bits for channels' 2 'bits_channel: found 2, expected at most 8 and more than 2' \
    "$MOQA" losses "${common[@]}" --calib "$trace" --channels 0.1 --bits-channel 2 -o no.json
expect 'losses with channels' 0 'wrote mixed' "$MOQA" losses "${common[@]}" --calib "$trace" \
    --samples 4 --channels 0.125,0.25 --bits-channel 4 -o mixed.losses.json
expect 'losses without them' 2 'measured without mixed channels; moqa losses --channels' \
    plan --losses "$losses" --method budget --bits 2.5 --grain channel --dry-run
expect 'channels of another width' 2 'measured with bits_channel = 4, the plan has 8' \
    plan --losses mixed.losses.json --method budget --bits 2.5 --grain channel --dry-run
expect 'a grain that is none' 2 'found "row", expected linear, expert or channel' \
    plan --losses mixed.losses.json --method budget --bits 2.5 --grain row --dry-run
channels=(--losses mixed.losses.json --bits-channel 4 --method budget)
expect 'a plan with channels' 0 '; [0-9]+ with channels' \
    plan "${channels[@]}" --bits 2.5 --grain channel -o mixed.plan.json
check 'in a version of its own' grep -q '"schema_version": *3' mixed.plan.json
rise() { plan "${channels[@]}" --bits 2.5 --dry-run --json "$@" | grep -o 'predicted_rise":[0-9.e-]*' | cut -d: -f2; }
check 'that loses less' awk -v a="$(rise --grain channel)" -v b="$(rise)" 'BEGIN { exit !(a > 0 && a < b) }'
steps() { plan "${channels[@]}" --bits 2.5 --dry-run --json --front "$@" | grep -o '\],\[' | wc -l; }
check 'a front of more steps' [ "$(steps --grain channel)" -gt "$(steps)" ]
expect 'the same on the screen' 0 '4-bit channels' \
    open --losses mixed.losses.json --bits-channel 4 --keys "5 b Tab*2 Enter 'channel' Enter" --size 120x40
expect 'quantized with them' 0 '' "$MOQA" quantize mixed.plan.json --model "$sample_model" -o mixed \
    --calib "$trace" --samples 4
check 'as they lie in the file' grep -aq 'down_proj.channel_index' mixed/model-00001-of-*.safetensors
rm -rf mixed mixed.plan.json mixed.losses.json no.json

# The same as files and numbers.
for ending in svg pdf png; do
    check "the front as $ending" "$MOQA" figure "$trace" "${common[@]}" --losses "$losses" \
        --figure front -o "front.$ending"
    check "front.$ending is there" [ -s "front.$ending" ]
done
check 'with its values' grep -q 'MoQa: 2.920 bits' front.svg
expect 'the front needs losses' 2 'give the model and --losses' \
    "$MOQA" figure "$trace" "${common[@]}" --figure front -o none.svg
expect 'losses of other settings' 2 'group_size' \
    "$MOQA" figure "$trace" --model "$sample_model" --losses "$losses" --figure front -o none.svg
expect 'a report has it' 0 '' \
    "$MOQA" report "$trace" "${common[@]}" --no-cosine --losses "$losses" -o report.html
check 'with the table' grep -q 'least bits for it' report.html
expect 'numbers of the front' 0 '"front":\[\[2,0\.[0-9]+\],\[2\.0' \
    plan --losses "$losses" --dry-run --json --front
expect 'they need JSON and losses' 2 '\-\-front needs --json and --losses' plan --dry-run --front
finish
