//! The bytes that a launch moves at the least: of each array what it touches, once.

use super::{linear, segments};
use crate::device::cuda::driver::{Arg, BatchedGemm};

const BYTES: u64 = 4;

/// The factors and the result, whose old values count where they are read.
pub(super) fn of_product(g: &BatchedGemm) -> u64 {
    let [m, n, k, batch] = [g.m, g.n, g.k, g.batch].map(|x| x.max(0) as u64);
    let results = if g.beta == 0.0 { 1 } else { 2 };
    BYTES * batch * (m * k + k * n + results * m * n)
}

/// As `kernels/*.cu` say what a thread does; of a kernel that is not here, an element of every array a thread.
pub(super) fn of_kernel(kernel: &str, n: u64, args: &[Arg]) -> u64 {
    let int = |i: usize| match args.get(i) {
        Some(Arg::Int(x)) => (*x).max(0) as u64,
        _ => 0,
    };
    let there = |i: usize| u64::from(matches!(args.get(i), Some(Arg::Address(at)) if *at != 0));
    // Rows that a thread reads or writes, each as long as an argument says, and single elements.
    let walk = |rows: u64, len: u64, single: u64| n * (rows * len + single);
    if let Some(touched) = linear::of_kernel(kernel, n, args).or_else(|| segments::of_kernel(kernel, n, args)) {
        return BYTES * touched;
    }
    BYTES
        * match kernel {
            "clear_many" | "repeat_row" | "gamma_rows" | "write_flags" => n,
            "conv_forward" | "conv_vjp_input" | "conv_tail" | "embedding_forward" | "scale_rows" | "pool_vjp" => 2 * n,
            "split_rows" | "join_rows" => 2 * n,
            "add_scaled" | "mix" | "subtract_two" => 3 * n,
            "rotary" | "exact_right" | "activate_vjp_add" => 4 * n,
            "move_rows" => (2 + int(11)) * n,
            "adamw" | "adamw_many" => 7 * n,
            "squares_many" => n + lengths(args, 3, 3),
            "memory_start_vjp" | "cross_entropy_forward" => walk(1, int(1), 2),
            "row_totals" | "total_sum" => walk(1, int(1), 1),
            // Two stages: rows to a sum a slice, slices to the result.
            "sum_rows" => (int(2) + int(1)) * int(3),
            "add_rows" => (int(1) + 2) * int(2),
            "norm_weight_vjp" => (2 * int(2) + int(1)) * int(3) + int(2),
            "norm_forward" => walk(2, int(1), 0),
            "pool_forward" => walk(1, int(1), 1),
            "squared_error_forward" => walk(2, int(1), 2),
            "cross_entropy_vjp" | "columns" | "row_dots" | "rate_vjp" | "count_clipped" => walk(2, int(1), 1),
            "exact_surprise" => walk(1, int(1), 1),
            "norm_vjp" | "plain_top" => walk(3, int(1), 1),
            "residual_read" | "residual_read_vjp" | "chains" | "columns_vjp" => walk(6, int(1), 1),
            "chains_vjp" => walk(10, int(1), 3),
            "residual_top" => walk(8, int(2), 2),
            "residual_top_vjp" => walk(10, int(2), 1),
            "gamma_rows_vjp" => walk(2, int(2), 2),
            "gamma_close_vjp" => walk(4, int(2), 3),
            "gradient_norm" => walk(1, int(1) + int(2), 2),
            "gradient_norm_vjp" => walk(3, int(1) + int(2), 1),
            "exact_rate" => walk(1, int(4) + int(5), 3),
            // A block does a tile of queries (of keys) and of columns of values: arrays are read once, not once a tile.
            "attention_forward" => tiled(n, int(1), int(4)) * (4 * int(4) + 1),
            "attention_along" => walk(2, int(1), 1),
            "attention_vjp_queries" => tiled(n, int(2), int(5)) * ((5 + 2 * there(11)) * int(5) + 2),
            "attention_vjp_keys" => tiled(n, int(1), int(5)) * (6 * int(5) + 2),
            "conv_vjp_weight" => (2 * int(2) * int(3) + int(1) * (int(5) + 1)) * int(4),
            "conv_add_rows" => (int(1) + 2) * int(2) * (int(3) + 1),
            "norm_vjp_few" => (3 * int(1) + n) * int(2),
            // Of every group of equal ids a row of the table, and at least one of the cotangents.
            "embedding_vjp" => 3 * 32 * n,
            "state_dots" => 4 * n / int(1).max(1) * int(2) + 3 * n,
            "partial_sums" => int(1) + n,
            _ => n * args.iter().filter(|arg| matches!(arg, Arg::Address(at) if *at != 0)).count() as u64,
        }
}

/// The lengths of arrays, every `step`-th argument from one on.
fn lengths(args: &[Arg], first: usize, step: usize) -> u64 {
    let all = args.iter().skip(first).step_by(step);
    all.map(|arg| if let Arg::Int(len) = arg { (*len).max(0) as u64 } else { 0 }).sum()
}

/// Rows that `n` blocks do, each a tile of 64 of `rows` a sequence and head and 64 of `width` columns.
fn tiled(n: u64, rows: u64, width: u64) -> u64 {
    let (tiles, parts) = (rows.div_ceil(64).max(1), width.div_ceil(64).max(1));
    n / (tiles * parts) * rows
}

#[cfg(test)]
mod tests {
    use super::{of_kernel, of_product};
    use crate::device::cuda::compile::{SOURCES, declared};
    use crate::device::cuda::driver::{Arg, BatchedGemm, Factor, Precision};

    #[test]
    fn bytes_are_those_that_are_touched() {
        let at = Arg::Address(512);
        assert_eq!(of_kernel("add", 5, &[Arg::Int(5), at, at, at]), 60);
        assert_eq!(of_kernel("add", 5, &[Arg::Int(5), at, Arg::Address(0), at]), 40, "what is absent moves nothing");
        assert_eq!(of_kernel("add_rows", 1, &[Arg::Int(1), Arg::Int(7), Arg::Int(3), at, at]), 4 * 3 * (7 + 2));
        let factor = |ld| Factor { address: 512, ld, stride: 0, transposed: false };
        let gemm = BatchedGemm {
            precision: Precision::F32,
            m: 2,
            n: 3,
            k: 5,
            alpha: 1.0,
            a: factor(2),
            b: factor(5),
            beta: 0.0,
            c: factor(2),
            batch: 7,
        };
        assert_eq!(of_product(&gemm), 4 * 7 * (10 + 15 + 6));
        assert_eq!(of_product(&BatchedGemm { beta: 1.0, ..gemm }), 4 * 7 * (10 + 15 + 12));
    }

    /// A list of kernels that are no more would count nothing.
    #[test]
    fn the_list_names_kernels_that_are_there() {
        let names: Vec<_> = SOURCES.iter().flat_map(|file| declared(file.text)).map(|kernel| kernel.name).collect();
        let code = include_str!("bytes.rs").split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        let code = code + include_str!("linear.rs") + include_str!("segments.rs");
        let listed = code.split('"').skip(1).step_by(2).filter(|name| !name.contains(' '));
        let unknown: Vec<_> = listed.filter(|name| !names.iter().any(|n| n == name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
