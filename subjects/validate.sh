#!/usr/bin/env bash
#
# Checks subjects/asyncapi.yaml with AsyncAPI's own parser on Node. The parser is installed below .tools/node, pinned by
# version, and what it depends on by date; with that in place nothing is downloaded.
#
# Exit status: 0 valid, 1 not valid (told on stderr), 75 no parser and no way to install it.

set -euo pipefail

readonly PARSER=@asyncapi/parser@3.6.3
readonly AS_OF=2026-10-01

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly node_dir=$root/.tools/node
readonly stamp=$node_dir/installed-packages

if [[ ! -f $stamp || $(<"$stamp") != "$PARSER as of $AS_OF" ]]; then
    echo "validate: installing $PARSER into .tools/node" >&2
    rm -rf "$node_dir"
    mkdir -p "$node_dir"
    # No scripts of the packages are run: the parser needs none.
    if ! npm install --prefix "$node_dir" --before="$AS_OF" --save-exact --ignore-scripts --no-audit --no-fund \
        --loglevel=error "$PARSER" >&2; then
        echo "validate: 'npm install $PARSER' did not work (its messages stand above)" >&2
        exit 75
    fi
    echo "$PARSER as of $AS_OF" >"$stamp" # last: half an installation has no stamp and is made anew
fi

exec node "$root/subjects/validate.mjs" "$node_dir" "$root/subjects/asyncapi.yaml"
