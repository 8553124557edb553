#!/usr/bin/env bash
# All C files are as .clang-format says (needs clang-format 14, which is Debian 12's).
set -eu
cd "$(dirname "$0")/../.."
git ls-files '*.c' '*.h' '*.inc' | xargs clang-format --dry-run --Werror
