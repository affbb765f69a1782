//! One memory in one block of bytes: a head, then the kernel's memory with its scratch. No pointer is stored, so a copy
//! of the block is a memory too.
//!
//! ```text
//! 0            Head: magic, ABI, sizes, configuration and its hash, counters
//! HEAD         the buffer of a `Memory`, f32, up to the total size (a multiple of 64)
//! ```

use crate::arithmetic::arithmetic;
use crate::config::titans_memory_config;
use crate::failure::{Failure, Outcome};
use crate::pointer::{ALIGN, Arg, addresses, aligned_block, expect_head};
use crate::status::titans_status::{self, *};
use crate::version::TITANS_ABI_VERSION;
use core::ops::Range;
use titans_kernel::arch::Simd;
use titans_kernel::memory::{Counters, Memory, MemorySpec, Read};

/// A memory in a caller's block. Only pointers to it exist; its contents belong to the library.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub struct titans_memory {
    _head: Head,
}

/// "TITANSM" and a zero, read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"TITANSM\0");
const HEAD: usize = size_of::<Head>();
const _: () = assert!(HEAD.is_multiple_of(ALIGN) && align_of::<Head>() == ALIGN);

/// The head of a block: integers and floats only, so that any bytes are a value of it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    magic: u64,
    abi: u32,
    head_bytes: u32,
    total_bytes: u64,
    config_hash: u64,
    config: titans_memory_config,
    /// 1 while a call changes the block; found 1 at a call's start, an earlier one never ended.
    busy: u32,
    /// 1 when `surprise` is that of a token of this memory.
    known: u32,
    surprise: f32,
    position: u64,
    clipped: u64,
    filled: u64,
}

/// Where things lie in the block of a configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Numbers of the memory's buffer.
    numbers: usize,
    total: usize,
}

impl Layout {
    /// # Errors
    /// `TITANS_ERROR_TOO_LARGE` when the block would not fit the address space.
    pub(crate) fn new(position: i32, spec: &MemorySpec) -> Outcome<Self> {
        let (params, chunk) = (spec.params() as u128, spec.period_len() as u128);
        let widths = spec.widths.iter().map(|&w| w as u128).sum::<u128>();
        // Far above what the kernel asks for, so that its own sums cannot overflow either.
        let bound = 64 * (2 * params + (chunk + 8) * (chunk + 8) + 8 * (chunk + 8) * widths);
        if bound > isize::MAX as u128 {
            return Err(Failure::new(TITANS_ERROR_TOO_LARGE, position, "config"));
        }
        let numbers = Owned::buffer_len(spec);
        let total = HEAD + size_of::<f32>() * numbers;
        Ok(Self { numbers, total: total.next_multiple_of(ALIGN) })
    }

    /// Bytes of the block.
    pub(crate) const fn total(&self) -> usize {
        self.total
    }
}

/// The kernel's memory in the numbers of a block.
pub(crate) type Owned<'a> = Memory<f32, &'a mut [f32], Simd>;

/// A block that was checked, borrowed for the length of a call.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) head: &'a mut Head,
    memory: Owned<'a>,
    pub(crate) addresses: Range<usize>,
}

impl Head {
    const fn new(config: titans_memory_config, hash: u64, total: usize) -> Self {
        Self {
            magic: MAGIC,
            abi: TITANS_ABI_VERSION,
            head_bytes: HEAD as u32,
            total_bytes: total as u64,
            config_hash: hash,
            config,
            busy: 0,
            known: 0,
            surprise: 0.0,
            position: 0,
            clipped: 0,
            filled: 0,
        }
    }

    /// What the stream counted.
    pub(crate) const fn counters(&self) -> Counters {
        Counters { position: self.position, clipped: self.clipped, filled: self.filled }
    }

    /// The last token's surprise, if there was a token.
    pub(crate) fn surprise(&self) -> Option<f32> {
        (self.known == 1).then_some(self.surprise)
    }

    /// Reads and checks the head of a block.
    ///
    /// # Safety
    /// A pointer that is not NULL points to at least `HEAD` readable bytes that nobody writes meanwhile.
    pub(crate) unsafe fn read(arg: Arg, block: *const titans_memory) -> Outcome<(Self, MemorySpec, Read, Layout)> {
        aligned_block(arg, block.cast())?;
        // SAFETY: aligned and not NULL; readable by promise; any bytes are a Head.
        let head = unsafe { block.cast::<Self>().read() };
        let bad = |code: titans_status, expected: u64, found: u64| {
            Err(Failure::sizes(code, arg.position, arg.name, expected, found))
        };
        expect_head(arg, (MAGIC, head.magic), head.abi)?;
        let hash = head.config.hash();
        if head.config_hash != hash || head.head_bytes as usize != HEAD {
            return bad(TITANS_ERROR_CORRUPT, hash, head.config_hash);
        }
        let corrupt = |_| arg.fail(TITANS_ERROR_CORRUPT);
        let (spec, read) = head.config.spec(arg.position).map_err(corrupt)?;
        let layout = Layout::new(arg.position, &spec).map_err(corrupt)?;
        if head.total_bytes != layout.total as u64 {
            return bad(TITANS_ERROR_CORRUPT, layout.total as u64, head.total_bytes);
        }
        if head.filled >= spec.period_len() as u64 {
            return bad(TITANS_ERROR_CORRUPT, spec.period_len() as u64, head.filled);
        }
        if head.busy != 0 {
            return Err(arg.fail(TITANS_ERROR_POISONED));
        }
        Ok((head, spec, read, layout))
    }
}

impl<'a> Block<'a> {
    /// Borrows a block that was initialised before.
    ///
    /// # Safety
    /// A pointer that is not NULL points to readable and writable bytes; if they are a memory's head, then to all of
    /// the memory; and nobody else uses them while the borrow lasts.
    pub(crate) unsafe fn open(arg: Arg, block: *mut titans_memory) -> Outcome<Self> {
        // SAFETY: readable by promise.
        let (_, spec, read, layout) = unsafe { Head::read(arg, block) }?;
        // SAFETY: the head was just checked, so by promise the whole block is there.
        unsafe { Self::split(block.cast(), spec, read, layout) }
    }

    /// Makes a block: every byte of it is written.
    ///
    /// # Safety
    /// `buffer` is aligned to `ALIGN` and points to `layout.total()` writable bytes that nobody else uses.
    pub(crate) unsafe fn create(
        buffer: *mut u8,
        config: titans_memory_config,
        spec: MemorySpec,
        read: Read,
        layout: Layout,
    ) -> Outcome<Self> {
        // SAFETY: writable by promise; the head fits because the total is at least HEAD.
        unsafe {
            buffer.write_bytes(0, layout.total);
            buffer.cast::<Head>().write(Head::new(config, config.hash(), layout.total));
            Self::split(buffer, spec, read, layout)
        }
    }

    /// # Safety
    /// `buffer` is aligned and points to the initialised bytes of a block with this layout, nobody else's meanwhile.
    unsafe fn split(buffer: *mut u8, spec: MemorySpec, read: Read, layout: Layout) -> Outcome<Self> {
        let addresses = addresses(buffer, layout.total);
        // SAFETY: head and numbers are disjoint, aligned (HEAD is a multiple of 64) and inside of the block; they hold
        // integers and floats, for which all bytes are valid.
        let (head, numbers) = unsafe {
            let numbers = buffer.add(HEAD).cast::<f32>();
            (&mut *buffer.cast::<Head>(), core::slice::from_raw_parts_mut(numbers, layout.numbers))
        };
        let memory = Memory::attach(spec, read, head.counters(), arithmetic(), numbers).map_err(Failure::internal)?;
        Ok(Self { head, memory, addresses })
    }

    /// The configuration.
    pub(crate) const fn spec(&self) -> &MemorySpec {
        self.memory.spec()
    }

    /// Runs `body` on the memory; the block is marked busy meanwhile and keeps what was counted, also where a token was
    /// refused after others were written.
    pub(crate) fn with_memory<R>(
        &mut self,
        body: impl FnOnce(&mut Owned<'a>) -> titans_kernel::Result<R>,
    ) -> titans_kernel::Result<R> {
        self.head.busy = 1;
        let result = body(&mut self.memory);
        self.head.busy = 0;
        let counters = self.memory.counters();
        (self.head.position, self.head.clipped, self.head.filled) =
            (counters.position, counters.clipped, counters.filled);
        result
    }

    /// Keeps the last token's surprise, or forgets it.
    pub(crate) fn set_surprise(&mut self, surprise: Option<f32>) {
        self.head.known = u32::from(surprise.is_some());
        self.head.surprise = surprise.unwrap_or(0.0);
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Block, Head, Layout, titans_memory};
    use crate::config::{titans_memory_config, titans_memory_config_init};
    use crate::pointer::arg;
    use crate::status::titans_status::{TITANS_ERROR_POISONED, TITANS_OK};
    use crate::version::TITANS_ABI_VERSION;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::ptr::null_mut;
    use std::vec;

    #[repr(align(64))]
    #[derive(Clone, Copy)]
    struct Line([u8; 64]);

    #[test]
    fn a_panic_inside_a_call_poisons_the_memory_until_it_is_made_again() {
        let mut config = std::mem::MaybeUninit::<titans_memory_config>::uninit();
        // SAFETY: the structure is writable and of the size that is passed.
        let config = unsafe {
            let size = size_of::<titans_memory_config>();
            assert_eq!(
                titans_memory_config_init(config.as_mut_ptr(), size, TITANS_ABI_VERSION, null_mut()),
                TITANS_OK as i32
            );
            config.assume_init()
        };
        let layout = config.spec(1).and_then(|(spec, _)| Layout::new(1, &spec)).unwrap();
        let mut lines = vec![Line([0; 64]); layout.total() / 64];
        let buffer = lines.as_mut_ptr().cast::<u8>();
        let memory = buffer.cast::<titans_memory>();
        for _ in 0..2 {
            let (spec, read) = config.spec(1).unwrap();
            // SAFETY: the buffer has the layout's size and alignment, and each borrow ends before the next.
            let mut block = unsafe { Block::create(buffer, config, spec, read, layout) }.unwrap();
            assert_eq!(block.head.busy, 0);
            let call = || block.with_memory(|_| -> titans_kernel::Result<()> { panic!("planted") });
            assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
            // SAFETY: as above.
            let failure = unsafe { Head::read(arg(1, "memory"), memory) }.unwrap_err();
            assert_eq!(failure.code, TITANS_ERROR_POISONED);
        }
        assert_eq!(lines[0].0[..7], *b"TITANSM");
    }
}
