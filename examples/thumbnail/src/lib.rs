//! Makes a small JPEG of a large JPEG or PNG: `POST /?width=64` with the picture as body.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod picture;

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use jiffy::http::{Error, Request, Response, StatusCode, Uri};
use jpeg_encoder::{ColorType, Encoder};

use crate::picture::{DecodeError, Picture};

/// Width if the request names none, pixels.
const WIDTH_DEFAULT: u16 = 128;
/// Largest width that can be asked for, pixels.
const WIDTH_MAX: u16 = 1024;
/// Where file size and looks meet for small pictures, of 100.
const JPEG_QUALITY: u8 = 80;

/// Why there is no thumbnail.
#[derive(Debug)]
enum ThumbnailError {
    Width(String),
    Decode(DecodeError),
    Encode(jpeg_encoder::EncodingError),
}

impl ThumbnailError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Width(_) => StatusCode::BAD_REQUEST,
            Self::Decode(DecodeError::Unknown) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Decode(DecodeError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Decode(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Encode(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl fmt::Display for ThumbnailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Width(width) => {
                write!(
                    f,
                    "width is {width:?}: use a number between 1 and {WIDTH_MAX}"
                )
            }
            Self::Decode(error) => error.fmt(f),
            Self::Encode(error) => write!(f, "cannot encode the thumbnail: {error}"),
        }
    }
}

/// Answers with the thumbnail, or with what is wrong with the request.
#[jiffy::function]
pub fn thumbnail(request: Request) -> Result<Response, Error> {
    let jpeg = wanted_width(request.uri()).and_then(|width| shrink(request.body(), width));
    match jpeg {
        Ok(jpeg) => Response::builder()
            .header("content-type", "image/jpeg")
            .body(jpeg),
        Err(error) => Response::builder()
            .status(error.status())
            .header("content-type", "text/plain; charset=utf-8")
            .body(format!("{error}\n")),
    }
}

fn wanted_width(uri: &Uri) -> Result<u16, ThumbnailError> {
    let Some(text) = uri.query_value("width") else {
        return Ok(WIDTH_DEFAULT);
    };
    match text.parse() {
        Ok(width @ 1..=WIDTH_MAX) => Ok(width),
        _ => Err(ThumbnailError::Width(text.into_owned())),
    }
}

fn shrink(file: &[u8], width: u16) -> Result<Vec<u8>, ThumbnailError> {
    let picture = Picture::decode(file).map_err(ThumbnailError::Decode)?;
    let small = picture.shrink_to(width);
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, JPEG_QUALITY)
        .encode(&small.rgb, small.width, small.height, ColorType::Rgb)
        .map_err(ThumbnailError::Encode)?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests;
