//! Code of functions as zip files, at addresses that GetFunction gives out: who has one needs no key until it expires.

use std::{
    io::{Cursor, Read, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderValue, Method, header, request::Parts};
use axum::{body::Body, extract::Request, response::Response};
use hmac::{Hmac, KeyInit, Mac};
use jiffy_snapshots::Digest;
use sha2::Sha256;
use tokio::task::spawn_blocking;
use uuid::Uuid;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    code::ENTRY_NAME,
    error::{Exception, LambdaError},
    name::parameter,
};
use crate::{
    api::{Api, trace::RequestId},
    vm::Vms,
};

const PREFIX: &str = "/code/";
/// How long an address is good: as in Lambda.
pub const DOWNLOAD_S_MAX: u64 = 10 * 60;

/// Signs addresses. They end with the process that gave them out.
#[derive(Clone)]
pub(crate) struct Downloads([u8; 32]);

impl std::fmt::Debug for Downloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Downloads")
    }
}

impl Downloads {
    /// A key that nobody knows.
    pub(crate) fn new() -> Self {
        let mut key = [0; 32];
        // 122 random bits each.
        key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(key)
    }

    fn mac(&self, image: &Digest, expires_s: u64) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&image.0);
        mac.update(&expires_s.to_be_bytes());
        mac
    }

    /// Path and query of an image's address.
    pub(super) fn path(&self, image: &Digest, now: SystemTime) -> String {
        let expires_s = unix_s(now).saturating_add(DOWNLOAD_S_MAX);
        let signature = Digest(self.mac(image, expires_s).finalize().into_bytes().into());
        format!("{PREFIX}{image}?Expires={expires_s}&Signature={signature}")
    }
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// Whether a path is that of such an address.
pub(crate) fn is_download(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Answers a request for code.
pub(crate) async fn answer_download<V: Vms>(api: &Api<V>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    super::with_id(RequestId::random(), download(api, &parts).await)
}

async fn download<V: Vms>(api: &Api<V>, parts: &Parts) -> Result<Response, LambdaError> {
    if parts.method != Method::GET {
        let message = "code can only be read: use GET";
        return Err(LambdaError::new(Exception::MethodNotAllowed, message));
    }
    let uri = &parts.uri;
    let refused = || {
        LambdaError::new(
            Exception::OtherOrigin,
            "the address of the code is wrong or has expired: ask GetFunction for another",
        )
    };
    let image: Digest = uri
        .path()
        .strip_prefix(PREFIX)
        .and_then(|text| text.parse().ok())
        .ok_or_else(refused)?;
    let expires_s: u64 = parameter(uri, "Expires")?
        .and_then(|text| text.parse().ok())
        .ok_or_else(refused)?;
    let signature: Digest = parameter(uri, "Signature")?
        .and_then(|text| text.parse().ok())
        .ok_or_else(refused)?;
    let verified = api
        .downloads
        .mac(&image, expires_s)
        .verify_slice(&signature.0);
    if verified.is_err() || expires_s < unix_s(SystemTime::now()) {
        return Err(refused());
    }
    // It is in memory as a whole.
    let _place = api.uploads.acquire().await;
    let (mut file, bytes) = api.service.image(&image).await?;
    let zip = spawn_blocking(move || {
        let mut image = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
        file.read_to_end(&mut image)?;
        zip_of(&image)
    });
    let zip = zip.await.ok().and_then(Result::ok);
    let zip = zip.ok_or_else(|| LambdaError::new(Exception::Service, "the code cannot be read"))?;
    let mut response = Response::new(Body::from(zip));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/zip"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The same bytes for the same image.
fn zip_of(image: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::with_capacity(image.len() + 256)));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(zip::DateTime::default())
        .unix_permissions(0o755);
    writer.start_file(ENTRY_NAME, options)?;
    writer.write_all(image)?;
    Ok(writer.finish()?.into_inner())
}
