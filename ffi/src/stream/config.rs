//! `titans_stream_config`: how a stream runs, as a versioned structure.

use crate::boundary;
use crate::choice::chosen;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::pointer::{arg, defaults, versioned};
use crate::status::titans_status::*;
use titans_kernel::Choice;
use titans_kernel::model::{LIMIT, Mode};

/// What the memories of a model do with its tokens.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_mode {
    /// They write every token: the model learns as it reads.
    TITANS_MODE_ON = 0,
    /// They answer, and do not change: read only.
    TITANS_MODE_FROZEN = 1,
    /// They answer 0: what the model is without them. From the start to the end of a stream.
    TITANS_MODE_ABSENT = 2,
}

/// The numbers of the header are the kernel's bytes, all of them.
const _: () = {
    use titans_mode::*;
    assert!(TITANS_MODE_ON as u8 == Mode::On as u8 && TITANS_MODE_FROZEN as u8 == Mode::Frozen as u8);
    assert!(TITANS_MODE_ABSENT as u8 == Mode::Absent as u8 && Mode::ALL.len() == 3);
};

/// The configuration of a stream. Fill it with `titans_stream_config_init`, then change fields.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct titans_stream_config {
    /// sizeof(titans_stream_config), set by the init function.
    pub struct_size: u32,
    /// 0; reserved.
    pub flags: u32,
    /// Tokens that go through the model at once, 1 to 1048576; longer pushes are cut. Any number gives the same bits;
    /// more are faster in long pushes and need more working space. 1 is the smallest, for tokens that come one by one.
    pub rows: u32,
    /// The stream goes back to its last good token when one is refused: with a copy of its state, and the tokens since,
    /// of which it keeps so many, 1 to 1048576. The copy is made anew after as many tokens: more cost less time and
    /// more bytes. 0: no copy; a token that is refused then ends the stream, which must be reset or loaded
    /// (`TITANS_ERROR_TORN`).
    pub undo: u32,
    /// A `titans_mode`.
    pub mode: i32,
    /// 0; reserved.
    pub reserved: u32,
}

/// Bytes of the configuration of this ABI; no shorter one ever existed.
const SIZE: u32 = size_of::<titans_stream_config>() as u32;

impl titans_stream_config {
    const DEFAULT: Self = Self { struct_size: SIZE, flags: 0, rows: 64, undo: 64, mode: 0, reserved: 0 };

    /// The caller's configuration in its one canonical form, and its mode.
    ///
    /// # Safety
    /// A pointer that is not NULL points to `struct_size` readable bytes.
    pub(super) unsafe fn read(position: i32, config: *const Self) -> Outcome<(Self, Mode)> {
        // SAFETY: a structure of this kind by promise.
        let mut config = unsafe { versioned(arg(position, "config"), config) }?;
        config.struct_size = SIZE;
        let mode = config.check(position)?;
        Ok((config, mode))
    }

    /// Checks every field.
    pub(super) fn check(&self, position: i32) -> Outcome<Mode> {
        for (name, flag) in [("config.flags", self.flags), ("config.reserved", self.reserved)] {
            if flag != 0 {
                return Err(Failure::sizes(TITANS_ERROR_FLAGS, position, name, 0, u64::from(flag)));
            }
        }
        let (rows, undo) = (self.rows as usize, self.undo as usize);
        if !(1..=LIMIT).contains(&rows) {
            return Err(Failure::rule(position, "rows: 1 to 1048576", rows as u64));
        }
        if undo > LIMIT {
            return Err(Failure::rule(position, "undo: 0 to 1048576", undo as u64));
        }
        chosen(position, self.mode)
    }
}

/// Fills a configuration with the defaults: 64 rows, 64 tokens of undo, memories that learn. Call it with `sizeof
/// *config` and `TITANS_ABI_VERSION`. On a microcontroller, `rows` 1 and `undo` 0 are the least.
///
/// Errors: `TITANS_ERROR_ABI_VERSION` when the header is of another ABI than the library, `TITANS_ERROR_STRUCT_SIZE`,
/// `TITANS_ERROR_NULL`, `TITANS_ERROR_MISALIGNED`.
///
/// # Safety
/// `config` points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_stream_config_init(
    config: *mut titans_stream_config,
    struct_size: usize,
    abi_version: u32,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let default = titans_stream_config { struct_size: struct_size as u32, ..titans_stream_config::DEFAULT };
        // SAFETY: the caller promises `struct_size` writable bytes.
        unsafe { defaults(config, struct_size, abi_version, default) }
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}
