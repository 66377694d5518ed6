# What a session's loop calls; sent once, with what is called first. POSIX sh; tried with dash, bash and busybox. `_n` is the nonce.
set +e +u
cd /
umask 077
unset CDPATH ENV BASH_ENV IFS _x _in _b _held
PATH=${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
LC_ALL=C.UTF-8
export PATH LC_ALL
_x=- _jp='' _jb='' _jd='' _jf=''

# PATH BEGINS DONE FAILED: the journal that the next script goes into, and what is written there before it and behind it.
_j() {
    _jp=$1 _jb=$2 _jd=$3 _jf=$4
}

# Writes lines into it.
_note() {
    [ -z "$_jp" ] || [ -z "$1" ] || { printf '%s\n' "$1" >> "$_jp"; } 2> /dev/null
}

# The same before a script: what cannot be written down is not done.
_intend() {
    _hit before
    _note "$_jb" && return
    printf 'cannot write down in `%s` what is about to be done\n' "$_jp" >&2
    _r=73
    return 1
}

# POINT: where a test ends this shell; nothing else ever does.
_hit() {
    :
}

# The folder of names that say which group of scripts is to stop: nobody but us can write there.
if [ -O / ]; then
    _hd=/run
    [ -w /run ] || _hd=/var/lib/provision
else
    _hd=${XDG_RUNTIME_DIR:-$HOME}
fi

# The names go with the session that they tell to stop, also where nobody is left who would take them away.
trap 'for _d in "$_hd/$_halt"*; do [ ! -e "$_d" ] || rm -f -- "$_d"; done' EXIT
trap 'exit 4' PIPE

# Whether the next script of a group runs: none before it failed, and nobody has said in another session that it is to stop. No
# process is started for that.
_runs() {
    [ "$_g" != "$_x" ] && { [ "$_g" = 0 ] || [ ! -e "$_hd/$_halt$_g" ]; }
}

# Says that a script begins. Nobody hears it any more: then nothing begins.
_begin() {
    printf '\n@%s %s begin\n' "$_n" "$_i" || exit 4
}

# Says how it ended, behind all that it said.
_end() {
    [ "$_r" = skip ] || _hit between
    case $_r in
    0) _note "$_jd" || : ;;
    skip) ;;
    *)
        [ "$_g" = 0 ] || _x=$_g
        _note "$_jf" || :
        ;;
    esac
    _jp='' _jb='' _jd='' _jf=''
    [ "$_r" = skip ] || _hit after
    printf '\n@%s %s %s\n' "$_n" "$_i" "$_r" >&2
    printf '\n@%s %s %s\n' "$_n" "$_i" "$_r" || exit 4
}

# GROUP ID BODY WORD...: runs a script, unless one of its group has failed. What only asks speaks plain C: otherwise every program
# reads a dozen files of its locale first.
_s() {
    _g=$1 _i=$2 _b=$3
    shift 3
    _r=skip
    if _runs; then
        _begin
        if _intend; then
            (set -eu; [ "$_g" != 0 ] || LC_ALL=C; eval "$_b") < /dev/null
            _r=$?
        fi
    fi
    _end
}

# GROUP ID TEXT BODY WORD...: the same with a text on its stdin.
_t() {
    _g=$1 _i=$2 _in=$3 _b=$4
    shift 4
    _r=skip
    if _runs; then
        _begin
        if _intend; then
            printf '%s' "$_in" 2> /dev/null | (set -eu; eval "$_b")
            _r=$?
        fi
    fi
    unset _in
    _end
}

# GROUP ID SIZE BODY WORD...: the same with so many bytes of the stream on its stdin. They are kept in a file without a name until
# all of them are there: half an archive is worse than none.
_f() {
    _g=$1 _i=$2 _size=$3 _b=$4
    shift 4
    _r=skip _w='' _said=''
    if _runs; then
        _begin
        _r=0
        if [ "$_size" -gt 8388608 ]; then _p='/var/tmp /run /tmp'; else _p='/run /dev/shm /var/tmp /tmp'; fi
        for _d in $_p; do
            _w=$(mktemp "$_d/.provision-XXXXXXXXXX" 2> /dev/null) && break
        done
        [ -n "$_w" ] || { _r=74 _said='there is no folder for what is sent'; }
    fi
    if [ -n "$_w" ]; then
        exec 7> "$_w" 8< "$_w"
        rm -f -- "$_w"
    else
        exec 7> /dev/null
    fi
    _m=$({
        dd bs=65536 count=$((_size / 65536)) iflag=fullblock && {
            [ $((_size % 65536)) = 0 ] || dd bs=$((_size % 65536)) count=1 iflag=fullblock
        }
    } 2>&1 1>&7 9>&-) || {
        printf 'cannot keep what is sent: %s\n' "$_m" >&2
        _r=74
        _end
        exit 5
    }
    exec 7>&-
    IFS= read -r _e
    [ "$_e" = "$_n" ] || exit 3
    if [ "$_r" = 0 ] && _intend; then
        (set -eu; eval "$_b") <&8 8<&-
        _r=$?
        exec 8<&-
    elif [ "$_r" != skip ]; then
        printf '%s\n' "$_said" >&2
    fi
    _end
}

# TOKEN: takes the lock where a session that the same run has lost still has it: that one ends, and with it all but the script that it
# runs right now, which is waited for. It takes it, too, from another run that held the same lock as this one where both are run, and so
# is gone; but only if nothing runs there any more. A token is that lock, the run and a number, with dots between.
_inherit() {
    _h='' _p=''
    { IFS= read -r _h; IFS=' ' read -r _h _p; } < "$_f"
    if [ "$_h" != "$1" ]; then
        [ -n "${1%%.*}" ] && [ "${_h%%.*}" = "${1%%.*}" ] && [ "${_h%.*}" != "${1%.*}" ] || return 1
        _c=unknown
        { IFS= read -r _c || :; } 2> /dev/null < "/proc/$_p/task/$_p/children"
        [ -z "$_c" ] || return 1
    fi
    # Only where that process has the lock open: the number may be somebody else's by now.
    [ "/proc/$_p/fd/9" -ef "$_f" ] && kill "$_p"
    _t=0
    until flock -n 9; do
        [ "$_t" -lt 100 ] || { _r=77 && return 1; }
        _t=$((_t + 1))
        sleep 0.2 2> /dev/null || sleep 1
    done
}

# ID PROJECT HOLDER TOKEN [tell]: takes the lock, which lives as long as this shell or a script of it does; or says who has it. Only a folder that
# nobody else can write in: what stands there is ours. Tells with it what `guard` has put back.
_l() {
    _g=0 _i=$1 _r=0
    _begin
    if [ "${_held-}" = "$2" ]; then
        _end
        return
    fi
    _f=''
    if [ -O / ]; then
        [ -d /var/lib/provision ] || [ -w /run ] || mkdir -p -m 700 /var/lib/provision
        _p='/run /var/lib/provision'
    else
        _p=${XDG_RUNTIME_DIR:-$HOME}
    fi
    for _d in $_p; do
        _f=$_d/provision-$2.lock
        (: 9<> "$_f") 2> /dev/null && break
        _f=''
    done
    if ! command -v flock > /dev/null; then
        echo 'there is no flock' >&2
        _r=76
    elif [ -z "$_f" ]; then
        echo 'no file can be made in /run or /var/lib/provision' >&2
        _r=76
    else
        exec 9<> "$_f"
        # Somebody who only looks has it for a moment.
        if flock -n 9 || _inherit "$4" || { [ "$_r" = 0 ] && { sleep 0.2 2> /dev/null || sleep 1; } && flock -n 9; }; then
            printf '%s\n%s %s\n' "$3" "$4" "$$" > "$_f"
            _held=$2
            [ -z "${5-}" ] || (guard_tell)
        else
            [ "$_r" = 77 ] || _r=75
            _h=''
            IFS= read -r _h < "$_f"
            printf '%s\n' "$_h"
            exec 9>&-
        fi
    fi
    _end
}
