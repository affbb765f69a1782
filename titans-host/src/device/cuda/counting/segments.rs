//! The numbers that the kernels of MAC's segments touch, each array once (`kernels/segments*.cu`).

use crate::device::cuda::driver::Arg;

/// What `n` units of a kernel touch; none for other kernels.
pub(super) fn of_kernel(kernel: &str, n: u64, args: &[Arg]) -> Option<u64> {
    let int = |i: usize| match args.get(i) {
        Some(Arg::Int(x)) => (*x).max(0) as u64,
        _ => 0,
    };
    let tiles = |rows: u64| rows.div_ceil(64).max(1);
    Some(match kernel {
        "join_columns" | "segment_feed" => 2 * n,
        "segment_rotary" | "segment_feed_vjp" => 4 * n,
        "segment_ask" => n / tiles(int(2)) * (3 * int(2) * int(4) + int(4) * int(4)),
        "segment_attention" => {
            let (rows, heads, kv_heads, width) = (int(1), int(3), int(4), int(5));
            n / tiles(rows) / heads.max(1) * rows * (heads * (4 * width + 1) + kv_heads * 4 * width)
        }
        "segment_norm" => 2 * n * int(3),
        "segment_norm_vjp" => n * (4 * int(3) + 1),
        "segment_read_vjp" => n * (5 * int(4) + 2),
        "segment_attention_vjp" => {
            let (rows, heads, kv_heads, width) = (int(1), int(3), int(4), int(5));
            n / (heads + 2 * kv_heads).max(1) / tiles(rows) * rows * (heads * (3 * width + 2) + kv_heads * 8 * width)
        }
        "segment_ask_vjp" => n * (int(2) * (4 * int(4) + 1) + 3 * int(4) * int(4)),
        "segment_sums" => {
            let (heads, memories, columns) = (int(4), int(5), columns(&int, 6));
            let of_heads = heads * (3 * int(10) + 1) + memories * (2 * int(11) + 1);
            int(2) * int(3) * (2 * int(6) + 1 + 2 * int(7) + int(9) + of_heads) + int(1) * columns
        }
        "segment_add" => (int(1) + 2) * columns(&int, 2),
        _ => return None,
    })
}

/// Columns of all sums; their kinds begin with an argument.
fn columns(int: &impl Fn(usize) -> u64, at: usize) -> u64 {
    int(at) + int(at + 1) * (int(at + 2) + 1) + int(at + 3) + int(at + 4) + int(at + 5)
}
