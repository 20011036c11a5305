//! Code of functions as zip files, at addresses that GetFunction gives out: who has one needs no key until it expires.

use std::{
    io::{Cursor, Read, Write},
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::{HeaderValue, Method, header, request::Parts};
use axum::{body::Body, response::Response};
use hmac::{Hmac, KeyInit, Mac};
use jiffy_model::Outcome;
use jiffy_snapshots::Digest;
use sha2::Sha256;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};
use uuid::Uuid;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{LambdaRouter, code::ENTRY_NAME, error::LambdaError, name::parameter};
use crate::{http::bodies::keeping, vm::Vms};

const PREFIX: &str = "/code/";
/// How long an address is good: as in Lambda.
pub const DOWNLOAD_S_MAX: u64 = 10 * 60;

/// Downloads at once: each has a whole image in memory until its client has taken it.
const DOWNLOADS_MAX: usize = 4;

/// Signs addresses, which end with the process that gave them out, and bounds how many are read at once.
#[derive(Clone)]
pub(crate) struct Downloads {
    key: [u8; 32],
    permits: Arc<Semaphore>,
}

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
        let permits = Arc::new(Semaphore::new(DOWNLOADS_MAX));
        Self { key, permits }
    }

    /// A permit for one more, which whoever takes theirs slowly may keep.
    async fn permit(&self, wait_max: Duration) -> Result<OwnedSemaphorePermit, LambdaError> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = timeout(wait_max, permit).await.ok().and_then(Result::ok);
        permit.ok_or_else(|| {
            let message =
                format!("code is being read {DOWNLOADS_MAX} times already: try again later");
            LambdaError::new(Outcome::Platform, message)
        })
    }

    fn mac(&self, image: &Digest, expires_s: u64) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
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
pub(super) fn is_download(path: &str) -> bool {
    path.starts_with(PREFIX)
}

fn parsed<T: FromStr>(text: Option<String>) -> Option<T> {
    text?.parse().ok()
}

impl<V: Vms> LambdaRouter<V> {
    /// Answers a request for code.
    pub(super) async fn download(&self, parts: &Parts) -> Result<Response, LambdaError> {
        if parts.method != Method::GET {
            let message = "code can only be read: use GET";
            return Err(LambdaError::new(Outcome::MethodNotAllowed, message));
        }
        let uri = &parts.uri;
        let refused = || {
            LambdaError::new(
                Outcome::OtherOrigin,
                "the address of the code is wrong or has expired: ask GetFunction for another",
            )
        };
        let image = uri.path().strip_prefix(PREFIX).map(str::to_owned);
        let image: Digest = parsed(image).ok_or_else(refused)?;
        let expires_s: u64 = parsed(parameter(uri, "Expires")).ok_or_else(refused)?;
        let signature: Digest = parsed(parameter(uri, "Signature")).ok_or_else(refused)?;
        let mac = self.downloads.mac(&image, expires_s);
        let is_good = mac.verify_slice(&signature.0).is_ok();
        if !is_good || expires_s < unix_s(SystemTime::now()) {
            return Err(refused());
        }
        let permit = self.downloads.permit(self.backend.body_time_max()).await?;
        let (mut file, bytes) = self.backend.service.prepare.image(&image).await?;
        let zip = spawn_blocking(move || {
            let mut image = Vec::with_capacity(usize::try_from(bytes).unwrap_or_default());
            file.read_to_end(&mut image)?;
            zip_of(&image)
        });
        let zip = zip.await.ok().and_then(Result::ok);
        let zip =
            zip.ok_or_else(|| LambdaError::new(Outcome::Platform, "the code cannot be read"))?;
        let mut response = Response::new(Body::from(keeping(zip, permit)));
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/zip"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two hundred slow readers of 64 MiB each would hold all of a host's memory.
    #[tokio::test]
    async fn what_is_not_taken_keeps_its_permit() {
        let downloads = Downloads::new();
        let soon = Duration::from_millis(20);
        let mut bodies = vec![];
        for _ in 0..DOWNLOADS_MAX {
            let permit = downloads.permit(soon).await.expect("a permit");
            bodies.push(keeping(vec![7; 100], permit));
        }
        let refused = downloads
            .clone()
            .permit(soon)
            .await
            .expect_err("all are taken");
        assert!(
            refused.message().contains("4 times"),
            "{}",
            refused.message()
        );
        // A part of it is still all of it.
        let part = bodies.pop().map(|body| body.slice(..1));
        assert!(downloads.permit(soon).await.is_err());
        drop(part);
        assert!(downloads.permit(soon).await.is_ok());
    }
}
