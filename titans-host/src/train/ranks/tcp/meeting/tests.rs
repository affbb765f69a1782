use super::super::Tcp;
use super::{Meeting, address, entry};
use crate::train::ranks::Collective;
use crate::train::ranks::launch::{Launch, Transport};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Barrier, Mutex};
use std::time::Duration;

fn exit(code: u8) {
    panic!("nobody aborts: {code}");
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn meeting(port: u16, one_machine: bool, patience: u64) -> Meeting {
    Meeting { host: "127.0.0.1".into(), port, one_machine, key: 7, patience: Duration::from_secs(patience) }
}

fn launch(rank: usize, size: usize) -> Launch {
    Launch { by: "torchrun", over: Transport::Tcp, rank, size, local: Some(rank) }
}

/// What each of `size` processes gives, in threads.
fn together<R: Send>(size: usize, one_machine: bool, work: impl Fn(Tcp) -> R + Sync) -> Vec<R> {
    let meeting = meeting(free_port(), one_machine, 60);
    std::thread::scope(|scope| {
        let (meeting, work) = (&meeting, &work);
        let all: Vec<_> = (0..size)
            .map(|rank| scope.spawn(move || work(Tcp::at(meeting, &launch(rank, size), exit).unwrap())))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[test]
fn everybody_hears_everybody() {
    for (size, one_machine) in [(2, true), (3, true), (5, false)] {
        let work = |ranks: Tcp| {
            let (rank, size) = (ranks.rank(), ranks.size());
            ranks.meet().unwrap();
            let mut said = [rank as u8 + 1; 3];
            ranks.broadcast(&mut said).unwrap();
            assert_eq!(said, [1; 3]);
            let mut all = vec![0xee; 2 * size];
            ranks.all_gather(&[rank as u8, 9], &mut all).unwrap();
            assert_eq!(all, (0..size).flat_map(|rank| [rank as u8, 9]).collect::<Vec<_>>());
            ranks.all_gather(&[], &mut []).unwrap();
            // More than any socket holds, two at once, and words between them.
            let row = 1 << 18;
            let number = |from: usize, to: usize, i: usize| (from * 1000 + to * 100) as u64 + (i % 7) as u64;
            let rows = |of: &dyn Fn(usize, usize) -> u64| {
                (0..size).flat_map(|other| (0..row).map(move |i| (other, i))).map(|(o, i)| of(o, i)).collect::<Vec<_>>()
            };
            let mine = rows(&|to, i| number(rank, to, i));
            ranks.start_exchange(mine.clone(), vec![u64::MAX; size * row]).unwrap();
            ranks.start_exchange(vec![rank as u64; size], vec![u64::MAX; size]).unwrap();
            ranks.meet().unwrap();
            let [back, theirs] = ranks.finish_exchange().unwrap();
            assert!(back == mine && theirs == rows(&|from, i| number(from, rank, i)));
            let [_, theirs] = ranks.finish_exchange().unwrap();
            assert_eq!(theirs, (0..size as u64).collect::<Vec<_>>());
            assert!(ranks.finish_exchange().is_err(), "no other one is under way");
            assert!(
                ranks.all_gather(&[1, 2], &mut [0; 3]).is_err() && ranks.start_exchange(vec![0; size], vec![]).is_err()
            );
            ranks.end();
        };
        together(size, one_machine, work);
    }
}

#[test]
fn who_leaves_without_a_word_is_named() {
    let both = Barrier::new(2);
    let said = together(3, true, |ranks| {
        if ranks.rank() == 1 {
            // As the system closes what a process leaves behind.
            drop(ranks);
            return String::new();
        }
        let error = ranks.meet().unwrap_err().to_string();
        // Who leaves next is not to be named by the other.
        both.wait();
        error
    });
    for rank in [0, 2] {
        assert!(said[rank].contains("process 1 of 3") && said[rank].contains("--resume"), "{said:?}");
    }
}

#[test]
fn who_aborts_ends_the_others() {
    static CODES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let meeting = meeting(free_port(), true, 60);
    std::thread::scope(|scope| {
        let member = |rank| {
            let meeting = &meeting;
            scope.spawn(move || {
                let ranks = Tcp::at(meeting, &launch(rank, 3), |code| CODES.lock().unwrap().push(code)).unwrap();
                if rank == 2 {
                    return ranks.abort(7);
                }
                // A process would be gone by now.
                assert!(ranks.meet().is_err());
            })
        };
        let all = [0, 1, 2].map(member);
        all.into_iter().for_each(|one| one.join().unwrap());
    });
    assert_eq!(*CODES.lock().unwrap(), [7, 7]);
}

#[test]
fn strangers_and_other_runs_are_not_heard() {
    let port = free_port();
    let (ours, mut other) = (meeting(port, true, 60), meeting(port, true, 60));
    other.key = 8;
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| Tcp::at(&ours, &launch(0, 2), exit).unwrap().end());
        let connect = || loop {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                return stream;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        for hello in
            [vec![0; 22], other.hello(1, 2, 9).to_vec(), ours.hello(1, 3, 9).to_vec(), ours.hello(0, 2, 9).to_vec()]
        {
            let mut stranger = connect();
            stranger.write_all(&hello).unwrap();
            assert_eq!(stranger.read(&mut [0]).unwrap_or(0), 0, "{hello:?}");
        }
        Tcp::at(&ours, &launch(1, 2), exit).unwrap().end();
        leader.join().unwrap();
    });
}

#[test]
fn who_does_not_come_is_named() {
    let error = Tcp::at(&meeting(free_port(), true, 0), &launch(0, 4), exit).unwrap_err().to_string();
    assert!(error.contains("expected 4 processes, those of rank 1, 2, 3 did not come"), "{error}");
    let error = Tcp::at(&meeting(free_port(), true, 0), &launch(1, 2), exit).unwrap_err().to_string();
    assert!(error.contains("meeting the other processes"), "{error}");
}

#[test]
fn the_place_is_what_the_environment_says() {
    let of = |variables: &[(&str, &str)]| {
        Meeting::of(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    };
    let torchrun = [("MASTER_ADDR", "node0"), ("MASTER_PORT", "29500"), ("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "4")];
    let found = of(&torchrun).unwrap();
    assert_eq!((found.host.as_str(), found.port, found.one_machine), ("node0", 29501, true));
    let found = of(&[&torchrun[..3], &[("LOCAL_WORLD_SIZE", "2"), ("TITANS_PORT", "7")]].concat()).unwrap();
    assert_eq!((found.port, found.one_machine), (7, false));
    for (variables, says) in [
        (&torchrun[..1], "MASTER_PORT: expected torchrun to set it"),
        (&[], "MASTER_ADDR: expected torchrun to set it"),
        (&[("MASTER_ADDR", "a"), ("MASTER_PORT", "65535")], "TITANS_PORT"),
        (&[("MASTER_ADDR", "a"), ("MASTER_PORT", "x")], "MASTER_PORT: expected a port, 1 to 65535, found \"x\""),
        (&[("MASTER_ADDR", "a"), ("TITANS_PORT", "0")], "TITANS_PORT: expected a port"),
    ] {
        let error = of(variables).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn places_come_back_from_the_table() {
    for place in ["10.1.2.3:4", "[2001:db8::1]:65535", "127.0.0.1:80"] {
        let place: SocketAddr = place.parse().unwrap();
        assert_eq!(address(&entry(place)), place);
    }
}
