//! The machine a run was made on: a figure without it says nothing.

use std::{fs, path::Path, process::Command, time::SystemTime};

use serde::{Deserialize, Serialize};

/// Above this load average other work is in the figures.
const BUSY_LOAD: f64 = 0.5;
const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
/// Modules of KVM, and what they are.
const BACKENDS: [(&str, Backend); 3] = [
    ("kvm_pvm", Backend::Pvm),
    ("kvm_intel", Backend::Vmx),
    ("kvm_amd", Backend::Svm),
];

/// A machine, and what decides how fast it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Model of the CPU.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cores: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// What carries KVM here.
    pub backend: Backend,
    /// It is itself a virtual machine.
    pub nested: bool,
    /// Transparent huge pages: `always`, `madvise`, `never`.
    pub thp: String,
    /// Frequency governor of the CPUs; `none` where the kernel does not choose.
    pub governor: String,
    /// Vulnerabilities of the CPU that the kernel knows, and what it does about them.
    pub mitigations: Vec<(String, String)>,
    /// Programs and their versions: `jiffy`, `rustc`.
    pub versions: Vec<(String, String)>,
    /// When the run began, RFC 3339, UTC.
    pub date: String,
    /// Load average of the last minute when it began.
    pub load: f64,
}

/// What carries KVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Intel's virtualization.
    Vmx,
    /// AMD's.
    Svm,
    /// Page tables in software, for hosts that are virtual machines themselves.
    Pvm,
    /// None of them is loaded.
    Unknown,
}

impl Host {
    /// This one. What it does not tell is `unknown`, empty or zero: a benchmark is not to fail for that.
    pub fn read() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let rustc = Command::new("rustc").arg("--version").output().ok();
        let rustc = rustc.filter(|output| output.status.success());
        let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let mut versions = vec![("jiffy".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        versions.extend(rustc.map(|text| ("rustc".to_owned(), rustc_version(&text))));
        Self {
            cpu: cpu_model(&cpuinfo),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            backend: backend(|module| Path::new("/sys/module").join(module).exists()),
            nested: is_virtual(&cpuinfo),
            thp: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            governor: match governor.trim() {
                "" => "none".to_owned(),
                governor => governor.to_owned(),
            },
            mitigations: mitigations(),
            versions,
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            load: load(&read("/proc/loadavg")),
        }
    }

    /// What makes its figures worse than they could be, in a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut found = vec![];
        if self.load > BUSY_LOAD {
            found.push(format!(
                "this host is busy, its load average is {:.1}: figures will be worse",
                self.load
            ));
        }
        if self.governor == "powersave" {
            found.push("the CPUs save power: `cpupower frequency-set -g performance` for figures that repeat".into());
        }
        found
    }

    /// In one line.
    pub fn line(&self) -> String {
        let nested = if self.nested { ", nested" } else { "" };
        format!(
            "{}, {} cores, {} MiB, Linux {}, KVM {}{nested}, THP {}",
            self.cpu,
            self.cores,
            self.memory_mib,
            self.kernel,
            self.backend.name(),
            self.thp
        )
    }
}

impl Backend {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vmx => "vmx",
            Self::Svm => "svm",
            Self::Pvm => "pvm",
            Self::Unknown => "unknown",
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn backend(is_loaded: impl Fn(&str) -> bool) -> Backend {
    let mut found = BACKENDS.iter().filter(|(module, _)| is_loaded(module));
    found
        .next()
        .map_or(Backend::Unknown, |(_, backend)| *backend)
}

/// Value of the first line of `text` that begins with `key`, up to a colon.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(found, _)| found.trim() == key)?;
    Some(value.trim())
}

fn cpu_model(cpuinfo: &str) -> String {
    value(cpuinfo, "model name").unwrap_or("unknown").to_owned()
}

fn is_virtual(cpuinfo: &str) -> bool {
    let flags = value(cpuinfo, "flags").unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "hypervisor")
}

fn memory_mib(meminfo: &str) -> u64 {
    let kib = value(meminfo, "MemTotal").and_then(|text| text.split(' ').next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// The one in brackets of `always [madvise] never`.
fn chosen(text: &str) -> String {
    let chosen = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    chosen.map_or("unknown", |(chosen, _)| chosen).to_owned()
}

fn load(loadavg: &str) -> f64 {
    let first = loadavg.split(' ').next();
    first.and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// `1.95.0` of `rustc 1.95.0 (…)`.
fn rustc_version(text: &str) -> String {
    text.split(' ').nth(1).unwrap_or("unknown").to_owned()
}

fn mitigations() -> Vec<(String, String)> {
    let entries = fs::read_dir(VULNERABILITIES).into_iter().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_str()?.to_owned();
            let text = fs::read_to_string(&path).ok()?.trim().to_owned();
            // The others cost nothing.
            (text != "Not affected").then_some((name, text))
        })
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nflags\t\t: fpu hypervisor nx\n\nmodel name\t: Other\n";

    #[test]
    fn what_the_kernel_tells_is_read() {
        assert_eq!(cpu_model(CPUINFO), "Some CPU @ 2.00GHz");
        assert!(is_virtual(CPUINFO) && !is_virtual("flags : fpu nx"));
        assert_eq!(memory_mib("MemFree: 1 kB\nMemTotal:    8123456 kB\n"), 7933);
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert!((load("2.55 2.32 3.02 1/200 77\n") - 2.55).abs() < 1e-9);
        assert_eq!(rustc_version("rustc 1.95.0 (abc 2026-04-14)"), "1.95.0");
    }

    #[test]
    fn what_it_does_not_tell_is_said() {
        assert_eq!(cpu_model(""), "unknown");
        assert_eq!((memory_mib("MemTotal: many"), load("")), (0, 0.0));
        assert_eq!(chosen("never"), "unknown");
        assert_eq!(backend(|_| false), Backend::Unknown);
    }

    /// A host with PVM may have the module for its own CPU too.
    #[test]
    fn backends_are_told_by_their_modules() {
        assert_eq!(backend(|module| module == "kvm_amd"), Backend::Svm);
        assert_eq!(backend(|module| module != "kvm_amd"), Backend::Pvm);
    }

    #[test]
    fn a_busy_host_is_warned_of() {
        let mut host = Host::read();
        host.governor = "none".into();
        host.load = 0.5;
        assert!(host.warnings().is_empty());
        host.load = 0.6;
        assert!(host.warnings()[0].starts_with("this host is busy"));
    }
}
