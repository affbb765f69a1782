//! One stream in one block of bytes. No pointer is stored, so a copy of the block is a stream too.
//!
//! ```text
//! 0       StreamHead: magic, ABI, sizes and their seal, configuration, the model's checksum, place, counters
//! HEAD    the buffer of the kernel's stream, f32: state, then scratch
//!         a copy of the state, and the tokens since, where there is an undo
//!         outputs and surprise of `rows` tokens, until they are known to be finite
//!         numbers of a row that is not whole yet, of models that read rows
//! ```

use super::config::titans_stream_config;
use super::undo::{Log, Undo};
use crate::arithmetic::arithmetic;
use crate::failure::{Failure, Outcome};
use crate::model::Opened;
use crate::pointer::{ALIGN, Arg, addresses, aligned_block, expect_head};
use crate::status::titans_status::{self, *};
use crate::version::TITANS_ABI_VERSION;
use core::ops::Range;
use titans_kernel::Choice;
use titans_kernel::arch::Simd;
use titans_kernel::model::{Input, Mode, Model, Position, Stream};

/// A stream in a caller's block. Only pointers to it exist; its contents belong to the library.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub struct titans_stream {
    _head: StreamHead,
}

/// "TITANSS" and a zero, read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"TITANSS\0");
pub(super) const HEAD: usize = size_of::<StreamHead>();
const _: () = assert!(HEAD.is_multiple_of(ALIGN) && align_of::<StreamHead>() == ALIGN);

/// A place in integers, of which any are a value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) tokens: u64,
    clipped: u64,
    mode: u32,
    torn: u32,
}

impl Place {
    pub(super) fn of(p: Position) -> Self {
        let Position { tokens, clipped, mode, torn } = p;
        Self { tokens, clipped, mode: mode.code().into(), torn: u32::from(torn) }
    }

    /// None for numbers that are no place.
    pub(super) fn position(self) -> Option<Position> {
        let mode = u8::try_from(self.mode).ok().and_then(|code| Mode::of_code(code).ok())?;
        Some(Position { tokens: self.tokens, clipped: self.clipped, mode, torn: self.torn != 0 })
    }
}

/// The head of a block: integers only, so that any bytes are a value of it.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamHead {
    magic: u64,
    abi: u32,
    head_bytes: u32,
    pub(super) layout: StreamLayout,
    pub(super) config: titans_stream_config,
    pub(super) checksum: u32,
    /// 1 while a call changes the block; found 1 at a call's start, an earlier one never ended.
    busy: u32,
    /// Of all above but `busy`.
    seal: u64,
    pub(super) place: Place,
    /// Where the copy of the state stands.
    pub(super) spare: Place,
    /// Tokens in the log.
    pub(super) logged: u64,
    /// Tokens that were refused since the stream was made or begun anew.
    pub(super) refused: u64,
    /// 1 where a loaded state had a token that waits to be fed.
    pub(super) waits: u32,
    pub(super) waiting: u32,
    /// Numbers of a row that is not whole yet.
    pub(super) open: u32,
    _zero: u32,
}

/// Where things lie in the block, in numbers of 32 bits behind the head.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StreamLayout {
    stream: u64,
    state: u64,
    spare: u64,
    log: u64,
    staged: u64,
    open: u64,
    /// Bytes of the whole block.
    total: u64,
}

impl StreamLayout {
    /// # Errors
    /// `TITANS_ERROR_TOO_LARGE` when the block would not fit the address space.
    pub(super) fn new(position: i32, model: &Model<'_, f32>, config: &titans_stream_config) -> Outcome<Self> {
        let (spec, rows) = (model.spec(), config.rows as usize);
        let (stream, state) = (model.stream_len(rows) as u64, model.state_len(rows) as u64);
        let (token, open) = match spec.input {
            Input::Tokens(_) => (1, 0),
            Input::Rows(size) => (size as u64, size as u64),
        };
        let spare = if config.undo == 0 { 0 } else { state };
        let log = u64::from(config.undo).saturating_mul(token);
        let staged = (spec.outputs as u64).saturating_add(model.memories() as u64).saturating_mul(config.rows.into());
        let layout = Self { stream, state, spare, log, staged, open, total: 0 };
        let total = layout.starts().end.saturating_mul(4).saturating_add(HEAD as u64);
        if total > (isize::MAX as u64) - ALIGN as u64 {
            return Err(Failure::new(TITANS_ERROR_TOO_LARGE, position, "config"));
        }
        Ok(Self { total: total.next_multiple_of(ALIGN as u64), ..layout })
    }

    /// Where the parts begin, in their order.
    const fn starts(&self) -> Starts {
        let spare = self.stream;
        let log = spare.saturating_add(self.spare);
        let staged = log.saturating_add(self.log);
        let open = staged.saturating_add(self.staged);
        Starts { spare, log, staged, open, end: open.saturating_add(self.open) }
    }

    /// Bytes of the block.
    pub(super) const fn total(&self) -> usize {
        self.total as usize
    }
}

/// Where the parts behind the kernel's stream begin, in numbers of 32 bits behind the head.
struct Starts {
    spare: u64,
    log: u64,
    staged: u64,
    open: u64,
    /// Behind the last part.
    end: u64,
}

/// A block that was checked, borrowed for the length of a call.
#[derive(Debug)]
pub(crate) struct StreamBlock<'a> {
    pub(super) head: &'a mut StreamHead,
    pub(super) model: Model<'a, f32>,
    /// Of the kernel's stream.
    pub(super) buffer: &'a mut [f32],
    pub(super) undo: Undo<'a>,
    pub(super) staged: &'a mut [f32],
    pub(super) open: &'a mut [f32],
    /// Of the block, the model's structure and its blob.
    pub(super) addresses: [Range<usize>; 3],
}

impl StreamHead {
    fn new(config: titans_stream_config, mode: Mode, checksum: u32, layout: StreamLayout) -> Self {
        let place = Place::of(Position { mode, ..Position::default() });
        let mut head = Self {
            magic: MAGIC,
            abi: TITANS_ABI_VERSION,
            head_bytes: HEAD as u32,
            layout,
            config,
            checksum,
            busy: 0,
            seal: 0,
            place,
            spare: place,
            logged: 0,
            refused: 0,
            waits: 0,
            waiting: 0,
            open: 0,
            _zero: 0,
        };
        head.seal = head.compute_seal();
        head
    }

    /// FNV-1a over what never changes.
    fn compute_seal(&self) -> u64 {
        let (l, c) = (&self.layout, &self.config);
        let words = [l.stream, l.state, l.spare, l.log, l.staged, l.open, l.total, self.magic].into_iter();
        let fields =
            [c.struct_size, c.flags, c.rows, c.undo, c.mode as u32, c.reserved, self.checksum, self.head_bytes];
        let all = words.chain(fields.map(u64::from));
        all.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// Where the stream stands.
    pub(super) fn position(&self, arg: Arg) -> Outcome<Position> {
        self.place.position().ok_or(arg.fail(TITANS_ERROR_CORRUPT))
    }

    /// Reads and checks the head of a block.
    ///
    /// # Safety
    /// A pointer that is not NULL points to at least `HEAD` readable bytes that nobody writes meanwhile.
    pub(super) unsafe fn read(arg: Arg, block: *const titans_stream) -> Outcome<Self> {
        aligned_block(arg, block.cast())?;
        // SAFETY: aligned and not NULL; readable by promise; any bytes are a head.
        let head = unsafe { block.cast::<Self>().read() };
        let bad = |code: titans_status, expected: u64, found: u64| {
            Err(Failure::sizes(code, arg.position, arg.name, expected, found))
        };
        expect_head(arg, (MAGIC, head.magic), head.abi)?;
        if head.seal != head.compute_seal() || head.head_bytes as usize != HEAD {
            return bad(TITANS_ERROR_CORRUPT, head.compute_seal(), head.seal);
        }
        head.position(arg)?;
        let spare = head.layout.spare == 0 || head.spare.position().is_some();
        let most = u64::from(head.config.undo);
        if !spare || head.logged > most || u64::from(head.open) > head.layout.open {
            return bad(TITANS_ERROR_CORRUPT, most, head.logged);
        }
        if head.busy != 0 {
            return Err(arg.fail(TITANS_ERROR_POISONED));
        }
        Ok(head)
    }

    /// Where the open row lies, in bytes from the block's start.
    pub(super) const fn open_at(&self) -> usize {
        HEAD + 4 * self.layout.starts().open as usize
    }

    /// That the stream is one through this model.
    pub(super) fn belongs(&self, arg: Arg, model: &Model<'_, f32>) -> Outcome<()> {
        if self.checksum == model.checksum() {
            return Ok(());
        }
        let (expected, found) = (u64::from(model.checksum()), u64::from(self.checksum));
        Err(Failure::sizes(TITANS_ERROR_OTHER_MODEL, arg.position, arg.name, expected, found))
    }
}

impl<'a> StreamBlock<'a> {
    /// Borrows a block that was initialised before.
    ///
    /// # Safety
    /// A pointer that is not NULL points to readable and writable bytes; if they are a stream's head, then to all of
    /// the stream; and nobody else uses them while the borrow lasts.
    pub(super) unsafe fn open(arg: Arg, block: *mut titans_stream, opened: Opened<'a>) -> Outcome<Self> {
        // SAFETY: readable by promise.
        let head = unsafe { StreamHead::read(arg, block) }?;
        head.belongs(arg, &opened.model)?;
        // SAFETY: the head was just checked, so by promise the whole block is there.
        Ok(unsafe { Self::split(block.cast(), head.layout, opened) })
    }

    /// Makes a block: every byte of it is written. It holds no stream yet: that wants a reset.
    ///
    /// # Safety
    /// `buffer` is aligned to `ALIGN` and points to `layout.total()` writable bytes that nobody else uses.
    pub(super) unsafe fn create(
        buffer: *mut u8,
        config: titans_stream_config,
        mode: Mode,
        layout: StreamLayout,
        opened: Opened<'a>,
    ) -> Self {
        // SAFETY: writable by promise; the head fits because the total is at least HEAD.
        unsafe {
            buffer.write_bytes(0, layout.total());
            buffer.cast::<StreamHead>().write(StreamHead::new(config, mode, opened.model.checksum(), layout));
            Self::split(buffer, layout, opened)
        }
    }

    /// # Safety
    /// `buffer` is aligned and points to the initialised bytes of a block with this layout, nobody else's meanwhile.
    unsafe fn split(buffer: *mut u8, layout: StreamLayout, opened: Opened<'a>) -> Self {
        let addresses = addresses(buffer, layout.total());
        let StreamLayout { stream, spare, log, staged, open, .. } = layout;
        let numbers = |at: u64| buffer.wrapping_add(HEAD + 4 * at as usize);
        let at = layout.starts();
        // SAFETY: the parts are disjoint, aligned (HEAD is a multiple of 64) and inside of the block; they hold
        // integers and floats, for which all bytes are valid.
        let (head, stream, spare, log, staged, open) = unsafe {
            let part = |at: u64, len: u64| core::slice::from_raw_parts_mut(numbers(at).cast::<f32>(), len as usize);
            let log = match opened.model.spec().input {
                Input::Tokens(_) => {
                    Log::Ids(core::slice::from_raw_parts_mut(numbers(at.log).cast::<u32>(), log as usize))
                }
                Input::Rows(size) => Log::Rows(part(at.log, log), size),
            };
            let (buffer, spare) = (part(0, stream), part(at.spare, spare));
            (
                &mut *numbers(0).wrapping_sub(HEAD).cast::<StreamHead>(),
                buffer,
                spare,
                log,
                part(at.staged, staged),
                part(at.open, open),
            )
        };
        let [model_at, blob_at] = opened.addresses;
        let undo = Undo { spare, log };
        Self {
            head,
            model: opened.model,
            buffer: stream,
            undo,
            staged,
            open,
            addresses: [addresses, model_at, blob_at],
        }
    }

    /// Numbers of the buffer that are state.
    pub(super) const fn state_len(&self) -> usize {
        self.head.layout.state as usize
    }

    /// Runs `body` on the stream; the block is marked busy meanwhile, and keeps where it stands.
    pub(super) fn with_stream<R>(
        &mut self,
        body: impl FnOnce(&mut Stream<'_, f32>, &Simd) -> titans_kernel::Result<R>,
    ) -> Outcome<titans_kernel::Result<R>> {
        let place = self.head.place.position().ok_or(Failure::new(TITANS_ERROR_CORRUPT, 1, "stream"))?;
        // The sizes are sealed in the head: to work them out again would take longer than a small model's token.
        let parts = self.buffer.split_at_mut_checked(self.head.layout.state as usize);
        let (state, scratch) = parts.ok_or(Failure::new(TITANS_ERROR_CORRUPT, 1, "stream"))?;
        let mut stream = Stream::resume(&self.model, self.head.config.rows as usize, place, state, scratch);
        self.head.busy = 1;
        let result = body(&mut stream, &arithmetic());
        self.head.place = Place::of(stream.place());
        self.head.busy = 0;
        Ok(result)
    }
}
