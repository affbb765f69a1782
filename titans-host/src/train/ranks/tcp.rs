//! Processes that reach each other over TCP, as torchrun starts them: no library is needed, and CPUs and GPUs on one
//! machine or several may take part.
//!
//! Every two of them have a connection ([`Meeting`]), with a thread that writes and one that reads, so that exchanges
//! are on their way while the backward goes on. A process that leaves without having said that it is done is gone to
//! the others: the next thing that they do together fails, with its number.

mod meeting;

pub use meeting::Meeting;

use super::launch::Launch;
use super::{Collective, expect_rows};
use crate::{Error, Result};
use bytemuck::{cast_slice, cast_slice_mut};
use std::collections::VecDeque;
use std::fmt;
use std::io::{BufWriter, Error as IoError, ErrorKind, Read, Result as IoResult, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// So long a process that ends all others waits until its word is out.
const LAST: Duration = Duration::from_secs(2);

/// What a message is, its first byte; eight bytes of its length follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    /// Of an operation that waits for its end.
    Word,
    /// A row of an exchange.
    Exchange,
    /// The sender is done.
    End,
    /// All are to end with the exit code that is its one byte.
    Abort,
}

impl Tag {
    const ALL: [Self; 4] = [Self::Word, Self::Exchange, Self::End, Self::Abort];
}

/// What is to be written.
type Message = (Tag, Vec<u8>);

/// The connection with another process.
struct Peer {
    stream: TcpStream,
    /// To the thread that writes; none once all is said.
    out: Mutex<Option<Sender<Message>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    words: Receiver<Vec<u8>>,
    exchanges: Receiver<Vec<u8>>,
}

impl Peer {
    fn new(stream: TcpStream, exit: fn(u8)) -> IoResult<Self> {
        let ((out, said), (heard_word, words), (heard_row, exchanges)) = (channel(), channel(), channel());
        let (to, from) = (stream.try_clone()?, stream.try_clone()?);
        let writer = Builder::new().name("titans-send".into()).spawn(move || drop(write(to, &said)))?;
        Builder::new().name("titans-hear".into()).spawn(move || drop(read(from, &heard_word, &heard_row, exit)))?;
        Ok(Self { stream, out: Mutex::new(Some(out)), writer: Mutex::new(Some(writer)), words, exchanges })
    }

    /// Whether it is gone shows when something is awaited from it.
    fn say(&self, tag: Tag, bytes: &[u8]) {
        if let Some(out) = lock(&self.out).as_ref() {
            let _ = out.send((tag, bytes.to_vec()));
        }
    }

    /// Lets the writer finish what was said; whether it did within that time.
    fn close(&self, within: Duration) -> bool {
        drop(lock(&self.out).take());
        let Some(writer) = lock(&self.writer).take() else { return true };
        let begun = Instant::now();
        while !writer.is_finished() && begun.elapsed() < within {
            std::thread::sleep(Duration::from_millis(1));
        }
        writer.is_finished()
    }
}

impl Drop for Peer {
    /// Its threads end, and the other process hears that nobody is here any more.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write(stream: TcpStream, said: &Receiver<Message>) -> IoResult<()> {
    let mut out = BufWriter::new(stream);
    while let Ok((tag, bytes)) = said.recv() {
        out.write_all(&[tag as u8])?;
        out.write_all(&(bytes.len() as u64).to_le_bytes())?;
        out.write_all(&bytes)?;
        out.flush()?;
    }
    Ok(())
}

/// Hands on what comes; returns, and so tells who awaits something, at the end or where the connection breaks.
fn read(mut stream: TcpStream, words: &Sender<Vec<u8>>, exchanges: &Sender<Vec<u8>>, exit: fn(u8)) -> IoResult<()> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [tag, len @ ..] = head;
        let len = u64::from_le_bytes(len);
        let mut bytes = Vec::new();
        if Read::by_ref(&mut stream).take(len).read_to_end(&mut bytes)? as u64 != len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let heard = match Tag::ALL.into_iter().find(|&known| known as u8 == tag) {
            Some(Tag::Word) => words.send(bytes).is_ok(),
            Some(Tag::Exchange) => exchanges.send(bytes).is_ok(),
            Some(Tag::Abort) => {
                exit(bytes.first().copied().unwrap_or(1));
                false
            }
            Some(Tag::End) | None => false,
        };
        if !heard {
            return Ok(());
        }
    }
}

/// All processes that were started with this one.
pub struct Tcp {
    rank: usize,
    /// By rank; none for this process.
    peers: Vec<Option<Peer>>,
    /// Exchanges that are under way: what goes, and the place for what comes.
    under_way: Mutex<VecDeque<[Vec<u64>; 2]>>,
}

impl Tcp {
    /// Joins the processes that `launch` is one of, at the place that the environment names ([`Meeting`]). `exit` ends
    /// this process with an exit code, in a thread of its own, when another one aborts all.
    ///
    /// # Errors
    /// As [`Meeting::of`]; [`Error::Io`] when the others cannot be reached, or do not come.
    pub fn join(launch: &Launch, exit: fn(u8)) -> Result<Self> {
        Self::at(&Meeting::of(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))?, launch, exit)
    }

    /// The same at a place that is known.
    ///
    /// # Errors
    /// [`Error::Io`] when the others cannot be reached, or do not come.
    pub fn at(meeting: &Meeting, launch: &Launch, exit: fn(u8)) -> Result<Self> {
        let peers = meeting.connect(launch.rank, launch.size)?.into_iter().map(|stream| match stream {
            Some(stream) => Peer::new(stream, exit).map(Some),
            None => Ok(None),
        });
        let peers = peers.collect::<IoResult<_>>().map_err(|e| Error::io("TCP", "starting its threads", e))?;
        Ok(Self { rank: launch.rank, peers, under_way: Mutex::default() })
    }

    /// Leaves in order, after the others have come as far too.
    pub fn end(self) {
        for (_, peer) in self.others() {
            peer.say(Tag::End, &[]);
        }
        for (_, peer) in self.others() {
            // A word that nobody asked for is none of this run's; behind the last one its reader is gone.
            while peer.words.recv().is_ok() {}
            peer.close(LAST);
        }
    }

    fn others(&self) -> impl Iterator<Item = (usize, &Peer)> {
        self.peers.iter().enumerate().filter_map(|(rank, peer)| Some((rank, peer.as_ref()?)))
    }

    fn say_all(&self, bytes: &[u8]) {
        self.others().for_each(|(_, peer)| peer.say(Tag::Word, bytes));
    }

    /// What a process says next, of a length that is known.
    fn hear(&self, rank: usize, from: &Receiver<Vec<u8>>, out: &mut [u8]) -> Result<()> {
        let said = from.recv().map_err(|_| self.gone(rank))?;
        if said.len() != out.len() {
            return Err(Error::usage(format!(
                "process {rank} of {}: expected {} bytes from it, found {}; start one program with one command in all processes",
                self.peers.len(),
                out.len(),
                said.len()
            )));
        }
        out.copy_from_slice(&said);
        Ok(())
    }

    fn gone(&self, rank: usize) -> Error {
        let ended = IoError::new(
            ErrorKind::ConnectionAborted,
            "it has ended without a word, and the others cannot go on; --resume goes on from the last checkpoint",
        );
        Error::io(format!("process {rank} of {}", self.peers.len()), "hearing from it", ended)
    }
}

impl fmt::Debug for Tcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tcp").field("rank", &self.rank).field("size", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Collective for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.peers.len()
    }

    fn meet(&self) -> Result<()> {
        self.say_all(&[]);
        self.others().try_for_each(|(rank, peer)| self.hear(rank, &peer.words, &mut []))
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<()> {
        if self.rank == 0 {
            self.say_all(bytes);
        }
        match self.peers.first() {
            Some(Some(leader)) => self.hear(0, &leader.words, bytes),
            Some(None) | None => Ok(()),
        }
    }

    fn all_gather(&self, mine: &[u8], all: &mut [u8]) -> Result<()> {
        expect_rows(self.size(), mine.len(), all.len())?;
        self.say_all(mine);
        if mine.is_empty() {
            return self.others().try_for_each(|(rank, peer)| self.hear(rank, &peer.words, &mut []));
        }
        all.chunks_exact_mut(mine.len()).zip(&self.peers).enumerate().try_for_each(|(rank, (row, peer))| match peer {
            Some(peer) => self.hear(rank, &peer.words, row),
            None => {
                row.copy_from_slice(mine);
                Ok(())
            }
        })
    }

    fn start_exchange(&self, mine: Vec<u64>, theirs: Vec<u64>) -> Result<()> {
        let row = mine.len() / self.size();
        expect_rows(self.size(), row, mine.len())?;
        expect_rows(1, mine.len(), theirs.len())?;
        self.others().for_each(|(rank, peer)| peer.say(Tag::Exchange, cast_slice(&mine[rank * row..][..row])));
        lock(&self.under_way).push_back([mine, theirs]);
        Ok(())
    }

    fn finish_exchange(&self) -> Result<[Vec<u64>; 2]> {
        let next = lock(&self.under_way).pop_front();
        let [mine, mut theirs] = next.ok_or_else(|| Error::usage("TCP: no exchange is under way"))?;
        let row = mine.len() / self.size();
        for (rank, peer) in self.peers.iter().enumerate() {
            let place = &mut theirs[rank * row..][..row];
            match peer {
                Some(peer) => self.hear(rank, &peer.exchanges, cast_slice_mut(place))?,
                None => place.copy_from_slice(&mine[rank * row..][..row]),
            }
        }
        Ok([mine, theirs])
    }

    fn abort(&self, code: u8) {
        self.others().for_each(|(_, peer)| peer.say(Tag::Abort, &[code]));
        let begun = Instant::now();
        for (_, peer) in self.others() {
            peer.close(LAST.saturating_sub(begun.elapsed()));
        }
    }
}
