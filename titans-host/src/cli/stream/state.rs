//! The state file: the stream's own bytes behind a short head.

use crate::error::{Error, Result};
use flate2::Crc;
use std::path::Path;

const MAGIC: [u8; 8] = *b"TTNFEED\x01";
/// Magic, the byte that waits, a CRC-32 of both.
const HEAD: usize = 16;
/// No byte waits.
const NONE: u32 = u32::MAX;

/// Where a stream stands.
pub(super) struct State {
    /// The token that was read and waits to be fed.
    pub(super) pending: Option<u32>,
    /// What the session saved.
    pub(super) stream: Vec<u8>,
}

impl State {
    /// Reads a file, if it is there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, "reading the state", e)),
        };
        let (Some(head), Some(stream)) = (bytes.get(..HEAD), bytes.get(HEAD..)) else {
            return Err(Error::file(path, format!("expected the state of a stream, found {} bytes", bytes.len())));
        };
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[..8] != MAGIC || word(12) != crc(&head[..12]) {
            return Err(Error::file(path, "is not the state of a stream of this version, or is damaged"));
        }
        let pending = Some(word(8)).filter(|&id| id != NONE);
        Ok(Some(Self { pending, stream: stream.to_vec() }))
    }

    /// What is written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.pending.unwrap_or(NONE).to_le_bytes());
        bytes.extend(crc(&bytes).to_le_bytes());
        bytes.extend(&self.stream);
        bytes
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
