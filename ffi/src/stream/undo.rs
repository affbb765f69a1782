//! What a stream goes back to when a token is refused: a copy of its state, and the tokens that it took since.

use super::block::{Place, StreamBlock};
use crate::failure::{Failure, Outcome, copy, sure};
use titans_kernel::model::Feed;
use titans_kernel::{Error, Mat, MatMut};

/// Room for the tokens since the copy, as the model reads them.
#[derive(Debug)]
pub(super) enum Log<'a> {
    Ids(&'a mut [u32]),
    Rows(&'a mut [f32], usize),
}

/// The copy and the log; both empty where there is no undo.
#[derive(Debug)]
pub(super) struct Undo<'a> {
    pub(super) spare: &'a mut [f32],
    pub(super) log: Log<'a>,
}

/// Where outputs and surprise of a push go, if anywhere: all rows of each.
pub(super) type Said<'o> = [Option<&'o mut [f32]>; 2];

/// The first n rows, of so many numbers each.
fn first<'o>(
    rows: &'o mut Option<&mut [f32]>,
    n: usize,
    columns: usize,
) -> titans_kernel::Result<Option<MatMut<'o, f32>>> {
    let rows = rows.as_deref_mut().map(|y| MatMut::new(y.get_mut(..n * columns).unwrap_or_default(), n, columns));
    rows.transpose()
}

impl StreamBlock<'_> {
    fn has_undo(&self) -> bool {
        self.head.config.undo > 0
    }

    /// Feeds tokens, all or up to the first that is refused, whose number is returned.
    pub(super) fn take(&mut self, feed: Feed<'_, f32>, mut said: Said<'_>) -> Outcome<Option<usize>> {
        match self.push(feed, &mut said)? {
            Ok(()) => {
                self.took(&feed);
                Ok(None)
            }
            Err(Error::Diverged { token }) => {
                self.head.refused = self.head.refused.saturating_add(1);
                if !self.has_undo() {
                    return Ok(Some(token)); // and torn
                }
                self.up_to(feed, token, said).map(Some)
            }
            Err(error) => Err(Failure::fed(error)), // before anything changed
        }
    }

    fn push(&mut self, feed: Feed<'_, f32>, said: &mut Said<'_>) -> Outcome<titans_kernel::Result<()>> {
        let (n, outputs, memories) = (feed.len(), self.model.spec().outputs, self.model.memories());
        let [y, s] = said;
        self.with_stream(|stream, g| stream.push(g, feed, first(y, n, outputs)?, first(s, n, memories)?))
    }

    /// After a token was refused, which tore the stream: goes back and takes those before it.
    fn up_to(&mut self, feed: Feed<'_, f32>, refused: usize, mut said: Said<'_>) -> Outcome<usize> {
        let mut good = refused;
        loop {
            self.back()?;
            let before = feed.sub(0, good);
            match self.push(before, &mut said)? {
                Ok(()) => {
                    self.took(&before);
                    return Ok(good);
                }
                // An earlier one still, which the later ones had hidden.
                Err(Error::Diverged { token }) if token < good => good = token,
                Err(error) => return Err(Failure::internal(error)),
            }
        }
    }

    /// Stands where it stood before the call: from the copy, by the tokens since.
    pub(super) fn back(&mut self) -> Outcome<()> {
        let (state, n) = (self.state_len(), self.head.logged as usize);
        copy(sure(self.buffer.get_mut(..state))?, self.undo.spare);
        self.head.place = self.head.spare;
        let empty = Log::Ids(&mut []);
        let log = core::mem::replace(&mut self.undo.log, empty);
        let again = match &log {
            Log::Ids(ids) => self.push(Feed::Tokens(sure(ids.get(..n))?), &mut [None, None]),
            Log::Rows(rows, size) => {
                let rows = Mat::new(sure(rows.get(..n * size))?, n, *size).map_err(Failure::internal)?;
                self.push(Feed::Rows(rows), &mut [None, None])
            }
        };
        self.undo.log = log;
        again?.map_err(Failure::internal)
    }

    /// The stream took these tokens.
    fn took(&mut self, feed: &Feed<'_, f32>) {
        let (logged, n) = (self.head.logged as usize, feed.len());
        if !self.has_undo() || n == 0 {
            return;
        }
        if n > self.head.config.undo as usize - logged {
            return self.keep();
        }
        match (&mut self.undo.log, feed) {
            (Log::Ids(log), Feed::Tokens(ids)) => copy(log.get_mut(logged..logged + n).unwrap_or_default(), ids),
            (Log::Rows(log, size), Feed::Rows(rows)) => {
                let places = log.get_mut(logged * *size..).unwrap_or_default().chunks_exact_mut((*size).max(1));
                places.zip(0..n).for_each(|(place, i)| copy(place, rows.row(i)));
            }
            _ => return self.keep(), // fed in the other kind, which the kernel refuses
        }
        self.head.logged += n as u64;
    }

    /// The stream stands here; how it came here is forgotten.
    pub(super) fn keep(&mut self) {
        if self.has_undo() {
            let state = self.state_len();
            copy(self.undo.spare, self.buffer.get(..state).unwrap_or_default());
            self.head.spare = self.head.place;
            self.head.logged = 0;
        }
    }

    /// Where it stands, unless it stands nowhere.
    pub(super) fn whole(&self) -> Outcome<()> {
        if self.head.place.torn() {
            Err(Failure::new(crate::status::titans_status::TITANS_ERROR_TORN, 1, "stream"))
        } else {
            Ok(())
        }
    }
}

impl Place {
    /// Whether a token was refused with nothing to go back to.
    pub(super) fn torn(self) -> bool {
        self.position().is_none_or(|place| place.torn)
    }
}
