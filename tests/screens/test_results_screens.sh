#!/usr/bin/env bash
# The Results screen with real runs: plans of the program itself in a folder of runs, with
# evaluations and times that are always the same, and the original as the program measures and
# keeps it. Compared with golden/results-*; MOQA_UPDATE_PICTURES=1 writes them anew.
. "$(dirname "$0")/../cli/common.bash"
golden=$(cd "$(dirname "$0")" && pwd)/golden
export TZ=UTC
cd "$work" || exit 1
cp "$TEST_SAMPLE/trace.h5" sample.h5

open() { "$MOQA" open sample.h5 --model "$sample_model" --group-size 64 "$@"; }

# run NAME BYTES PERPLEXITY SECONDS WHEN OPTION...: a finished run as a job leaves it.
run() {
    local dir=runs/$1 bytes=$2 perplexity=$3 seconds=$4 when=$5
    shift 5
    mkdir -p "$dir"
    "$MOQA" plan sample.h5 --model "$sample_model" --group-size 64 "$@" -o "$dir/moqa_plan.json" >/dev/null || return 1
    truncate -s "$bytes" "$dir/model-00001.safetensors"
    echo '{}' >"$dir/config.json"
    [ -z "$perplexity" ] || printf '{"schema": "moqa.eval", "schema_version": 1, "perplexity": %s,
        "nll": 1.0, "tokens": 13982, "window": 256, "windows": 54, "predicted": 13770, "seconds": %s,
        "text": "encyclopedia-2.txt +2", "text_sha256": "%s"}\n' \
        "$perplexity" "$seconds" "$text" >"$dir/moqa_eval.json"
    touch -d "$when" "$dir/config.json"
}

# Which text an evaluation is of: sizes and bytes of the tokenizer and the files, in their order.
number_of_8_bytes() {
    local n=$1 i
    for i in 1 2 3 4 5 6 7 8; do
        printf '%b' "\\x$(printf %02x $((n & 255)))"
        n=$((n >> 8))
    done
}
hash_of() {
    local file
    for file in "$sample_model/tokenizer.json" "$@"; do
        number_of_8_bytes "$(stat -c %s "$file")"
        cat "$file"
    done | sha256sum | cut -d ' ' -f 1
}
text=$(hash_of "${evaluation[@]}")
two=("${evaluation[1]}" "${evaluation[0]}")
for order in 0 1; do
    expect 'an evaluation names its text' 0 "\"text\":\"$(basename "${two[0]}") \+1\",\"text_sha256\":\"$(hash_of "${two[@]}")\"" \
        "$MOQA" eval "$sample_model" --text "${two[@]}" --window 256 --samples 2 --json
    two=("${evaluation[@]:0:2}")
done

# The original is measured by the screen itself, once; then its figures are made those of no machine.
value=$("$MOQA" eval "$sample_model" --text "${evaluation[@]}" --window 256 | sed 's/perplexity \([0-9]*\.[0-9][0-9]\).*/\1/')
check 'moqa eval gives a number' [ "${#value}" -ge 4 ]
expect 'the original is measured on the texts as by moqa eval' 0 "tiny-olmoe +original +16\.000 +${value/./\\.}" \
    open --runs runs --text "${evaluation[@]}" --keys 7
check 'and kept' [ "$(ls runs)" = "$(cd runs && echo original-????????.json)" ]
sed -i 's/"perplexity": [0-9.]*/"perplexity": 65.98704/; s/"seconds": [0-9.]*/"seconds": 0.33/' runs/original-*.json
touch -d '2026-01-05 08:00' runs/original-*.json
expect 'it is not measured again' 0 '65\.9870' open --runs runs --text "${evaluation[@]}" --keys 7
expect 'nor without the texts' 0 '65\.9870' open --runs runs --keys 7
expect 'another text is another row' 0 'tokens' open --runs other --text "${evaluation[0]}" --keys 7
check 'with a record of its own' [ "$(cd other && echo *)" != "$(cd runs && echo *)" ]

check 'runs are made' run moqa-3f29a1c0 2861042 71.20481 0.41 '2026-01-05 09:00' --alpha 0.3
check 'runs are made' run moqa-9be0172d 3104128 69.87315 0.40 '2026-01-05 09:20' \
    --alpha 0.6 --min-count 3 --bits-low 3 --pin 1.7=8 --pin 2.0=4
check 'runs are made' run gptq-3-51c2aa07 2915840 70.55126 0.39 '2026-01-05 08:40' --method gptq-3
check 'runs are made' run gptq-2-0d4471e9 2310144 118.402 0.38 '2026-01-05 08:30' --method gptq-2
check 'runs are made' run rtn-4-c81b02f3 3473408 '' '' '2026-01-05 10:10' --method rtn-4

# A run on another order of the same files has as many tokens, but is not set against this original.
run moqa-5d00aa71 2861042 60.5 0.4 '2026-01-05 11:00' --alpha 0.4
expect 'a run on this text is set against the original' 0 'against original +-5\.4870, -8\.32 %' open --runs runs --keys '7 Down*4'
sed -i "s/$text/$(hash_of "${two[@]}")/" runs/moqa-5d00aa71/moqa_eval.json
expect 'one on another order of its files is not' 0 'perplexity +not on this text' open --runs runs --keys '7 Down*4'
expect 'it is on a text of its own' 0 'against original +not on this text' open --runs runs --keys '7 X Down*4'
check 'on which the original has no perplexity' grep -qE 'tiny-olmoe +original +16\.000 +-' out
figure() { "$MOQA" figure sample.h5 --model "$sample_model" --runs runs --figure results "$@"; }
expect 'a figure is of one text, and says so' 0 'evaluated on 2 texts; this is encyclopedia-2' figure -o one.svg
check 'with its runs alone' grep -q '>4 of 6 runs have both. The least perplexity, 69.8731,' one.svg
name="encyclopedia-2.txt +2 #$(hash_of "${two[@]}" | cut -c 1-6)"
check 'another text is named' figure -o two.svg --text "$name"
check 'and has a figure and a verdict of its own' grep -q '>1 of 6 runs have both. The least perplexity, 60.5000,' two.svg
check 'or each has a file' figure -o 'results-{text}.svg'
check 'of its name' [ "$(cat results-encyclopedia*.svg | sha256sum)" = "$(cat results-encyclopedia-2.txt_+2_*.svg | sha256sum)" -a "$(ls results-*.svg | wc -l)" = 2 ]
expect 'a text that nothing was evaluated on' 2 'text: found "x", expected one of: encyclopedia' figure -o x.svg --text x
check 'the report' "$MOQA" report sample.h5 --model "$sample_model" --runs runs --no-cosine -o report.html
check 'has both, each with its verdict' [ "$(grep -oE 'The least perplexity, (69.8731|60.5000),' report.html | sort -u | wc -l)" = 2 ]
sed -i 's/, *"text_sha256": "[0-9a-f]*"//' runs/moqa-5d00aa71/moqa_eval.json
expect 'nor one that does not say' 0 'against original +text not known' open --runs runs --keys '7 X Down*4'
rm -r runs/moqa-5d00aa71

screens=(7 "7 Down*5" "7 Down*4 S*5" "7 S S R" "7 Down*4 o" "7 Down*4 Enter 5" "7 o" "7 v")

picture() {
    local keys
    for keys in "${screens[@]}"; do
        open --runs runs --size "$2" --look "$3" --keys "$keys" --picture "screen.$1" || return 1
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
        echo "$name differs (MOQA_UPDATE_PICTURES=1 bash tests/screens/test_results_screens.sh takes it over):"
        diff "$golden/$name" "$work/$name" | head -n 20
        return 1
    fi
}

for size in 40x10 80x24 120x40 200x60; do
    check "results at $size" compare "results-$size.txt" txt "$size" dark,256,braille
done
screens=("7 Down*4")
check 'results at 160x50' compare results-160x50.txt txt 160x50 dark,256,braille
for size in 40x10 80x24 120x40 200x60; do
    for depth in 256 8 0; do
        for glyphs in braille ascii; do
            theme=dark
            [ "$depth" = 0 ] && theme=mono
            check "results at $size, $depth colours, $glyphs" \
                compare "results-$size-$depth-$glyphs.ansi" ansi "$size" "$theme,$depth,$glyphs"
        done
    done
done
check 'results in ASCII' compare results-80x24-ascii.txt txt 80x24 mono,0,ascii

expect 'u takes a loaded run back' 0 'alpha +0\.3 ' open --runs runs --keys '7 Down*4 o u 1' --size 120x40
expect 'a loaded run gives the plan that it was made from' 0 'plan written' \
    open --runs runs --plan again.json --keys '7 Down*4 o w' --size 120x40
check 'with its bits and pins' cmp again.json runs/moqa-9be0172d/moqa_plan.json
finish
