//! `jiffy doctor`: what this machine has, what it lacks, and how to mend that.
//!
//! ```text
//! kvm    /dev/kvm, its backend and capabilities, and a VM made for a moment
//! jail   what is put around each VM: cgroups, user namespaces, Landlock, seccomp
//! host   kernel, CPU, and what jiffy is installed with
//! ```

mod host;
mod jail;
mod kvm;

use std::io::{self, Write};

use jiffy_console::stdout;
use serde::Serialize;

use crate::output::{Format, print_json};

/// How much a check matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    /// Something is slower or less isolated without it.
    Warn,
    /// Nothing runs, or nothing builds, without it.
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    /// What was found.
    found: String,
    /// What to do about it, if anything.
    fix: Option<String>,
}

impl Check {
    fn new(
        name: &'static str,
        status: Status,
        found: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self {
            name,
            status,
            found: found.into(),
            fix,
        }
    }

    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found, None)
    }

    fn warn(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Status::Warn, found, Some(fix.into()))
    }

    fn fail(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(name, Status::Fail, found, Some(fix.into()))
    }
}

#[derive(Serialize)]
struct View<'a> {
    ok: bool,
    checks: &'a [Check],
}

/// Prints all checks; true if everything that is needed is there.
pub(crate) fn doctor(format: Format) -> io::Result<bool> {
    let mut checks = kvm::checks();
    checks.extend(jail::checks());
    checks.extend(host::checks());
    let ok = checks.iter().all(|check| check.status != Status::Fail);
    match format {
        Format::Json => print_json(&View {
            ok,
            checks: &checks,
        })?,
        Format::Text => print_text(&mut stdout(), &checks)?,
    }
    Ok(ok)
}

fn print_text(out: &mut impl Write, checks: &[Check]) -> io::Result<()> {
    let width = checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or_default();
    for Check {
        name,
        status,
        found,
        fix,
    } in checks
    {
        let status = match status {
            Status::Ok => "ok  ",
            Status::Warn => "warn",
            Status::Fail => "FAIL",
        };
        writeln!(out, "{status}  {name:<width$}  {found}")?;
        if let Some(fix) = fix {
            writeln!(out, "      {:width$}  -> {fix}", "")?;
        }
    }
    let count = |wanted| checks.iter().filter(|check| check.status == wanted).count();
    match (count(Status::Fail), count(Status::Warn)) {
        (0, 0) => writeln!(out, "All is well."),
        (0, warnings) => writeln!(out, "Functions run here; {warnings} could be better."),
        (failures, _) => writeln!(out, "{failures} needed, see FAIL above."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fix_stands_under_what_it_fixes() {
        let mut out = vec![];
        let checks = [
            Check::ok("a", "fine"),
            Check::fail("long name", "missing", "add it"),
        ];
        print_text(&mut out, &checks).expect("printed");
        let expected = "ok    a          fine\nFAIL  long name  missing\n                 -> add it\n1 needed, see FAIL above.\n";
        assert_eq!(String::from_utf8(out).expect("text"), expected);
    }
}
