//! How processes over TCP find each other: rank 0 waits at a place that all know, and tells everybody where the others
//! wait.

use crate::{Error, Result};
use std::fmt::Display;
use std::io::{Error as IoError, ErrorKind, Read, Result as IoResult, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// So long processes wait for each other: those of many machines do not start at once.
const PATIENCE: Duration = Duration::from_secs(300);
/// So long a connection may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);
/// What a process says first, before its run's key, its rank, their number and its own port.
const HELLO: [u8; 8] = *b"TTNRANK\x01";
/// Bytes of a hello; of an entry of the table that rank 0 answers with.
const HELLO_BYTES: usize = 8 + 4 + 4 + 4 + 2;
const ENTRY_BYTES: usize = 16 + 2;

/// Where rank 0 waits for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    host: String,
    port: u16,
    /// All processes are on this machine, and nobody else needs to reach them.
    one_machine: bool,
    /// What the processes of one run have in common.
    key: u32,
    patience: Duration,
}

/// Who a connection comes from.
struct Hello {
    rank: usize,
    /// Where it waits itself.
    port: u16,
}

impl Meeting {
    /// What the environment says, by `get`: rank 0 waits at `MASTER_ADDR`, at the port `TITANS_PORT`, by default the
    /// one above `MASTER_PORT`, at which torchrun itself is.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the variable that is missing, or no port.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let needed = |name: &str| {
            get(name).ok_or_else(|| {
                Error::usage(format!(
                    "{name}: expected torchrun to set it, as it does RANK and WORLD_SIZE, found nothing; start with torchrun, or \
                     unset these"
                ))
            })
        };
        let port = |name: &str, text: &str| {
            let found = text.parse::<u16>().ok().filter(|&port| port > 0);
            found.ok_or_else(|| Error::usage(format!("{name}: expected a port, 1 to 65535, found {text:?}")))
        };
        let host = needed("MASTER_ADDR")?;
        let port = match get("TITANS_PORT") {
            Some(text) => port("TITANS_PORT", &text)?,
            None => port("MASTER_PORT", &needed("MASTER_PORT")?)?.checked_add(1).ok_or_else(|| {
                Error::usage(
                    "MASTER_PORT: there is no port above 65535, at which rank 0 would wait; name one by TITANS_PORT",
                )
            })?,
        };
        let one_machine = get("LOCAL_WORLD_SIZE").is_some_and(|local| get("WORLD_SIZE") == Some(local));
        let key = crc32fast::hash(get("TORCHELASTIC_RUN_ID").unwrap_or_default().as_bytes());
        Ok(Self { host, port, one_machine, key, patience: PATIENCE })
    }

    /// A connection with every other process, by rank.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be reached, or do not come in time.
    pub(super) fn connect(&self, rank: usize, size: usize) -> Result<Vec<Option<TcpStream>>> {
        let failed = |e| Error::io(format!("{}:{}", self.host, self.port), "meeting the other processes", e);
        let until = Instant::now() + self.patience;
        let all = if rank == 0 { self.lead(size, until) } else { self.follow(rank, size, until) };
        let all = all.map_err(failed)?;
        for stream in all.iter().flatten() {
            stream.set_nodelay(true).map_err(failed)?;
            stream.set_read_timeout(None).map_err(failed)?;
        }
        Ok(all)
    }

    fn lead(&self, size: usize, until: Instant) -> IoResult<Vec<Option<TcpStream>>> {
        let listener = match self.one_machine {
            true => TcpListener::bind(&self.addresses()?[..]),
            false => everywhere(self.port),
        }?;
        let (mut all, mut table) = (none(size), vec![[0; ENTRY_BYTES]; size]);
        self.accept(&listener, 1..size, size, &mut all, until, |hello, from| {
            table[hello.rank] = entry(SocketAddr::new(from, hello.port));
        })?;
        for stream in all.iter_mut().flatten() {
            stream.write_all(&table.concat())?;
        }
        Ok(all)
    }

    fn follow(&self, rank: usize, size: usize, until: Instant) -> IoResult<Vec<Option<TcpStream>>> {
        let mut leader = self.reach(&self.addresses()?, until)?;
        let listener = match self.one_machine {
            true => TcpListener::bind((leader.local_addr()?.ip(), 0)),
            false => everywhere(0),
        }?;
        leader.write_all(&self.hello(rank, size, listener.local_addr()?.port()))?;
        leader.set_read_timeout(Some(self.patience))?;
        let mut table = vec![0; size * ENTRY_BYTES];
        leader.read_exact(&mut table)?;
        let leader_ip = leader.peer_addr()?.ip();
        let mut all = none(size);
        for (before, place) in table.chunks_exact(ENTRY_BYTES).enumerate().take(rank).skip(1) {
            // Where rank 0 sees a process on its own machine, others see rank 0's machine.
            let place = address(place);
            let place = if place.ip().is_loopback() { SocketAddr::new(leader_ip, place.port()) } else { place };
            let mut stream = self.reach(&[place], until)?;
            stream.write_all(&self.hello(rank, size, 0))?;
            all[before] = Some(stream);
        }
        all[0] = Some(leader);
        self.accept(&listener, rank + 1..size, size, &mut all, until, |_, _| {})?;
        Ok(all)
    }

    fn addresses(&self) -> IoResult<Vec<SocketAddr>> {
        Ok((self.host.as_str(), self.port).to_socket_addrs()?.collect())
    }

    /// Connects as soon as somebody waits there.
    fn reach(&self, places: &[SocketAddr], until: Instant) -> IoResult<TcpStream> {
        loop {
            let mut last = IoError::new(ErrorKind::NotFound, "the name has no address");
            for place in places {
                match TcpStream::connect_timeout(place, INTRODUCTION) {
                    Ok(stream) => return Ok(stream),
                    Err(e) => last = e,
                }
            }
            if Instant::now() >= until {
                return Err(last);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits for the processes of these ranks; what else connects is not heard.
    fn accept(
        &self,
        listener: &TcpListener,
        ranks: std::ops::Range<usize>,
        size: usize,
        all: &mut [Option<TcpStream>],
        until: Instant,
        mut came: impl FnMut(Hello, IpAddr),
    ) -> IoResult<()> {
        listener.set_nonblocking(true)?;
        while ranks.clone().any(|rank| all[rank].is_none()) {
            match listener.accept() {
                Ok((mut stream, from)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_read_timeout(Some(INTRODUCTION))?;
                    let hello = self.heard(&mut stream, size).filter(|hello| ranks.contains(&hello.rank));
                    if let Some(hello) = hello.filter(|hello| all[hello.rank].is_none()) {
                        all[hello.rank] = Some(stream);
                        came(hello, from.ip());
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < until => std::thread::sleep(PAUSE),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    let missing: Vec<_> = ranks.filter(|&rank| all[rank].is_none()).collect();
                    let waited = format!("expected {size} processes, those of rank {} did not come", list(&missing));
                    return Err(IoError::new(ErrorKind::TimedOut, waited));
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn hello(&self, rank: usize, size: usize, port: u16) -> [u8; HELLO_BYTES] {
        let mut out = [0; HELLO_BYTES];
        out[..8].copy_from_slice(&HELLO);
        out[8..12].copy_from_slice(&self.key.to_le_bytes());
        out[12..16].copy_from_slice(&(rank as u32).to_le_bytes());
        out[16..20].copy_from_slice(&(size as u32).to_le_bytes());
        out[20..].copy_from_slice(&port.to_le_bytes());
        out
    }

    /// Who connects, if it is one of this run's processes.
    fn heard(&self, stream: &mut TcpStream, size: usize) -> Option<Hello> {
        let mut bytes = [0; HELLO_BYTES];
        stream.read_exact(&mut bytes).ok()?;
        let rank = u32::from_le_bytes(bytes[12..16].try_into().ok()?) as usize;
        let port = u16::from_le_bytes(bytes[20..].try_into().ok()?);
        (rank < size && bytes == self.hello(rank, size, port)).then_some(Hello { rank, port })
    }
}

fn none(size: usize) -> Vec<Option<TcpStream>> {
    (0..size).map(|_| None).collect()
}

/// At every address of this machine.
fn everywhere(port: u16) -> IoResult<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

fn entry(place: SocketAddr) -> [u8; ENTRY_BYTES] {
    let ip = match place.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut out = [0; ENTRY_BYTES];
    out[..16].copy_from_slice(&ip.octets());
    out[16..].copy_from_slice(&place.port().to_le_bytes());
    out
}

fn address(entry: &[u8]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&entry[..16]);
    SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), u16::from_le_bytes([entry[16], entry[17]]))
}

fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
