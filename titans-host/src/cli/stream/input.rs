//! Standard input, read by a thread of its own: who waits for more hears of Ctrl-C and of the clock meanwhile.

use crate::error::{Error, Result};
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Bytes of one piece.
const PIECE: usize = 4096;
/// How long a wait lasts.
const WAIT: Duration = Duration::from_millis(200);

/// What came.
pub(super) enum Piece {
    /// Bytes, 1 or more.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

/// Standard input.
pub(super) struct ByteInput(Receiver<io::Result<Vec<u8>>>);

impl ByteInput {
    /// Begins to read.
    pub(super) fn new() -> Self {
        let (send, receive) = sync_channel(4);
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            loop {
                let mut space = vec![0; PIECE];
                let read = match stdin.read(&mut space) {
                    Ok(n) => {
                        space.truncate(n);
                        Ok(space)
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Err(e) => Err(e),
                };
                let last = !matches!(&read, Ok(bytes) if !bytes.is_empty());
                // Nobody listens any more once the verb has ended.
                if send.send(read).is_err() || last {
                    return;
                }
            }
        });
        Self(receive)
    }

    /// The next piece, or nothing after a while.
    pub(super) fn next(&self) -> Result<Piece> {
        match self.0.recv_timeout(WAIT) {
            Ok(Ok(bytes)) if bytes.is_empty() => Ok(Piece::End),
            Ok(Ok(bytes)) => Ok(Piece::Bytes(bytes)),
            Ok(Err(e)) => Err(Error::io("standard input", "reading", e)),
            Err(RecvTimeoutError::Timeout) => Ok(Piece::Nothing),
            Err(RecvTimeoutError::Disconnected) => Ok(Piece::End),
        }
    }
}
