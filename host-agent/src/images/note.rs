//! What an image says of itself: its name, its version, and for which SDK it was built.

use std::fs::File;

use jiffy_image::{Image, ReadError};

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageNote {
    /// Name of the function's package.
    pub function_name: String,
    /// Version of the function's package.
    pub function_version: String,
    /// Version of the SDK.
    pub sdk_version: String,
    /// Whether the handler takes HTTP requests.
    pub takes_http: bool,
}

impl ImageNote {
    /// Reads an image's headers and its note. What a VM would refuse is refused here already.
    pub fn read(file: &File) -> Result<Self, ReadError> {
        let image = Image::read(file)?;
        let note = image.note();
        Ok(Self {
            function_name: note.function_name().into(),
            function_version: note.function_version().into(),
            sdk_version: note.sdk_version().into(),
            takes_http: note.flags & jiffy_abi::note::FLAG_HTTP != 0,
        })
    }
}
