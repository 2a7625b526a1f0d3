#!/bin/bash
# Runs one probe under the shim, with a private broker. A line `Budget: SIZE` in the probe's
# source sets its budget; `Options: ...` adds options to solvent run; both default sensibly.
# `Account: ...` says what else solvent.conf(5) says of its account, which no option of
# solvent run does: then the broker is started here, and ends with the probe as well.
set -u
cd "$(dirname "$0")/.."
program=$1
source=tests/probes/${program##*/}.c

# said WORD: the rest of that line.
said() {
	sed -nE "s/^ ?\*? *$1: *(.*[^ *\/])[ *\/]*$/\1/p" "$source" | head -n 1
}

budget=$(said Budget) options=$(said Options) account=$(said Account)
budget=${budget:-256M}
if [ -z "$account" ]; then
	# shellcheck disable=SC2086
	exec ./solvent run --no-summary --budget "$budget" $options -- "$program"
fi
socket=@solvent-probe-$$
# Not our child: a probe waits for its own.
(./solventd --foreground --until-empty --socket "$socket" --config /dev/stdin \
	<<<"account probe { limit = $budget $account users = {\"*\"} }" &)
# shellcheck disable=SC2086
exec ./solvent run --no-summary --socket "$socket" --account probe $options -- "$program"
