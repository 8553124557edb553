#!/usr/bin/env bash
# Who may include whom: dependencies point one way, and each third-party library has one place.
set -eu
cd "$(dirname "$0")/../.."
failed=0

complain() {
    echo "$1"
    failed=1
}

# folder: folders that it may include from
declare -A allowed=(
    [data/base]="data/base"
    [data]="data"
    [analysis]="data analysis"
    [gpu]="data/base gpu"
    [ui/cells]="data/base ui/cells"
    [ui/chart]="data/base ui/cells ui/chart"
    [ui/figure]="data analysis ui/cells ui/chart ui/figure"
    [ui/report]="data analysis ui/cells ui/chart ui/figure ui/report"
    [ui/app]="data analysis ui"
    [src]="data analysis ui gpu src"
)
for folder in "${!allowed[@]}"; do
    while IFS=: read -r file line text; do
        [ "$folder" = data ] && [[ $file == data/base/* ]] && continue
        header=${text#*\"}
        header=${header%%\"*}
        ok=no
        for from in ${allowed[$folder]}; do
            [[ $header == "$from"/* ]] && ok=yes
        done
        [ $ok = yes ] || complain "$file:$line: $folder must not include $header"
    done < <(grep -rn --include='*.c' --include='*.h' '^#include "' "$folder")
done

# header pattern: files that may include it
third_party() {
    local pattern=$1 place=$2 file
    while IFS=: read -r file _; do
        [[ $file =~ $place ]] || complain "$file: includes <$pattern>, which belongs to $place"
    done < <(grep -rnE --include='*.c' --include='*.h' "^#include <$pattern" data analysis gpu ui src)
}
third_party 'hdf5' '^data/trace_h5[a-z_]*\.[ch]$'
third_party 'n?curses' '^ui/cells/term_curses\.c$'
third_party 'cairo' '^ui/figure/canvas_cairo\.c$'
third_party 'gsl/' '^analysis/'
third_party '(cblas|lapack|openblas)' '^gpu/cpu/'
third_party '(cuda|cublas)' '^gpu/cuda/'
third_party 'openssl/' '^data/base/hash\.c$'
third_party 'pcre2' '^data/'
third_party 'utf8proc' '^(data|ui)/'
third_party 'argp' '^src/cli/cli\.c$'

# file names are unique in the tree
while read -r name; do
    complain "two files are called $name"
done < <(git ls-files '*.c' '*.h' 2>/dev/null | xargs -rn1 basename | sort | uniq -d)

[ $failed -eq 0 ] && echo "includes: all in order"
exit $failed
