//! Feeding a memory: tokens that write and read, queries that only read.

use crate::batch::{Batch, INPUTS, Positions, elements};
use crate::block::{Block, titans_memory};
use crate::boundary;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::pointer::{Output, apart, arg, input, optional, output, slice_addresses, struct_addresses, versioned};
use crate::status::titans_status::*;
use core::ops::Range;
use titans_kernel::{Error, Mat, MatMut};

/// `n` tokens. Set `struct_size` to its sizeof and everything you do not use to zero (in C: `= {0}`). Matrices are
/// row-major, one row a token; lengths count elements.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_tokens {
    /// sizeof(titans_tokens).
    pub struct_size: u32,
    /// 0; reserved.
    pub flags: u32,
    /// Number of tokens.
    pub n: usize,
    /// Keys [n, key width]; normalise them to length 1 unless you have a reason.
    pub k: *const f32,
    /// n times the key width.
    pub k_len: usize,
    /// Values [n, value width].
    pub v: *const f32,
    /// n times the value width.
    pub v_len: usize,
    /// Queries [n, key width]; NULL with length 0 when no `y` is asked for.
    pub q: *const f32,
    /// n times the key width, or 0.
    pub q_len: usize,
    /// How much is forgotten, in [0, 1].
    pub alpha: *const f32,
    /// n, or 1 for one value that holds for all tokens.
    pub alpha_len: usize,
    /// How fast is learned, at least 0.
    pub theta: *const f32,
    /// n, or 1.
    pub theta_len: usize,
    /// How much of the last surprise carries on (momentum), in [0, 1].
    pub eta: *const f32,
    /// n, or 1.
    pub eta_len: usize,
    /// Tokens whose entry is not 0 are answered but not written; NULL with length 0: all are written.
    pub mask: *const u32,
    /// n, or 0.
    pub mask_len: usize,
}

impl titans_tokens {
    /// The caller's structure, copied.
    ///
    /// # Safety
    /// A pointer that is not NULL points to `struct_size` readable bytes.
    unsafe fn copy(tokens: *const Self) -> Outcome<Self> {
        // SAFETY: a structure of this kind by promise.
        let tokens = unsafe { versioned(arg(2, "tokens"), tokens) }?;
        if tokens.flags != 0 {
            return Err(Failure::sizes(TITANS_ERROR_FLAGS, 2, "tokens.flags", 0, u64::from(tokens.flags)));
        }
        Ok(tokens)
    }
}

/// Where the outputs of a write go.
struct Outputs {
    /// Where the structure of the tokens lies, if it is a caller's.
    tokens: Range<usize>,
    y: *mut f32,
    y_len: usize,
    surprise: *mut f32,
    surprise_len: usize,
}

/// Writes tokens and answers their queries: the one way into a memory.
///
/// # Safety
/// Pointers are NULL or valid for their lengths; the memory is lent for the length of the call.
unsafe fn write(memory: *mut titans_memory, tokens: &titans_tokens, outputs: &Outputs, at: Positions) -> Outcome<()> {
    let names = |name| arg(at(name), name);
    // SAFETY: lent by the caller.
    let mut block = unsafe { Block::open(names("memory"), memory) }?;
    let (key, value, n) = (block.spec().key_width(), block.spec().value_width(), tokens.n);
    let answers = elements(names("y"), n, value)?;
    let y = optional(names("y"), outputs.y, outputs.y_len, answers)?;
    let surprise = optional(names("surprise"), outputs.surprise, outputs.surprise_len, n)?;
    // SAFETY: the caller promises every pointer of `tokens` with its length; nothing is written before all of them
    // are known to lie apart from the block and from the outputs.
    let batch = unsafe { Batch::new(tokens, key, value, y.is_some(), at) }?;
    let inputs = batch.input_addresses();
    for (addresses, name) in inputs.iter().zip(INPUTS) {
        apart(names(name), addresses, &block.addresses)?;
    }
    let surprise_at = surprise.as_ref().map_or(0..0, Output::addresses);
    apart(names("tokens"), &outputs.tokens, &block.addresses)?;
    for output in [&y, &surprise].into_iter().flatten() {
        output.apart_from(&inputs)?;
        output.apart_from(&[outputs.tokens.clone(), block.addresses.clone()])?;
    }
    if let Some(y) = &y {
        y.apart_from(&[surprise_at])?;
    }
    let chunk = block.spec().chunk;
    let before = (block.head.counters().filled as usize).checked_rem(chunk).unwrap_or(0);
    batch.rows(0, n).check_values(before, chunk).map_err(|e| Failure::value(at, e))?;
    // SAFETY: both outputs were shown to overlap nothing else.
    let (y, surprise) = unsafe { (y.map(|y| y.borrow()), surprise.map(|s| s.borrow())) };
    feed(&mut block, &batch, y, surprise, at("token"))
}

/// Feeds checked tokens to the stream and keeps the surprise of the last one that was written; `at` is the argument
/// that tokens are of.
fn feed(
    block: &mut Block<'_>,
    batch: &Batch<'_>,
    mut y: Option<&mut [f32]>,
    surprise: Option<&mut [f32]>,
    at: i32,
) -> Outcome<()> {
    /// Tokens fed at once while only the last one's surprise is kept.
    const PIECE: usize = 64;
    let (n, value) = (batch.n, block.spec().value_width());
    if n == 0 {
        return Ok(());
    }
    let mut own = [0.0; PIECE];
    let (surprise, piece) = match surprise {
        Some(surprise) => (surprise, n),
        None => (&mut own[..], PIECE),
    };
    for from in (0..n).step_by(piece) {
        let rows = piece.min(n - from);
        let tokens = batch.rows(from, rows);
        let y = y.as_deref_mut().map(|y| MatMut::new(y.get_mut(from * value..).unwrap_or_default(), rows, value));
        let y = y.transpose().map_err(Failure::internal)?;
        let done = block.with_memory(|memory| memory.write_batch(&tokens, y, surprise.get_mut(..rows)));
        let written = match done {
            Ok(()) => rows,
            Err(Error::Diverged { token }) => token,
            Err(_) => 0,
        };
        if let Some(last) = written.checked_sub(1) {
            block.set_surprise(surprise.get(last).copied());
        }
        done.map_err(|error| Failure::write(at, from, error))?;
    }
    Ok(())
}

/// Gives tokens to the memory, in order: each is written by the memory's rule, and its query is answered by the weights
/// the configuration's `read` names. How tokens are cut into calls does not matter: the results have the same bits (in
/// the exact form but for the sign of an answer that is exactly 0).
///
/// `y` receives the answers [n, value width] and needs `tokens->q`; NULL with length 0 if there are no questions.
/// `surprise` receives n numbers, the configuration's loss of each token: half the squared distance, by default,
/// between what the memory expected for its key and its value; NULL with length 0 if you do not need it. Outputs
/// overlap nothing; inputs may overlap each other.
///
/// Errors: `NULL`, `STRUCT_SIZE`, `FLAGS`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `NOT_FINITE`, `GATE_RANGE`, `TOO_LARGE`,
/// those of a block. Nothing has changed then. `DIVERGED`: a token of finite inputs would drive the memory out of the
/// range of its numbers (learning too fast, or inputs far too large) and was refused; `info->found` is its number in
/// this call. The tokens before it are written, with their answers and surprise; from it on nothing is written. The
/// memory goes on from there with tokens that it can take, or after `titans_memory_reset`.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_write(
    memory: *mut titans_memory,
    tokens: *const titans_tokens,
    y: *mut f32,
    y_len: usize,
    surprise: *mut f32,
    surprise_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let at: Positions = |name| match name {
        "memory" => 1,
        "y" => 3,
        "surprise" => 5,
        _ => 2,
    };
    let body = || {
        // SAFETY: the caller promises `tokens`.
        let (copied, own) = unsafe { (titans_tokens::copy(tokens)?, struct_addresses(tokens)) };
        // SAFETY: the caller's promises are the same.
        unsafe { write(memory, &copied, &Outputs { tokens: own, y, y_len, surprise, surprise_len }, at) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Gives one token to the memory: `titans_memory_write` with n = 1 and the gates as numbers.
///
/// `q` and `y` may both be NULL with length 0. `surprise` may be NULL. Errors as `titans_memory_write`.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_step(
    memory: *mut titans_memory,
    k: *const f32,
    k_len: usize,
    v: *const f32,
    v_len: usize,
    q: *const f32,
    q_len: usize,
    alpha: f32,
    theta: f32,
    eta: f32,
    y: *mut f32,
    y_len: usize,
    surprise: *mut f32,
    info: *mut titans_error_info,
) -> i32 {
    let at: Positions = |name| match name {
        "memory" => 1,
        "k" => 2,
        "v" => 4,
        "q" => 6,
        "alpha" => 8,
        "theta" => 9,
        "eta" => 10,
        "y" => 11,
        "surprise" => 13,
        _ => 0,
    };
    let body = || {
        let tokens = titans_tokens {
            struct_size: size_of::<titans_tokens>() as u32,
            flags: 0,
            n: 1,
            k,
            k_len,
            v,
            v_len,
            q,
            q_len,
            alpha: &alpha,
            alpha_len: 1,
            theta: &theta,
            theta_len: 1,
            eta: &eta,
            eta_len: 1,
            mask: core::ptr::null(),
            mask_len: 0,
        };
        let surprise_len = usize::from(!surprise.is_null());
        // SAFETY: the caller's promises are the same; the gates are this call's own.
        unsafe { write(memory, &tokens, &Outputs { tokens: 0..0, y, y_len, surprise, surprise_len }, at) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Answers `n` queries `q` [n, key width] with the memory as it is after its last token, into `y` [n, value width].
/// Nothing is learned and no counter moves. It works in the memory's own scratch, so it needs the memory for itself.
///
/// Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `NOT_FINITE`, `TOO_LARGE`, those of a block.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_read(
    memory: *mut titans_memory,
    n: usize,
    q: *const f32,
    q_len: usize,
    y: *mut f32,
    y_len: usize,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        // SAFETY: the caller lends the memory for the length of the call.
        let mut block = unsafe { Block::open(arg(1, "memory"), memory) }?;
        let (q_arg, y_arg) = (arg(3, "q"), arg(5, "y"));
        let (key, value) = (block.spec().key_width(), block.spec().value_width());
        let y = output(y_arg, y, y_len, elements(y_arg, n, value)?)?;
        let wanted = elements(q_arg, n, key)?;
        // SAFETY: the caller promises `q`; nothing is written before it is known to lie apart from the rest.
        let q = unsafe { input(q_arg, q, q_len, wanted) }?;
        apart(q_arg, &slice_addresses(q), &block.addresses)?;
        y.apart_from(&[slice_addresses(q), block.addresses.clone()])?;
        if let Some(i) = q.iter().position(|x| !x.is_finite()) {
            return Err(Failure::index(TITANS_ERROR_NOT_FINITE, q_arg.position, q_arg.name, i));
        }
        // SAFETY: shown to overlap nothing else.
        let y = unsafe { y.borrow() };
        let (q, y) = (Mat::new(q, n, key), MatMut::new(y, n, value));
        block.with_memory(|memory| memory.read_batch(q?, y?)).map_err(Failure::internal)
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}
