#!/bin/bash
# Runs one probe under the shim, with a private broker. A line `Budget: SIZE` in the probe's
# source sets its budget; `Options: ...` adds options to solvent run; both default sensibly.
set -u
cd "$(dirname "$0")/.."
program=$1
source=tests/probes/${program##*/}.c
budget=$(sed -nE 's/^ ?\*? *Budget: *([^ ]+).*/\1/p' "$source" | head -n 1)
options=$(sed -nE 's/^ ?\*? *Options: *(.*[^ *\/])[ *\/]*$/\1/p' "$source" | head -n 1)
# shellcheck disable=SC2086
exec ./solvent run --no-summary --budget "${budget:-256M}" $options -- "$program"
