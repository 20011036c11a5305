//! `jiffy snapshot create`.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use jiffy_client::{CreateSnapshotError, Created, NewSnapshot, SpawnerOptions, create_snapshot};
use jiffy_console::{Exit, stderr, stdout};
use jiffy_model::{EnvironmentChanges, SomeSettings};
use serde::Serialize;

use super::{SnapshotError, view::RamView};
use crate::{
    output::{Format, Line, Nanoseconds, Progress, print_json, print_log},
    run::Failure,
    runnable::Runnable,
    sdk,
    symbols::Symbols,
    vm_settings::VmSettings,
};

/// What a snapshot is to be made of, and where.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// An image, or a function's crate.
    pub(crate) path: PathBuf,
    pub(crate) output: PathBuf,
    pub(crate) flags: SomeSettings,
    pub(crate) variables: EnvironmentChanges,
    pub(crate) jail: SpawnerOptions,
}

/// What `jiffy snapshot create --json` prints.
#[derive(Serialize)]
struct View<'a> {
    outcome: Exit,
    exit_code: u8,
    snapshot: Option<&'a CreatedView<'a>>,
    error: Option<&'a Failure>,
}

#[derive(Serialize)]
struct CreatedView<'a> {
    path: &'a Path,
    sha256: String,
    #[serde(flatten)]
    ram: RamView,
    init_ns: u64,
    save_ns: u64,
}

/// Boots an image, runs its `init`, and saves what there is then. How `init` fails is an outcome as
/// of `jiffy run`.
pub(crate) fn create(options: &Options, format: Format) -> Result<Exit, SnapshotError> {
    let settings = VmSettings::of(&options.path, &options.flags, &options.variables)?;
    let runnable = Runnable::find(&options.path)?;
    let new = NewSnapshot {
        vmm: sdk::vmm()?,
        spawner: options.jail.clone(),
        image: runnable.path,
        ram_bytes: Some(settings.ram_bytes),
        timeout: Some(settings.timeout),
        environment: settings.environment,
        output: options.output.clone(),
    };
    let title = runnable.image.title();
    let progress = Progress::new(format!("saving {}", Line(&title)));
    let result = create_snapshot(&new, print_log);
    drop(progress);
    let result = match result {
        Ok(created) => Ok(CreatedView::new(&options.output, &created)),
        Err(CreateSnapshotError::Launch(error)) => return Err(error.into()),
        Err(CreateSnapshotError::Write(error)) => return Err(error.into()),
        Err(error @ (CreateSnapshotError::Temporary(_) | CreateSnapshotError::Open(_))) => {
            return Err(SnapshotError::Save(error));
        }
        Err(CreateSnapshotError::Vm(error)) => {
            let name = runnable.image.function_name.unwrap_or_default();
            let symbols = Symbols::of_image(&new.image, &name);
            Err(Failure::of_invoke(&error, &symbols))
        }
    };
    let exit = result.as_ref().map_or_else(Failure::exit, |_| Exit::Ok);
    match (format, result) {
        (Format::Json, result) => print_json(&View {
            outcome: exit,
            exit_code: exit as u8,
            error: result.as_ref().err(),
            snapshot: result.as_ref().ok(),
        })?,
        (Format::Text, Ok(created)) => {
            write!(stdout(), "{} -> {created}", Line(&title))?;
        }
        (Format::Text, Err(failure)) => failure.print(&mut stderr())?,
    }
    Ok(exit)
}

impl<'a> CreatedView<'a> {
    fn new(path: &'a Path, created: &Created) -> Self {
        Self {
            path,
            sha256: created.digest.to_string(),
            ram: RamView::new(created.ram_bytes, created.ram_pages_stored),
            init_ns: created.phases.init_ns,
            save_ns: created.save_ns,
        }
    }
}

impl std::fmt::Display for CreatedView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        writeln!(f, "  {}", self.ram)?;
        writeln!(
            f,
            "  boot and init {}, saved in {}",
            Nanoseconds(self.init_ns),
            Nanoseconds(self.save_ns)
        )?;
        writeln!(f, "  sha256 {}", self.sha256)
    }
}
