//! The `jiffy` command; all of it is in the library, where it can be tested.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    jiffy_toolchain::main()
}
