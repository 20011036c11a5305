//! The ELF note that makes an ELF file a jiffy image and says what it needs.
//!
//! `jiffy-rt` puts it into the image; the VMM and `jiffy inspect` read it before anything else.

use crate::{
    ABI_VERSION,
    bytes::{get, put},
    layout::{STACK_BYTES_DEFAULT, STACK_BYTES_MAX, STACK_BYTES_STEP},
};

/// Name of the note's owner, with the terminating zero that ELF counts.
pub const NAME: [u8; 6] = *b"jiffy\0";
/// Type of the note.
pub const TYPE: u32 = 1;
/// Bytes of the note's descriptor.
pub const DESC_BYTES: usize = FUNCTION_VERSION + VERSION_BYTES;
/// Bytes of the whole note: name size, descriptor size, type, name padded to 8, descriptor.
pub const NOTE_BYTES: usize = 12 + 8 + DESC_BYTES;

const NAME_SIZE: u32 = 6;
const DESC_SIZE: u32 = 136;
const _: () = assert!(NAME_SIZE as usize == NAME.len() && DESC_SIZE as usize == DESC_BYTES);

/// Room for a function's name, bytes.
pub const NAME_BYTES: usize = 64;
/// Room for a version, bytes.
pub const VERSION_BYTES: usize = 32;

/// The function may read the time-stamp counter.
pub const FLAG_PRECISE_CLOCK: u32 = 1;
/// `init` may draw randomness, although every clone of its snapshot will share what it drew.
pub const FLAG_RANDOM_INIT: u32 = 2;
/// The handler takes HTTP requests. An agent that is given one as an event unpacks it.
pub const FLAG_HTTP: u32 = 4;

/// Where in the flags the size of the stack is, in steps of [`STACK_BYTES_STEP`]; zero is the default.
const STACK_SHIFT: u32 = 16;
const _: () = assert!(STACK_BYTES_MAX / STACK_BYTES_STEP <= u16::MAX as u64);

/// `flags` with a stack of this size; `None` if no image can ask for it.
pub const fn with_stack(flags: u32, stack_bytes: u64) -> Option<u32> {
    let steps = stack_bytes / STACK_BYTES_STEP;
    if stack_bytes < STACK_BYTES_DEFAULT
        || stack_bytes > STACK_BYTES_MAX
        || !stack_bytes.is_multiple_of(STACK_BYTES_STEP)
    {
        return None;
    }
    let rest = flags & ((1 << STACK_SHIFT) - 1);
    if stack_bytes == STACK_BYTES_DEFAULT {
        return Some(rest);
    }
    // At most 16 bits, as is asserted above.
    let [low, high, ..] = steps.to_le_bytes();
    Some(rest | (u16::from_le_bytes([low, high]) as u32) << STACK_SHIFT)
}

/// The size of the stack that these flags ask for, bytes; `None` if no image can ask for it.
pub const fn stack_bytes(flags: u32) -> Option<u64> {
    let bytes = match flags >> STACK_SHIFT {
        0 => return Some(STACK_BYTES_DEFAULT),
        steps => steps as u64 * STACK_BYTES_STEP,
    };
    if bytes < STACK_BYTES_DEFAULT || bytes > STACK_BYTES_MAX {
        return None;
    }
    Some(bytes)
}

const ABI: usize = 0;
const FLAGS: usize = ABI + 4;
const SDK_VERSION: usize = FLAGS + 4;
const FUNCTION_NAME: usize = SDK_VERSION + VERSION_BYTES;
const FUNCTION_VERSION: usize = FUNCTION_NAME + NAME_BYTES;
const _: () = assert!(DESC_BYTES.is_multiple_of(4));

/// What an image says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// [`FLAG_PRECISE_CLOCK`], [`FLAG_RANDOM_INIT`], [`FLAG_HTTP`], and the size of the stack: [`stack_bytes`].
    pub flags: u32,
    /// Version of the SDK, UTF-8, zero-padded.
    pub sdk_version: [u8; VERSION_BYTES],
    /// Name of the function's package, UTF-8, zero-padded.
    pub function_name: [u8; NAME_BYTES],
    /// Version of the function's package, UTF-8, zero-padded.
    pub function_version: [u8; VERSION_BYTES],
}

/// Why a note is not one of this ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoteError {
    /// The descriptor has this many bytes, not [`DESC_BYTES`].
    Length(usize),
    /// The image was linked for this ABI version.
    AbiVersion(u32),
    /// A text is not UTF-8.
    Text,
}

impl Note {
    /// A note from texts; each is cut to its room.
    pub const fn new(flags: u32, sdk_version: &str, name: &str, version: &str) -> Self {
        Self {
            flags,
            sdk_version: padded(sdk_version),
            function_name: padded(name),
            function_version: padded(version),
        }
    }

    /// The whole ELF note, header included, for a static in the note section.
    pub const fn to_bytes(&self) -> [u8; NOTE_BYTES] {
        let mut note = [0; NOTE_BYTES];
        put(&mut note, 0, NAME_SIZE.to_le_bytes());
        put(&mut note, 4, DESC_SIZE.to_le_bytes());
        put(&mut note, 8, TYPE.to_le_bytes());
        put(&mut note, 12, NAME);
        let desc = 12 + 8;
        put(&mut note, desc + ABI, ABI_VERSION.to_le_bytes());
        put(&mut note, desc + FLAGS, self.flags.to_le_bytes());
        put(&mut note, desc + SDK_VERSION, self.sdk_version);
        put(&mut note, desc + FUNCTION_NAME, self.function_name);
        put(&mut note, desc + FUNCTION_VERSION, self.function_version);
        note
    }

    /// Decodes a descriptor that came from a file.
    ///
    /// The ABI version is looked at first, so that an image of another version is called that even
    /// if its note has another size.
    pub fn from_desc(desc: &[u8]) -> Result<Self, NoteError> {
        let Some(abi) = desc.first_chunk::<4>() else {
            return Err(NoteError::Length(desc.len()));
        };
        let abi = u32::from_le_bytes(*abi);
        if abi != ABI_VERSION {
            return Err(NoteError::AbiVersion(abi));
        }
        if desc.len() != DESC_BYTES {
            return Err(NoteError::Length(desc.len()));
        }
        let note = Self {
            flags: u32::from_le_bytes(get(desc, FLAGS)),
            sdk_version: get(desc, SDK_VERSION),
            function_name: get(desc, FUNCTION_NAME),
            function_version: get(desc, FUNCTION_VERSION),
        };
        for text in [
            &note.sdk_version[..],
            &note.function_name,
            &note.function_version,
        ] {
            text_of(text).ok_or(NoteError::Text)?;
        }
        Ok(note)
    }

    /// Version of the SDK; empty if not UTF-8.
    pub fn sdk_version(&self) -> &str {
        text_of(&self.sdk_version).unwrap_or_default()
    }

    /// Name of the function's package; empty if not UTF-8.
    pub fn function_name(&self) -> &str {
        text_of(&self.function_name).unwrap_or_default()
    }

    /// Version of the function's package; empty if not UTF-8.
    pub fn function_version(&self) -> &str {
        text_of(&self.function_version).unwrap_or_default()
    }
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut room = [0; N];
    let mut end = if text.len() < N { text.len() } else { N };
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut index = 0;
    while index < end {
        room[index] = text.as_bytes()[index];
        index += 1;
    }
    room
}

fn text_of(room: &[u8]) -> Option<&str> {
    let end = room
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(room.len());
    core::str::from_utf8(&room[..end]).ok()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let note = Note::new(FLAG_PRECISE_CLOCK, "0.1.0", "hello", "1.2.3");
        let bytes = note.to_bytes();
        assert_eq!(Note::from_desc(&bytes[20..]), Ok(note));
        assert_eq!(
            (note.function_name(), note.function_version()),
            ("hello", "1.2.3")
        );
    }

    #[test]
    fn stacks_have_limits_on_both_sides() {
        let flags = FLAG_PRECISE_CLOCK | FLAG_RANDOM_INIT;
        for bytes in [
            STACK_BYTES_DEFAULT,
            STACK_BYTES_DEFAULT + STACK_BYTES_STEP,
            8 << 20,
            STACK_BYTES_MAX,
        ] {
            let with = with_stack(flags, bytes).expect("allowed");
            assert_eq!(stack_bytes(with), Some(bytes));
            assert_eq!(with & 0xffff, flags);
        }
        // Notes from before there was a choice stay as they are.
        assert_eq!(with_stack(flags, STACK_BYTES_DEFAULT), Some(flags));
        assert_eq!(stack_bytes(flags), Some(STACK_BYTES_DEFAULT));
        for bytes in [
            0,
            STACK_BYTES_DEFAULT - STACK_BYTES_STEP,
            STACK_BYTES_DEFAULT + 1,
            STACK_BYTES_MAX + STACK_BYTES_STEP,
            u64::MAX,
        ] {
            assert_eq!(with_stack(0, bytes), None, "{bytes}");
        }
        assert_eq!(stack_bytes(1 << STACK_SHIFT), None);
        assert_eq!(stack_bytes(u32::MAX), None);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let name = "é".repeat(40);
        assert_eq!(Note::new(0, "", &name, "").function_name(), "é".repeat(32));
        let odd = std::format!("a{name}");
        assert_eq!(Note::new(0, "", &odd, "").function_name().len(), 63);
    }

    #[test]
    fn another_version_is_named_before_the_length() {
        assert_eq!(
            Note::from_desc(&[9, 0, 0, 0]),
            Err(NoteError::AbiVersion(9))
        );
        assert_eq!(
            Note::from_desc(&ABI_VERSION.to_le_bytes()),
            Err(NoteError::Length(4))
        );
        assert_eq!(Note::from_desc(&[1]), Err(NoteError::Length(1)));
    }
}
