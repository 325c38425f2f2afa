#!/usr/bin/env bash
#
# Checks subjects/asyncapi.yaml with AsyncAPI's own parser on Node. The parser is installed below .tools/node, pinned by
# version, its dependencies by date. Once installed, nothing is downloaded.
#
# Exit status: 0 valid, 1 invalid (errors on stderr), 75 the parser is missing and cannot be installed.

set -euo pipefail

readonly PARSER=@asyncapi/parser@3.6.3
readonly AS_OF=2026-10-01
# Without its registry npm would try for a quarter of an hour.
readonly INSTALL_LIMIT_S=180

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly node_dir=$root/.tools/node
readonly stamp=$node_dir/installed-packages

if [[ ! -f $stamp || $(<"$stamp") != "$PARSER as of $AS_OF" ]]; then
    echo "validate: installing $PARSER into .tools/node" >&2
    rm -rf "$node_dir"
    mkdir -p "$node_dir"
    # The parser needs no install scripts, so none run.
    if ! timeout "$INSTALL_LIMIT_S" npm install --prefix "$node_dir" --before="$AS_OF" --save-exact --ignore-scripts --no-audit --no-fund \
        --loglevel=error "$PARSER" >&2; then
        echo "validate: 'npm install $PARSER' failed or took more than $INSTALL_LIMIT_S s (see its messages above)" >&2
        exit 75
    fi
    echo "$PARSER as of $AS_OF" >"$stamp" # written last: an incomplete installation has no stamp and is repeated
fi

exec node "$root/subjects/validate.mjs" "$node_dir" "$root/subjects/asyncapi.yaml"
