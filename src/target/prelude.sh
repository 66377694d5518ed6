# Functions that every script on a machine may call. POSIX sh; tried with dash, bash and busybox.

# Prints a row: its arguments with tabs between.
row() {
    printf '%s' "$1"
    shift
    for _column in "$@"; do printf '\t%s' "$_column"; done
    printf '\n'
}

# Its stdin as base64 in one line.
b64() {
    base64 | tr -d '\n'
}

# Ends the script with a message.
die() {
    printf '%s\n' "$*" >&2
    exit 1
}

# put_file PATH OWNER GROUP MODE [PROGRAM WORD...]: its stdin becomes the file, old or new and never torn. Made exclusively as 0600
# in the same folder, owned, given its mode, accepted by the program (a word `{}` is the draft's path), flushed, renamed.
put_file() (
    path=$1 owner=$2 group=$3 mode=$4
    shift 4
    folder=${path%/*}
    [ -n "$folder" ] || folder=/
    [ -d "$folder" ] || die "the folder \`$folder\` is not there"
    [ -L "$path" ] || [ ! -d "$path" ] || die "\`$path\` is a folder"
    draft=$(mktemp "$folder/.provision-XXXXXXXXXX") || die "cannot write in \`$folder\`"
    trap 'rm -f -- "$draft"' EXIT
    cat > "$draft" || die "cannot write \`$path\`"
    chown -- "$owner:$group" "$draft" || die "cannot give \`$path\` to \`$owner:$group\`"
    chmod -- "$mode" "$draft" || die "cannot give \`$path\` the mode $mode"
    if [ "$#" -gt 0 ]; then
        count=$#
        while [ "$count" -gt 0 ]; do
            word=$1
            shift
            [ "$word" != '{}' ] || word=$draft
            set -- "$@" "$word"
            count=$((count - 1))
        done
        said=$("$@" 2>&1) || die "\`$1\` does not accept \`$path\`: $said"
    fi
    sync "$draft" 2> /dev/null || sync
    mv -f -T -- "$draft" "$path" || die "cannot put \`$path\` in place"
    trap - EXIT
    sync "$folder" 2> /dev/null || sync
)
