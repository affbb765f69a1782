//! Threads of one process in the place of processes.

use std::collections::VecDeque;
use std::sync::{Barrier, Mutex};
use titans_host::train::Collective;
use titans_host::{Error, Result};

/// Where they meet, and what each of them has laid on the table.
#[derive(Debug)]
pub struct Circle {
    barrier: Barrier,
    table: Mutex<Vec<Vec<u8>>>,
}

/// One of them.
#[derive(Debug)]
pub struct Member<'c> {
    circle: &'c Circle,
    rank: usize,
    /// Exchanges that are done and not asked for yet.
    done: Mutex<VecDeque<[Vec<u64>; 2]>>,
}

/// What each of `size` members gives, in the order of their ranks.
pub fn together<R: Send>(size: usize, work: impl Fn(&Member<'_>) -> R + Sync) -> Vec<R> {
    let circle = Circle { barrier: Barrier::new(size), table: Mutex::new(vec![Vec::new(); size]) };
    std::thread::scope(|scope| {
        let (circle, work) = (&circle, &work);
        let members: Vec<_> =
            (0..size).map(|rank| scope.spawn(move || work(&Member { circle, rank, done: Mutex::default() }))).collect();
        members.into_iter().map(|member| member.join().unwrap()).collect()
    })
}

impl Member<'_> {
    /// Lays bytes on the table and takes what is needed of all.
    fn pass(&self, mine: &[u8], mut take: impl FnMut(usize, &[u8])) {
        self.circle.table.lock().unwrap()[self.rank] = mine.to_vec();
        self.circle.barrier.wait();
        self.circle.table.lock().unwrap().iter().enumerate().for_each(|(rank, bytes)| take(rank, bytes));
        self.circle.barrier.wait();
    }
}

impl Collective for Member<'_> {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.circle.table.lock().unwrap().len()
    }

    fn meet(&self) -> Result<()> {
        self.circle.barrier.wait();
        Ok(())
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<()> {
        let mine = bytes.to_vec();
        self.pass(&mine, |rank, said| {
            if rank == 0 {
                bytes.copy_from_slice(said);
            }
        });
        Ok(())
    }

    fn all_gather(&self, mine: &[u8], all: &mut [u8]) -> Result<()> {
        if mine.len() * self.size() != all.len() {
            return Err(Error::usage("rows of other lengths"));
        }
        self.pass(mine, |rank, said| all[rank * said.len()..][..said.len()].copy_from_slice(said));
        Ok(())
    }

    fn start_exchange(&self, mine: Vec<u64>, mut theirs: Vec<u64>) -> Result<()> {
        let (size, row) = (self.size(), mine.len() / self.size());
        if row * size != mine.len() || mine.len() != theirs.len() {
            return Err(Error::usage("rows of other lengths"));
        }
        self.pass(bytemuck::cast_slice(&mine), |rank, said| {
            let said = &said[8 * self.rank * row..][..8 * row];
            bytemuck::cast_slice_mut(&mut theirs[rank * row..][..row]).copy_from_slice(said);
        });
        self.done.lock().unwrap().push_back([mine, theirs]);
        Ok(())
    }

    fn finish_exchange(&self) -> Result<[Vec<u64>; 2]> {
        self.done.lock().unwrap().pop_front().ok_or_else(|| Error::usage("no exchange is under way"))
    }

    fn abort(&self, _code: u8) {}
}
