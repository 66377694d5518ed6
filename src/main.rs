//! The doorstep: arguments in, exit code out.

fn main() -> std::process::ExitCode {
    provision::cli::main()
}
