//! Bodies in memory: how many bytes of them all there are at once, and how one is taken in.
//!
//! A body counts for what has arrived of it, not for what its sender promises: who sends all but the last byte holds what it
//! sent and no more. Pieces are copied into segments, so that one of a few bytes does not keep the buffer that it was
//! read into, and so that a body that grows is not moved; what a function gets is made of them at the end. They are mapped and
//! not allocated: an allocator keeps what it was given back for the next time, among what others hold, and a crowd comes
//! seldom.
//! Responses count until the client has taken them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use memmap2::MmapMut;
use tokio::time::timeout;

use super::input::BodyError;

/// Bytes of a body that is gathered in allocated memory; a larger one is mapped.
const ALLOCATED_BYTES_MAX: usize = 16 << 10;
/// Bytes of a mapped segment. What is not written of it costs nothing.
const SEGMENT_BYTES: usize = 1 << 20;

/// What all bodies have together.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    held_bytes: AtomicU64,
}

impl Budget {
    /// Bytes that are held now.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }
}

/// A body's part of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Arc<Budget>,
    bytes: u64,
    bytes_max: u64,
}

impl Held {
    /// Nothing yet, of a budget of `bytes_max`.
    pub(crate) fn new(budget: &Arc<Budget>, bytes_max: u64) -> Self {
        Self {
            budget: Arc::clone(budget),
            bytes: 0,
            bytes_max,
        }
    }

    /// Takes as much more, or nothing if that is more than all may have.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), BodyError> {
        let bytes = bytes as u64;
        let before = self.budget.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.bytes_max {
            self.budget.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(BodyError::Overloaded {
                bytes_max: self.bytes_max,
            });
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget
            .held_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How a body is taken in.
#[derive(Debug)]
pub(crate) struct Intake {
    /// What it may take.
    pub(crate) time_max: Duration,
    /// Its part of the budget, for as long as the body is there.
    pub(crate) held: Held,
}

/// The whole body, in one piece. Refuses by the declared length before it reads a byte.
pub(crate) async fn collect(
    body: Body,
    bytes_max: usize,
    intake: &mut Intake,
) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge {
        bytes_max: bytes_max as u64,
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large);
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let time_max = intake.time_max;
    let read = timeout(time_max, read(body, bytes_max, &mut intake.held)).await;
    read.unwrap_or(Err(BodyError::Slow(time_max)))
}

async fn read(mut body: Body, bytes_max: usize, held: &mut Held) -> Result<Bytes, BodyError> {
    let mut segments = Segments::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        // Trailers are nobody's.
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if segments.bytes + piece.len() > bytes_max {
            return Err(BodyError::TooLarge {
                bytes_max: bytes_max as u64,
            });
        }
        held.grow(piece.len())?;
        if segments.bytes == 0 && body.is_end_stream() {
            return Ok(piece);
        }
        segments.push(&piece)?;
    }
    Ok(segments.join().into())
}

/// Bytes that came one after the other.
#[derive(Debug, Default)]
struct Segments {
    /// All of a small body, the beginning of a large one.
    first: Vec<u8>,
    /// Full, but for the last.
    mapped: Vec<MmapMut>,
    last_bytes: usize,
    bytes: usize,
}

impl Segments {
    fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        self.bytes += piece.len();
        let room = ALLOCATED_BYTES_MAX - self.first.len();
        let (now, mut rest) = piece.split_at(piece.len().min(room));
        self.first.extend_from_slice(now);
        while !rest.is_empty() {
            if self.mapped.is_empty() || self.last_bytes == SEGMENT_BYTES {
                let segment = MmapMut::map_anon(SEGMENT_BYTES);
                self.mapped.push(segment.map_err(|_| BodyError::NoMemory)?);
                self.last_bytes = 0;
            }
            let Some(last) = self.mapped.last_mut() else {
                break; // There is one now.
            };
            let bytes = rest.len().min(SEGMENT_BYTES - self.last_bytes);
            let (now, later) = rest.split_at(bytes);
            last[self.last_bytes..self.last_bytes + bytes].copy_from_slice(now);
            self.last_bytes += bytes;
            rest = later;
        }
        Ok(())
    }

    /// All of it in one piece. Each segment is given back as soon as it is copied.
    fn join(self) -> Vec<u8> {
        if self.mapped.is_empty() {
            return self.first;
        }
        let mut joined = Vec::with_capacity(self.bytes);
        joined.extend_from_slice(&self.first);
        for segment in self.mapped {
            let bytes = SEGMENT_BYTES.min(self.bytes - joined.len());
            joined.extend_from_slice(&segment[..bytes]);
        }
        joined
    }
}

/// A response's body, which counts until the last of it is sent.
pub(crate) fn counted(body: Vec<u8>, mut held: Held) -> Result<Bytes, BodyError> {
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    held.grow(body.len())?;
    Ok(keeping(body, held))
}

/// `bytes`, which keep `what` until the last of them is sent.
pub(crate) fn keeping<T: Send + 'static>(bytes: Vec<u8>, what: T) -> Bytes {
    struct Keeping<T>(Vec<u8>, T);
    impl<T> AsRef<[u8]> for Keeping<T> {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    Bytes::from_owner(Keeping(bytes, what))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    const TIME_MAX: Duration = Duration::from_millis(200);

    fn intake(budget: &Arc<Budget>, bytes_max: u64) -> Intake {
        Intake {
            time_max: TIME_MAX,
            held: Held::new(budget, bytes_max),
        }
    }

    fn pieces(pieces: Vec<Vec<u8>>) -> Body {
        Body::from_stream(stream::iter(
            pieces.into_iter().map(Ok::<_, std::io::Error>),
        ))
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(future)
    }

    proptest! {
        #[test]
        fn pieces_become_the_body_and_count_while_it_is_there(
            sent in prop::collection::vec((0..300_000_usize, any::<u8>()), 0..12),
        ) {
            let budget = Arc::new(Budget::default());
            let sent: Vec<_> = sent.into_iter().map(|(bytes, byte)| vec![byte; bytes]).collect();
            let whole = sent.concat();
            let mut intake = intake(&budget, 1 << 30);
            let read = block_on(collect(pieces(sent), 4 << 20, &mut intake)).expect("within limits");
            prop_assert_eq!(&read[..], &whole[..]);
            prop_assert_eq!(budget.held_bytes(), whole.len() as u64);
            drop(intake);
            prop_assert_eq!(budget.held_bytes(), 0);
        }
    }

    #[test]
    fn all_bodies_together_have_a_limit_and_give_back_what_they_had() {
        let budget = Arc::new(Budget::default());
        let mut one = intake(&budget, 100);
        let first = collect(pieces(vec![vec![1; 30], vec![2; 30]]), 100, &mut one);
        assert_eq!(block_on(first).expect("room").len(), 60);
        let mut two = intake(&budget, 100);
        let second = collect(pieces(vec![vec![1; 30], vec![2; 11]]), 100, &mut two);
        assert_eq!(
            block_on(second),
            Err(BodyError::Overloaded { bytes_max: 100 })
        );
        // What had arrived of it counts until its sender is told.
        assert_eq!(budget.held_bytes(), 90);
        drop(two);
        drop(one);
        assert_eq!(budget.held_bytes(), 0);
    }

    #[test]
    fn only_what_arrives_counts() {
        let budget = Arc::new(Budget::default());
        let held = budget.clone();
        let endless = stream::unfold(0, move |sent| {
            let held = held.clone();
            async move {
                if sent > 0 {
                    assert_eq!(held.held_bytes(), 10);
                    std::future::pending::<()>().await;
                }
                Some((Ok::<_, std::io::Error>(vec![0; 10]), sent + 1))
            }
        });
        let mut intake = intake(&budget, 100);
        let read = collect(Body::from_stream(endless), 1000, &mut intake);
        assert_eq!(block_on(read), Err(BodyError::Slow(TIME_MAX)));
    }

    #[test]
    fn a_response_counts_until_it_is_sent() {
        let budget = Arc::new(Budget::default());
        let held = || Held::new(&budget, 100);
        let body = counted(vec![7; 90], held()).expect("room");
        let part = body.slice(10..20);
        drop(body);
        assert_eq!(budget.held_bytes(), 90);
        assert_eq!(
            counted(vec![7; 11], held()),
            Err(BodyError::Overloaded { bytes_max: 100 })
        );
        drop(part);
        assert_eq!(budget.held_bytes(), 0);
    }
}
