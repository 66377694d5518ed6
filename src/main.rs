//! The doorstep: arguments in, exit code out.

use rustix::fs::Mode;
use rustix::process::{self, DumpableBehavior, Resource, Rlimit};

fn main() -> std::process::ExitCode {
    keep_memory_to_ourselves();
    take_what_we_may();
    provision::cli::main()
}

/// There are secrets in it: a crash leaves no core file, and nobody else of the same user can look in. Where the kernel does not know
/// how, it is as with any other program.
fn keep_memory_to_ourselves() {
    let _ = process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let Rlimit { maximum, .. } = process::getrlimit(Resource::Core);
    // Only ours: what is started from here may ask for more again.
    let none = Rlimit {
        current: Some(0),
        maximum,
    };
    let _ = process::setrlimit(Resource::Core, none);
}

/// As many open files as we may have, since each machine takes some; and a umask that does not shut us out of what we make.
fn take_what_we_may() {
    let Rlimit { maximum, .. } = process::getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = process::setrlimit(Resource::Nofile, most);
    let old = process::umask(Mode::RWXG | Mode::RWXO);
    process::umask(old - Mode::RWXU);
}
