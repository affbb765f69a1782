//! Memories in guarded buffers, and numbers to feed them.

use std::ffi::{CStr, c_void};
use std::ptr::{null, null_mut};
use titans::*;

/// Asserts the status of a call, by name.
#[track_caller]
pub fn expect(status: i32, wanted: titans_status) {
    if status != wanted as i32 {
        let name = titans_status_name(status);
        // SAFETY: a static string, as documented.
        panic!("{:?}, expected {wanted:?}", unsafe { CStr::from_ptr(name) });
    }
}

/// An empty details structure.
pub fn details() -> titans_error_info {
    let message = [0; TITANS_MESSAGE_BYTES];
    let struct_size = size_of::<titans_error_info>() as u32;
    titans_error_info { struct_size, code: 1, arg: -1, reserved: 0, expected: 0, found: 0, message }
}

/// The text of a details structure.
pub fn message(info: &titans_error_info) -> String {
    let bytes = info.message.iter().map(|&c| c as u8).take_while(|&c| c != 0).collect();
    String::from_utf8(bytes).expect("messages are ASCII")
}

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);

const GUARD: u8 = 0xA5;

/// A buffer of any length that starts at a multiple of 64, between guard bytes that are checked when it is dropped.
pub struct Arena {
    /// All lines; every access goes through this one pointer, as a C program's would.
    lines: *mut [Line],
    len: usize,
}

impl Arena {
    pub fn new(len: usize) -> Self {
        let lines = vec![Line([GUARD; 64]); len.div_ceil(64) + 2].into_boxed_slice();
        Self { lines: Box::into_raw(lines), len }
    }

    pub fn start(&self) -> *mut c_void {
        self.lines.cast::<u8>().wrapping_add(64).cast()
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `lines` holds 64 bytes before and at least 64 after these.
        unsafe { std::slice::from_raw_parts(self.start().cast(), self.len) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.start().cast(), self.len) }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: `lines` came from a box, and this is its only way back.
        let lines = unsafe { Box::from_raw(self.lines) };
        let inside = 64..64 + self.len;
        let outside = lines.iter().flat_map(|l| l.0).enumerate().filter(|(i, _)| !inside.contains(i));
        if !std::thread::panicking() {
            assert!(outside.map(|(_, byte)| byte).all(|b| b == GUARD), "a guard byte was overwritten");
        }
    }
}

/// A configuration with these widths and this chunk, which is computed at once, on the whole squared error; deep ones
/// are residual where they can be.
pub fn config(widths: &[u32], chunk: u32) -> titans_memory_config {
    let mut config = default(widths);
    (config.chunk, config.compute_chunk, config.loss) = (chunk, chunk, 0);
    config.network = i32::from(widths.len() > 2 && widths.first() == widths.last());
    config
}

/// A configuration with another chunk, and other pieces.
pub fn cut(mut config: titans_memory_config, chunk: u32, compute_chunk: u32) -> titans_memory_config {
    (config.chunk, config.compute_chunk) = (chunk, compute_chunk);
    config
}

/// The default configuration with these widths: one layer in its exact form.
pub fn default(widths: &[u32]) -> titans_memory_config {
    let mut config = std::mem::MaybeUninit::<titans_memory_config>::uninit();
    // SAFETY: the structure is writable and of the size that is passed.
    let mut config = unsafe {
        let size = size_of::<titans_memory_config>();
        expect(titans_memory_config_init(config.as_mut_ptr(), size, TITANS_ABI_VERSION, null_mut()), TITANS_OK);
        config.assume_init()
    };
    config.layers = widths.len() as u32 - 1;
    config.widths = [0; TITANS_MAX_WIDTHS];
    config.widths[..widths.len()].copy_from_slice(widths);
    config
}

pub use titans_status::*;

/// One of the three size questions.
pub fn ask(
    question: unsafe extern "C" fn(*const titans_memory_config, *mut usize, *mut titans_error_info) -> i32,
    config: &titans_memory_config,
) -> usize {
    let mut answer = 0;
    // SAFETY: both pointers are borrows.
    expect(unsafe { question(config, &mut answer, null_mut()) }, TITANS_OK);
    answer
}

/// Numbers in (−1, 1), the same for the same seed.
pub fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut x = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (x >> 8) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A memory with its buffer.
pub struct Sample {
    pub arena: Arena,
    pub memory: *mut titans_memory,
    pub config: titans_memory_config,
    pub w0: Vec<f32>,
}

impl Sample {
    pub fn new(config: titans_memory_config) -> Self {
        let arena = Arena::new(ask(titans_memory_size, &config));
        let w0: Vec<f32> = noise(ask(titans_memory_parameters, &config), 3).iter().map(|x| x * 0.3).collect();
        let (start, bytes, mut memory) = (arena.start(), arena.bytes().len(), null_mut());
        // SAFETY: the buffer is of that size, the rest are borrows.
        let status =
            unsafe { titans_memory_init(start, bytes, &config, w0.as_ptr(), w0.len(), &mut memory, null_mut()) };
        expect(status, TITANS_OK);
        assert_eq!(memory.cast(), start);
        Self { arena, memory, config, w0 }
    }

    /// Key width and value width.
    pub fn widths(&self) -> (usize, usize) {
        (self.config.widths[0] as usize, self.config.widths[self.config.layers as usize] as usize)
    }

    pub fn weights(&mut self) -> Vec<f32> {
        let mut out = vec![f32::NAN; 2 * self.w0.len()];
        // SAFETY: a borrow of that length.
        expect(unsafe { titans_memory_weights(self.memory, out.as_mut_ptr(), out.len(), null_mut()) }, TITANS_OK);
        out
    }

    pub fn save(&mut self) -> Vec<u8> {
        let mut bytes = vec![0xEE; ask(titans_memory_saved_size, &self.config)];
        let mut written = 0;
        // SAFETY: borrows of those lengths.
        let status = unsafe {
            titans_memory_save(self.memory, bytes.as_mut_ptr().cast(), bytes.len(), &mut written, null_mut())
        };
        expect(status, TITANS_OK);
        assert_eq!(written, bytes.len());
        bytes
    }

    pub fn load(&mut self, bytes: &[u8], info: *mut titans_error_info) -> i32 {
        // SAFETY: borrows of those lengths; `info` is NULL or a borrow.
        unsafe { titans_memory_load(self.memory, bytes.as_ptr().cast(), bytes.len(), info) }
    }

    /// Feeds tokens `range` of `feed` and returns y and surprise.
    pub fn write(&mut self, feed: &Feed, range: std::ops::Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let (key, value) = self.widths();
        let tokens = feed.tokens(range.clone(), key, value);
        let (mut y, mut surprise) = (vec![f32::NAN; range.len() * value], vec![f32::NAN; range.len()]);
        let (y_len, surprise_len) = (y.len(), surprise.len());
        // SAFETY: the pointers of `tokens` are borrows of `feed`, the others borrows of vectors of those lengths.
        let status = unsafe {
            let (y, s) = (y.as_mut_ptr(), surprise.as_mut_ptr());
            titans_memory_write(self.memory, &tokens, y, y_len, s, surprise_len, null_mut())
        };
        expect(status, TITANS_OK);
        (y, surprise)
    }

    pub fn position(&self) -> u64 {
        let mut position = u64::MAX;
        // SAFETY: a borrow.
        expect(unsafe { titans_memory_position(self.memory, &mut position, null_mut()) }, TITANS_OK);
        position
    }
}

/// Tokens to feed.
pub struct Feed {
    pub k: Vec<f32>,
    pub v: Vec<f32>,
    pub q: Vec<f32>,
    pub gates: [Vec<f32>; 3],
    pub mask: Vec<u32>,
}

impl Feed {
    pub fn new(n: usize, (key, value): (usize, usize)) -> Self {
        let scaled = |len, seed, scale: f32| noise(len, seed).iter().map(|x| x * scale).collect::<Vec<f32>>();
        let gate = |seed, scale: f32| noise(n, seed).iter().map(|x| x.abs() * scale).collect();
        Self {
            k: scaled(n * key, 11, 1.0 / (key as f32).sqrt()),
            v: scaled(n * value, 12, 1.0),
            q: scaled(n * key, 13, 1.0 / (key as f32).sqrt()),
            gates: [gate(14, 0.2), gate(15, 0.1), gate(16, 0.8)],
            mask: (0..n as u32).map(|t| u32::from(t % 5 == 3)).collect(),
        }
    }

    pub fn tokens(&self, range: std::ops::Range<usize>, key: usize, value: usize) -> titans_tokens {
        let rows = |x: &[f32], width: usize| (x[range.start * width..].as_ptr(), range.len() * width);
        let ((k, k_len), (v, v_len), (q, q_len)) = (rows(&self.k, key), rows(&self.v, value), rows(&self.q, key));
        let [(alpha, alpha_len), (theta, theta_len), (eta, eta_len)] = [0, 1, 2].map(|i| rows(&self.gates[i], 1));
        titans_tokens {
            struct_size: size_of::<titans_tokens>() as u32,
            flags: 0,
            n: range.len(),
            k,
            k_len,
            v,
            v_len,
            q,
            q_len,
            alpha,
            alpha_len,
            theta,
            theta_len,
            eta,
            eta_len,
            mask: if range.is_empty() { null() } else { self.mask[range.start..].as_ptr() },
            mask_len: range.len(),
        }
    }
}
