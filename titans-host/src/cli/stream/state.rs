//! The state file: the stream's own bytes behind a short head.

use crate::error::{Error, Result};
use flate2::Crc;
use std::path::Path;

const MAGIC: [u8; 8] = *b"TTNFEED\x01";
/// Magic, the token that waits, how many numbers of an open patch follow, a CRC-32 of them all and of those numbers.
const HEAD: usize = 20;
/// No token waits.
const NONE: u32 = u32::MAX;

/// Where a stream stands.
pub(super) struct StreamState {
    /// The token that was read and waits to be fed.
    pub(super) pending: Option<u32>,
    /// Numbers of a patch that is not whole yet.
    pub(super) open: Vec<f32>,
    /// What the session saved.
    pub(super) stream: Vec<u8>,
}

impl StreamState {
    /// Reads a file, if it is there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, "reading the state", e)),
        };
        let damaged = || Error::file(path, "is not the state of a stream of this version, or is damaged");
        let Some(head) = bytes.get(..HEAD) else {
            return Err(Error::file(path, format!("expected the state of a stream, found {} bytes", bytes.len())));
        };
        let word = |b: &[u8], at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        if head[..8] != MAGIC {
            return Err(damaged());
        }
        let end = HEAD.saturating_add((word(head, 12) as usize).saturating_mul(4));
        let (Some(open), Some(stream)) = (bytes.get(HEAD..end), bytes.get(end..)) else { return Err(damaged()) };
        if word(head, 16) != crc(&[&head[..16], open]) {
            return Err(damaged());
        }
        let pending = Some(word(head, 8)).filter(|&id| id != NONE);
        let open = open.chunks_exact(4).map(|b| f32::from_bits(word(b, 0))).collect();
        Ok(Some(Self { pending, open, stream: stream.to_vec() }))
    }

    /// What is written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut head = MAGIC.to_vec();
        head.extend(self.pending.unwrap_or(NONE).to_le_bytes());
        head.extend((self.open.len() as u32).to_le_bytes());
        let open: Vec<u8> = self.open.iter().flat_map(|x| x.to_bits().to_le_bytes()).collect();
        head.extend(crc(&[&head, &open]).to_le_bytes());
        [head, open, self.stream.clone()].concat()
    }
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.sum()
}
