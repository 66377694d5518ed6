//! How `apt` is asked and told by the kinds that need it: it waits for its lock, asks nothing back, and says in one line why not.

use crate::resource::Step;

/// Functions before the body of a script.
///
/// `apt WORD...` runs `apt-get`; where it fails, `said` is what it said. `fetch WORD...` fetches lists; only the lock of packages can be
/// waited for by an option, that of lists not. `blame` ends the script with what `said` means.
macro_rules! with_apt {
    ($body:expr) => {
        concat!(
            r#"
nl='
'
set -f
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true NEEDRESTART_MODE=l NEEDRESTART_SUSPEND=1
export APT_LISTCHANGES_FRONTEND=none UCF_FORCE_CONFFOLD=1
apt() {
    said=$(apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" 2>&1 9>&-)
}
fetch() {
    tries=60
    until apt update -o APT::Update::Error-Mode=any "$@"; do
        case $said in *'lock /var/lib/apt/lists/lock'*) ;; *) return 1 ;; esac
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 2
    done
}
blame() {
    case $said in
        *'dpkg was interrupted'*)
            die 'dpkg was interrupted earlier and left packages half installed: run `sudo dpkg --configure -a` on the machine' ;;
        *'It is held by process '*)
            holder=${said#*It is held by process } holder=${holder%%")"*}
            die "another program held the lock of the packages for 120 s: process $holder)" ;;
        *'Could not get lock'* | *'Unable to acquire'*)
            die 'another program held the lock of the packages for 120 s' ;;
    esac
    why=
    IFS=$nl
    for line in $said; do
        case $line in 'E: '* | 'W: GPG error'*) why="$why${why:+; }${line#?: }" ;; esac
    done
    unset IFS
    [ -n "$why" ] || why=$(printf '%s\n' "$said" | tail -n 5)
    die "$why"
}
"#,
            $body
        )
    };
}
pub(super) use with_apt;

/// A step of `apt` may have to wait for its lock, and to fetch a lot.
pub(super) fn patient(step: Step) -> Step {
    step.within(1800)
}
