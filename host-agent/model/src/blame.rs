//! Who is to blame for what went wrong.

use serde::{Deserialize, Serialize};

/// Who is to blame for what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blame {
    /// The image, the request, or an argument: whoever gave it.
    Input,
    /// The machine and whoever runs it: KVM, memory, permissions, limits.
    Host,
    /// jiffy itself.
    Bug,
    /// The function: its author.
    Function,
}
