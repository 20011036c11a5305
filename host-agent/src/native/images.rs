//! Uploads of images.

use axum::http::StatusCode;
use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use jiffy_model::documents::ImageDocument;

use super::json;
use crate::{
    http::{backend::Backend, input::BodyError, problem::Problem},
    images::{ImageError, StoredImage},
    vm::Vms,
};

/// `POST /v1/images`
pub(super) async fn upload<V: Vms>(
    State(backend): State<Backend<V>>,
    request: Request,
) -> Result<Response, Problem> {
    let time_max = backend.body_time_max();
    let stored = tokio::time::timeout(time_max, store(&backend, request.into_body())).await;
    let stored = stored.map_err(|_| BodyError::Slow(time_max))??;
    let view = ImageDocument {
        digest: stored.digest,
        bytes: stored.bytes,
        function_name: stored.note.function_name,
        function_version: stored.note.function_version,
        sdk_version: stored.note.sdk_version,
    };
    let body = serde_json::to_vec(&view).expect("texts and numbers always encode");
    Ok((StatusCode::CREATED, json(body)).into_response())
}

/// Writes piece by piece, so that memory does not grow with the image.
async fn store<V: Vms>(backend: &Backend<V>, mut body: Body) -> Result<StoredImage, Problem> {
    let bytes_max = backend.service.config().limits.image_bytes_max;
    if body.size_hint().lower() > bytes_max {
        return Err(ImageError::TooLarge(bytes_max).into());
    }
    let mut upload = backend.service.upload().await?;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        if let Some(piece) = frame.data_ref() {
            upload.write(piece).await?;
        }
    }
    Ok(upload.finish().await?)
}
