//! What a caller says about opening a model and reading a text, and how it is told what happens.

use super::call::{HostFailure, HostOutcome};
use crate::boundary;
use crate::choice::chosen;
use crate::failure::Failure;
use crate::info::titans_error_info;
use crate::pointer::{arg, defaults, versioned};
use crate::status::titans_status::*;
use core::ffi::{c_char, c_void};
use std::ffi::CString;
use titans_host::task::generate::Sampling;

/// How much a line of the log matters.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_log_level {
    /// What was done.
    TITANS_LOG_INFO = 0,
    /// What may not be what you meant.
    TITANS_LOG_WARNING = 1,
}

/// Is told a line, without a line break, that ends in a zero and lives during the call. It comes in the thread of the
/// call that it is about, must not call this library with the same handle, and no C++ exception may leave it.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub type titans_log_fn = Option<unsafe extern "C" fn(user: *mut c_void, level: i32, line: *const c_char)>;

/// Is told how many of how many tokens are done; returns 0 to go on, anything else to stop. As `titans_log_fn`.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub type titans_progress_fn = Option<unsafe extern "C" fn(user: *mut c_void, done: u64, total: u64) -> i32>;

/// Is given bytes that were written, which may end within a character; returns 0 to go on, anything else to stop. As
/// `titans_log_fn`.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
pub type titans_bytes_fn = Option<unsafe extern "C" fn(user: *mut c_void, bytes: *const u8, len: usize) -> i32>;

/// How a model is opened. Fill it with `titans_host_options_init`, then change fields.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_host_options {
    /// sizeof(titans_host_options), set by the init function.
    pub struct_size: u32,
    /// 0; reserved.
    pub flags: u32,
    /// Threads that may work while a checkpoint is read, 1 to 256. They end with the call.
    pub threads: u32,
    /// 0; reserved.
    pub reserved: u32,
    /// Of a run folder: "best", "latest" or a checkpoint's file; NULL for the best one, the latest while nothing was
    /// validated.
    pub checkpoint: *const c_char,
    /// The vocabulary's file, `tokenizer.json` or `vocab.json`; NULL for where it was in training, of a blob for bytes.
    pub tokenizer: *const c_char,
    /// Is told what is opened; NULL for nobody.
    pub log: titans_log_fn,
    /// For `log`.
    pub user: *mut c_void,
}

/// How a text is read and written. Fill it with `titans_text_config_init`, then change fields.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_text_config {
    /// sizeof(titans_text_config), set by the init function.
    pub struct_size: u32,
    /// 0; reserved.
    pub flags: u32,
    /// A `titans_mode`.
    pub mode: i32,
    /// 0; reserved.
    pub reserved: u32,
    /// Seed of the draws.
    pub seed: u64,
    /// 0 takes the likeliest token, 1 the model's own odds, more is wilder.
    pub temperature: f64,
    /// Draws among the likeliest tokens that together have this probability, above 0 up to 1.
    pub top_p: f64,
    /// Is told how far a long call is, and may stop it; NULL for nobody.
    pub progress: titans_progress_fn,
    /// For `progress`.
    pub user: *mut c_void,
}

/// A caller's wish for a line of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub(super) log: titans_log_fn,
    pub(super) user: *mut c_void,
}

impl Listener {
    /// Tells a line.
    pub(super) fn tell(&self, level: titans_log_level, line: &str) {
        if let (Some(log), Ok(line)) = (self.log, CString::new(line.replace('\0', "?"))) {
            // SAFETY: the caller promises the function and what it is given back.
            unsafe { log(self.user, level as i32, line.as_ptr()) };
        }
    }
}

impl titans_host_options {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        flags: 0,
        threads: 1,
        reserved: 0,
        checkpoint: core::ptr::null(),
        tokenizer: core::ptr::null(),
        log: None,
        user: core::ptr::null_mut(),
    };

    /// The caller's options; NULL for the defaults.
    ///
    /// # Safety
    /// A pointer that is not NULL points to `struct_size` readable bytes, whose functions are functions.
    pub(super) unsafe fn read(position: i32, options: *const Self) -> HostOutcome<Self> {
        if options.is_null() {
            return Ok(Self::DEFAULT);
        }
        // SAFETY: a structure of this kind by promise.
        let options = unsafe { versioned(arg(position, "options"), options) }?;
        flags(position, [options.flags, options.reserved])?;
        if !(1..=256).contains(&options.threads) {
            return Err(Failure::rule(position, "threads: 1 to 256", options.threads.into()).into());
        }
        Ok(options)
    }
}

fn flags(position: i32, all: [u32; 2]) -> HostOutcome<()> {
    match all.into_iter().find(|&flag| flag != 0) {
        None => Ok(()),
        Some(flag) => Err(Failure::sizes(TITANS_ERROR_FLAGS, position, "flags", 0, flag.into()).into()),
    }
}

impl titans_text_config {
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>() as u32,
        flags: 0,
        mode: 0,
        reserved: 0,
        seed: 0,
        temperature: 0.8,
        top_p: 0.95,
        progress: None,
        user: core::ptr::null_mut(),
    };

    /// The caller's configuration, NULL for the defaults; its mode and sampling.
    ///
    /// # Safety
    /// A pointer that is not NULL points to `struct_size` readable bytes, whose functions are functions.
    pub(super) unsafe fn read(position: i32, config: *const Self) -> HostOutcome<(Self, Sampling)> {
        let config = if config.is_null() {
            Self::DEFAULT
        } else {
            // SAFETY: a structure of this kind by promise.
            unsafe { versioned(arg(position, "config"), config) }?
        };
        flags(position, [config.flags, config.reserved])?;
        let mode = chosen(position, config.mode)?;
        let sampling =
            Sampling { tokens: 0, temperature: config.temperature, top_p: config.top_p, seed: config.seed, mode };
        // The command calls its option top-p.
        let refused = |error: titans_host::Error| {
            HostFailure::new(TITANS_ERROR_CONFIG, position, "config", error.to_string().replace("top-p", "top_p"))
        };
        sampling.validate().map_err(refused)?;
        Ok((config, sampling))
    }
}

/// Fills options with the defaults: one thread, the best checkpoint, the vocabulary of training, no log. Call it with
/// `sizeof *options` and `TITANS_ABI_VERSION`.
///
/// Errors: `ABI_VERSION`, `STRUCT_SIZE`, `NULL`, `MISALIGNED`.
///
/// # Safety
/// `options` points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_host_options_init(
    options: *mut titans_host_options,
    struct_size: usize,
    abi_version: u32,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let default = titans_host_options { struct_size: struct_size as u32, ..titans_host_options::DEFAULT };
        // SAFETY: the caller promises `struct_size` writable bytes.
        unsafe { defaults(options, struct_size, abi_version, default) }
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}

/// Fills a configuration with the defaults: memories that learn, seed 0, temperature 0.8, top_p 0.95, no progress. Call
/// it with `sizeof *config` and `TITANS_ABI_VERSION`.
///
/// Errors: `ABI_VERSION`, `STRUCT_SIZE`, `NULL`, `MISALIGNED`.
///
/// # Safety
/// `config` points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_text_config_init(
    config: *mut titans_text_config,
    struct_size: usize,
    abi_version: u32,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let default = titans_text_config { struct_size: struct_size as u32, ..titans_text_config::DEFAULT };
        // SAFETY: the caller promises `struct_size` writable bytes.
        unsafe { defaults(config, struct_size, abi_version, default) }
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}
