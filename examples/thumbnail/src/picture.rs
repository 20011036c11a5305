//! Pictures: decoding and shrinking.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, ops::Range};

use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;
use zune_png::PngDecoder;

/// Largest width or height of a picture, pixels.
const SIDE_MAX: usize = 16_384;
/// Largest picture, pixels: with three bytes each it fits a VM of 128 MiB.
pub(crate) const PIXELS_MAX: usize = 24_000_000;

/// Why a file is not a picture.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// It is neither a JPEG nor a PNG.
    Unknown,
    /// It has too many pixels.
    TooLarge { width: usize, height: usize },
    /// It is broken, or of a kind that the decoder does not know.
    Broken(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("the picture is neither a JPEG nor a PNG"),
            Self::TooLarge { width, height } => {
                write!(
                    f,
                    "the picture has {width} x {height} pixels: send at most {PIXELS_MAX}"
                )
            }
            Self::Broken(why) => write!(f, "the picture does not decode: {}", why.trim_end()),
        }
    }
}

/// A decoded picture.
pub(crate) struct Picture {
    width: usize,
    height: usize,
    /// Bytes of a pixel: grey, grey and alpha, RGB, or RGB and alpha.
    channels: usize,
    pixels: Vec<u8>,
}

/// A shrunk picture without transparency.
pub(crate) struct Small {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Three bytes a pixel, row by row.
    pub(crate) rgb: Vec<u8>,
}

impl Picture {
    pub(crate) fn decode(file: &[u8]) -> Result<Self, DecodeError> {
        if file.starts_with(b"\xff\xd8\xff") {
            Self::decode_jpeg(file)
        } else if file.starts_with(b"\x89PNG\r\n\x1a\n") {
            Self::decode_png(file)
        } else {
            Err(DecodeError::Unknown)
        }
    }

    fn decode_jpeg(file: &[u8]) -> Result<Self, DecodeError> {
        let options = options().jpeg_set_out_colorspace(ColorSpace::RGB);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
        decoder.decode_headers().map_err(broken)?;
        let (width, height) = checked_size(decoder.dimensions())?;
        let pixels = decoder.decode().map_err(broken)?;
        Self::new(width, height, 3, pixels)
    }

    fn decode_png(file: &[u8]) -> Result<Self, DecodeError> {
        let options = options().png_set_strip_to_8bit(true);
        let mut decoder = PngDecoder::new_with_options(ZCursor::new(file), options);
        decoder.decode_headers().map_err(broken)?;
        let (width, height) = checked_size(decoder.dimensions())?;
        let channels = decoder
            .colorspace()
            .map_or(0, |space| space.num_components());
        let pixels = decoder.decode_raw().map_err(broken)?;
        Self::new(width, height, channels, pixels)
    }

    /// Checks that the decoder delivered what it announced.
    fn new(
        width: usize,
        height: usize,
        channels: usize,
        pixels: Vec<u8>,
    ) -> Result<Self, DecodeError> {
        if !(1..=4).contains(&channels) || pixels.len() != width * height * channels {
            return Err(broken("its pixels are incomplete"));
        }
        Ok(Self {
            width,
            height,
            channels,
            pixels,
        })
    }

    /// Shrinks to this width, keeping the proportions. A picture that is smaller already keeps its
    /// size.
    pub(crate) fn shrink_to(&self, width: u16) -> Small {
        // All sides are at most `SIDE_MAX`, which fits 16 bits.
        let small_width = usize::from(width).min(self.width);
        let small_height = (self.height * small_width / self.width).max(1);
        let mut rgb = Vec::with_capacity(small_width * small_height * 3);
        for y in 0..small_height {
            let rows = part(y, small_height, self.height);
            for x in 0..small_width {
                let columns = part(x, small_width, self.width);
                rgb.extend(self.mean(rows.clone(), columns));
            }
        }
        Small {
            width: small_width as u16,
            height: small_height as u16,
            rgb,
        }
    }

    /// The mean colour of a rectangle, before a white background where it is transparent.
    fn mean(&self, rows: Range<usize>, columns: Range<usize>) -> [u8; 3] {
        let count = (rows.len() * columns.len()) as u64;
        let mut sums = [0; 3];
        for row in rows {
            let start = row * self.width;
            let row =
                (start + columns.start) * self.channels..(start + columns.end) * self.channels;
            for pixel in self.pixels[row].chunks_exact(self.channels) {
                let (color, alpha) = match *pixel {
                    [grey] => ([grey; 3], 255),
                    [grey, alpha] => ([grey; 3], alpha),
                    [red, green, blue] => ([red, green, blue], 255),
                    [red, green, blue, alpha] => ([red, green, blue], alpha),
                    _ => continue, // `new` admits one to four channels.
                };
                let alpha = u64::from(alpha);
                for (sum, value) in sums.iter_mut().zip(color) {
                    *sum += u64::from(value) * alpha + 255 * (255 - alpha);
                }
            }
        }
        sums.map(|sum| ((sum + 255 * count / 2) / (255 * count)) as u8) // A mean of bytes.
    }
}

/// The range of the `index`-th of `parts` equal parts of `whole`; never empty, as
/// `parts <= whole`.
fn part(index: usize, parts: usize, whole: usize) -> Range<usize> {
    index * whole / parts..(index + 1) * whole / parts
}

fn options() -> DecoderOptions {
    DecoderOptions::new_safe()
        .set_max_width(SIDE_MAX)
        .set_max_height(SIDE_MAX)
}

fn checked_size(size: Option<(usize, usize)>) -> Result<(usize, usize), DecodeError> {
    match size {
        Some((width, height)) if width * height > PIXELS_MAX => {
            Err(DecodeError::TooLarge { width, height })
        }
        Some((width, height)) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err(broken("it has no size")),
    }
}

fn broken(why: impl ToString) -> DecodeError {
    DecodeError::Broken(why.to_string())
}
