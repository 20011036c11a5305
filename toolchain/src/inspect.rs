//! `jiffy inspect`: prints an image's facts.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiffy_abi::ABI_VERSION;
use jiffy_console::stdout;

use crate::{
    image::{self, Image, ImageError},
    output::{Bytes, Format, Line, Table, print_json},
};

/// Why an image was not inspected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InspectError {
    #[error("cannot inspect {path}")]
    Image { path: PathBuf, source: ImageError },
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Prints the facts of the image at `path`.
pub(crate) fn inspect(path: &Path, format: Format) -> Result<(), InspectError> {
    let error = |source| InspectError::Image {
        path: path.into(),
        source,
    };
    let file = image::read(path).map_err(error)?;
    let image = Image::parse(&file).map_err(error)?;
    match format {
        Format::Json => print_json(&image)?,
        Format::Text => print_text(&mut stdout(), &image)?,
    }
    Ok(())
}

fn print_text(out: &mut impl Write, image: &Image) -> io::Result<()> {
    writeln!(out, "{}", Line(&image.title()))?;
    if image.abi_is_supported {
        let sdk_version = image.sdk_version.as_deref().unwrap_or_default();
        writeln!(
            out,
            "  ABI {}, SDK {}",
            image.abi_version,
            Line(sdk_version)
        )?;
    } else {
        writeln!(
            out,
            "  ABI {}, but this jiffy runs ABI {ABI_VERSION}: build the image anew with `jiffy build`",
            image.abi_version
        )?;
    }
    if !image.flags.is_empty() {
        writeln!(out, "  flags: {}", image.flags.join(", "))?;
    }
    if let Some(bytes) = image.stack_bytes {
        writeln!(out, "  stack {}", Bytes(bytes))?;
    }
    writeln!(out, "  entry {:#x}", image.entry)?;
    print_sizes(out, image)?;
    writeln!(out, "  sha256 {}", image.sha256)
}

/// Prints sizes, segments and sections: what `build` shows too.
pub(crate) fn print_sizes(out: &mut impl Write, image: &Image) -> io::Result<()> {
    let symbols = if image.has_symbols {
        "with symbols"
    } else {
        "no symbols"
    };
    writeln!(
        out,
        "  file {} ({symbols}; {} stripped), loaded {}, memory {}, RAM at least {}",
        Bytes(image.file_bytes),
        Bytes(image.stripped_bytes),
        Bytes(image.loaded_bytes),
        Bytes(image.memory_bytes),
        Bytes(image.ram_bytes_min),
    )?;
    let mut segments = Table::new(&["segment", "access", "file", "memory"]);
    for segment in &image.segments {
        segments.row(&[
            &format_args!("{:#010x}", segment.address),
            &segment.permissions,
            &Bytes(segment.file_bytes),
            &Bytes(segment.memory_bytes),
        ]);
    }
    write!(out, "{segments}")?;
    if image.sections.is_empty() {
        return Ok(());
    }
    let mut sections = Table::new(&["section", "access", "address", "bytes"]);
    for section in &image.sections {
        sections.row(&[
            &Line(&section.name),
            &section.permissions,
            &format_args!("{:#010x}", section.address),
            &section.bytes,
        ]);
    }
    write!(out, "{sections}")
}
