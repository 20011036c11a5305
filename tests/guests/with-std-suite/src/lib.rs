//! Runs tests of `std`'s public behaviour in a VM: the event names one, a module of them, or `all`, and the answer is a line for
//! each, `vec::push ok`. `list` names them and runs none. A test that fails ends the VM, which says its file and line.
//!
//! `cargo test` runs the same on the host, where a wrong expectation shows.

/// Names the tests of a module, and makes each one of the host's, too.
macro_rules! tests {
    ($($name:ident)+) => {
        pub(super) const TESTS: &[(&str, fn())] = &[$((stringify!($name), $name as fn())),+];

        #[cfg(test)]
        mod on_the_host {
            $(#[test]
            fn $name() {
                super::$name();
            })+
        }
    };
}

mod suite;

use std::fmt::Write as _;

/// Runs what the event names.
#[jiffy::function]
pub fn with_std_suite(event: &[u8]) -> Result<Vec<u8>, jiffy::Error> {
    let event = String::from_utf8_lossy(event);
    let mut answer = String::new();
    for (module, tests) in suite::MODULES {
        for (test, run) in *tests {
            let name = format!("{module}::{test}");
            let is_named = event == "all" || event == *module || event == name;
            if event == "list" {
                let _ = writeln!(answer, "{name}");
            } else if is_named && (event == name || suite::why_left_out(&name).is_none()) {
                run();
                let _ = writeln!(answer, "{name} ok");
            }
        }
    }
    if answer.is_empty() {
        return Err(jiffy::Error::msg(format!("no test {event:?}")));
    }
    Ok(answer.into_bytes())
}
