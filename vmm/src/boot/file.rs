//! An image as linux-loader wants one: a file that begins with headers. They are written anew from what was verified,
//! so that what is loaded is what was looked at, whoever writes to the file meanwhile; only the segments' bytes come
//! from the file, and straight into RAM: a copy of them would count against the VM's memory.

use std::io::{self, Read, Seek, SeekFrom};

use jiffy_image::{Image, Source};
use vm_memory::{ReadVolatile, VolatileMemoryError, VolatileSlice, bitmap::BitmapSlice};

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;
const HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;

/// The headers, and behind them the whole file.
pub(super) struct ImageFile<'a, S: ?Sized> {
    headers: Vec<u8>,
    source: &'a S,
    position: u64,
}

impl<'a, S: Source + ?Sized> ImageFile<'a, S> {
    pub(super) fn new(image: &Image, source: &'a S) -> Self {
        Self {
            headers: headers(image),
            source,
            position: 0,
        }
    }

    /// Fills `to` as far as the headers reach, or else from the file.
    fn read_at_position(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let start = self.headers.len() as u64;
        let read = match self.position.checked_sub(start) {
            Some(offset) => {
                self.source.read_exact_at(to, offset)?;
                to.len()
            }
            None => {
                let from = usize::try_from(self.position).map_err(io::Error::other)?;
                (&self.headers[from..]).read(to)?
            }
        };
        self.position += read as u64;
        Ok(read)
    }
}

/// An ELF header, and a program header for each segment, whose bytes lie so much further back than in the file.
fn headers(image: &Image) -> Vec<u8> {
    let segments = image.segments();
    let start = (HEADER_BYTES + segments.len() * PROGRAM_HEADER_BYTES) as u64;
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([2, 0, 62, 0, 1, 0, 0, 0]); // An executable, for x86-64, of ELF's version.
    for number in [image.entry(), HEADER_BYTES as u64, 0] {
        bytes.extend(number.to_le_bytes()); // Entry; where the program headers are; no sections.
    }
    bytes.extend([0; 4]);
    for number in [HEADER_BYTES, PROGRAM_HEADER_BYTES, segments.len(), 0, 0, 0] {
        // At most `PROGRAM_HEADERS_MAX` segments.
        bytes.extend(u16::try_from(number).unwrap_or_default().to_le_bytes());
    }
    for segment in segments {
        bytes.extend([1, 0, 0, 0, 4, 0, 0, 0]); // To be loaded, and readable.
        let (address, offset) = (segment.address, start + segment.offset);
        for number in [
            offset,
            address,
            address,
            segment.file_bytes,
            segment.bytes,
            1,
        ] {
            bytes.extend(number.to_le_bytes());
        }
    }
    bytes
}

impl<S: Source + ?Sized> Read for ImageFile<'_, S> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_at_position(to)
    }
}

impl<S: Source + ?Sized> ReadVolatile for ImageFile<'_, S> {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        to: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        let mut piece = vec![0; PIECE_BYTES.min(to.len())];
        let mut done = 0;
        // All of it: guest memory takes less for the end of the file.
        while done < to.len() {
            let bytes = piece.len().min(to.len() - done);
            let read = self.read_at_position(&mut piece[..bytes]);
            let read = read.map_err(VolatileMemoryError::IOError)?;
            to.offset(done)?.copy_from(&piece[..read]);
            done += read;
        }
        Ok(done)
    }
}

impl<S: ?Sized> Seek for ImageFile<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = match to {
            SeekFrom::Start(position) => position,
            SeekFrom::Current(0) => self.position,
            SeekFrom::Current(_) | SeekFrom::End(_) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
        };
        Ok(self.position)
    }
}
