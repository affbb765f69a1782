//! Loops written out.

/// `$body` for `$i` = 0 .. `$n`, written out: the compiler keeps an array in registers only where every index
/// is a constant from the beginning. The condition is a constant too, so that what is not wanted is never compiled.
#[allow(unused_macro_rules)] // which counts occur depends on the instruction sets of the target
macro_rules! each {
    ($i:ident < 2 => $body:expr) => { each!(! $i, $body, 0 1) };
    ($i:ident < 3 => $body:expr) => { each!(! $i, $body, 0 1 2) };
    ($i:ident < 4 => $body:expr) => { each!(! $i, $body, 0 1 2 3) };
    ($i:ident < 6 => $body:expr) => { each!(! $i, $body, 0 1 2 3 4 5) };
    ($i:ident < 8 => $body:expr) => { each!(! $i, $body, 0 1 2 3 4 5 6 7) };
    ($i:ident < 16 => $body:expr) => { each!(! $i, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) };
    // Registers across a tile, rows of a tile, and everything else: the fewer cases, the less there is to compile.
    ($i:ident < N => $body:expr) => {{
        const { assert!(N <= 4) };
        each!(@ $i, N, $body, 0 1 2 3)
    }};
    ($i:ident < R => $body:expr) => {{
        const { assert!(R <= 16) };
        each!(@ $i, R, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    }};
    ($i:ident < $n:expr => $body:expr) => {{
        const { assert!($n <= 8) };
        each!(@ $i, $n, $body, 0 1 2 3 4 5 6 7)
    }};
    (! $i:ident, $body:expr, $($at:literal)+) => {
        { $({
            const $i: usize = $at;
            $body
        })+ }
    };
    (@ $i:ident, $n:expr, $body:expr, $($at:literal)+) => {
        { $(if const { $at < $n } {
            const $i: usize = $at;
            $body
        })+ }
    };
}

/// p, of which the compiler forgets where it comes from: so it does not keep a pointer for every row beside it, and
/// reads what p points to anew for every tile, of which nothing that is computed is worth a register.
#[inline(always)]
#[allow(clippy::pointers_in_nomem_asm_block)] // it goes through and is not followed
pub(super) fn opaque<T>(p: *const T) -> *const T {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut p = p;
        // SAFETY: no instruction, and p stays what it is.
        unsafe { core::arch::asm!("/* {} */", inout(reg) p, options(nomem, nostack, preserves_flags)) };
        p
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    p
}

pub(super) use each;
