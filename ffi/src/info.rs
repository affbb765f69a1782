//! `titans_error_info`: the details of a failure, in a structure of the caller's.

use crate::failure::{Detail, Failure, Outcome};
use crate::status::titans_status::{TITANS_ERROR_MISALIGNED, TITANS_ERROR_STRUCT_SIZE};
use core::ffi::c_char;

/// Bytes of the text in a `titans_error_info`, its final zero included.
pub const TITANS_MESSAGE_BYTES: usize = 128;

/// Details of a failure. Set `struct_size` to its sizeof and pass it to any function, or pass NULL. After the call
/// `code` repeats the status that the function returned; the other fields are cleared when that is `TITANS_OK`. It lies
/// apart from all other arguments, blocks too: that is not checked, and what it covers is overwritten when the call
/// ends.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_error_info {
    /// sizeof(titans_error_info), set by the caller.
    pub struct_size: u32,
    /// The status.
    pub code: i32,
    /// Position of the argument at fault, counted from 1; 0 when it is none in particular.
    pub arg: i32,
    /// 0.
    pub reserved: u32,
    /// What the call needed, where that is a number.
    pub expected: u64,
    /// What it found; for values that are not finite or out of range: the index of the first one.
    pub found: u64,
    /// The argument or field by name, what is wrong and what to do, in ASCII, ended by a zero.
    pub message: [c_char; TITANS_MESSAGE_BYTES],
}

/// Writes text into a fixed field and cuts what does not fit.
struct Field<'a> {
    out: &'a mut [c_char; TITANS_MESSAGE_BYTES],
    len: usize,
}

// Not `core::fmt`: it is larger than the rest of the boundary, and it may panic.
impl Field<'_> {
    fn text(&mut self, s: &str) -> &mut Self {
        self.bytes(s.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let free = self.out.split_last_mut().and_then(|(_, text)| text.get_mut(self.len..)).unwrap_or_default();
        for (out, byte) in free.iter_mut().zip(bytes) {
            *out = if byte.is_ascii() { *byte as c_char } else { b'?' as c_char };
            self.len += 1;
        }
        self
    }

    /// A number in decimal.
    fn number(&mut self, mut n: u64) -> &mut Self {
        let mut digits = [b'0'; 20]; // those of the largest
        let mut first = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + (n % 10) as u8;
            (n, first) = (n / 10, at);
            if n == 0 {
                break;
            }
        }
        self.bytes(digits.get(first..).unwrap_or_default())
    }
}

/// Can the caller's details structure be written at the end of the call? NULL can: it is left out.
///
/// # Safety
/// `info` is NULL or points to `struct_size` bytes that are the caller's to write.
pub(crate) unsafe fn check(info: *const titans_error_info) -> Outcome<()> {
    const SIZE: u32 = size_of::<titans_error_info>() as u32;
    if info.is_null() {
        return Ok(());
    }
    if !info.is_aligned() {
        return Err(Failure::new(TITANS_ERROR_MISALIGNED, 0, "info"));
    }
    // SAFETY: aligned, not NULL, readable by promise; only the first field is read.
    let size = unsafe { (*info).struct_size };
    if size < SIZE {
        return Err(Failure::sizes(TITANS_ERROR_STRUCT_SIZE, 0, "info", u64::from(SIZE), u64::from(size)));
    }
    Ok(())
}

/// Fills the structure for a call that ended in `outcome`.
pub(crate) fn fill(info: &mut titans_error_info, outcome: &Outcome<()>) {
    (info.code, info.arg, info.reserved, info.expected, info.found) = (0, 0, 0, 0, 0);
    info.message = [0; TITANS_MESSAGE_BYTES];
    let Err(failure) = outcome else { return };
    (info.code, info.arg) = (failure.code as i32, failure.arg);
    let sentence = failure.code.texts().1.to_bytes();
    let mut text = Field { out: &mut info.message, len: 0 };
    text.text(failure.what);
    match failure.detail {
        Detail::None => text.text(": "),
        Detail::Sizes { expected, found } => {
            (info.expected, info.found) = (expected, found);
            text.text(": expected ").number(expected).text(", found ").number(found).text("; ")
        }
        Detail::Found(found) => {
            info.found = found;
            text.text(", found ").number(found).text("; ")
        }
        Detail::Index(index) => {
            info.found = index;
            text.text("[").number(index).text("]: ")
        }
    }
    .bytes(sentence);
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::{Field, TITANS_MESSAGE_BYTES};

    #[test]
    fn long_texts_are_cut_before_the_final_zero() {
        let mut out = [1; TITANS_MESSAGE_BYTES];
        out[TITANS_MESSAGE_BYTES - 1] = 0;
        let mut field = Field { out: &mut out, len: 0 };
        for _ in 0..50 {
            field.text("a≥b");
        }
        assert_eq!(out[0], b'a' as core::ffi::c_char);
        assert!(out[..TITANS_MESSAGE_BYTES - 1].iter().all(|&c| c > 0), "{out:?}");
        assert_eq!(out[TITANS_MESSAGE_BYTES - 1], 0);
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        for n in [0, 9, 10, 101, 1_000_000, u64::from(u32::MAX), u64::MAX] {
            let mut out = [0; TITANS_MESSAGE_BYTES];
            Field { out: &mut out, len: 0 }.number(n);
            let said: String = out.iter().take_while(|&&c| c != 0).map(|&c| c as u8 as char).collect();
            assert_eq!(said, n.to_string());
        }
    }
}
