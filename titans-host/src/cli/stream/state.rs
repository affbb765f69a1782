//! The state file: the stream's own bytes behind a short head (`titans_kernel::model::KeptState`).

use crate::error::{Error, Result};
use std::path::Path;
use titans_kernel::header;
use titans_kernel::model::KeptState;

/// Where a stream stands.
pub(super) struct StreamState {
    /// The token that was read and waits to be fed.
    pub(super) pending: Option<u32>,
    /// Numbers of a patch that is not whole yet; of text, what the model says after the last token, if none waits.
    pub(super) open: Vec<f32>,
    /// What the session saved.
    pub(super) stream: Vec<u8>,
}

impl StreamState {
    /// Reads a file, if it is there: what this verb wrote, or the C library.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, "reading the state", e)),
        };
        let damaged = |_| Error::file(path, "is not the state of a stream of this version, or is damaged");
        if bytes.len() < KeptState::head_len(0) {
            return Err(Error::file(path, format!("expected the state of a stream, found {} bytes", bytes.len())));
        }
        if ![header::KEPT, header::STREAM].iter().any(|begins| bytes.starts_with(*begins)) {
            return Err(Error::file(path, "is not the state of a stream of this version, or is damaged"));
        }
        let kept = KeptState::parse(&bytes).map_err(damaged)?;
        Ok(Some(Self { pending: kept.pending, open: kept.open().collect(), stream: kept.stream.to_vec() }))
    }

    /// What is written.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; KeptState::head_len(self.open.len())];
        KeptState::write_head(self.pending, &self.open, &mut bytes)?;
        bytes.extend_from_slice(&self.stream);
        Ok(bytes)
    }
}
