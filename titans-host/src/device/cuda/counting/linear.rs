//! The numbers that the kernels of the linear memory touch, each array once (`kernels/linear*.cu`): not once a slice of
//! columns or a tile.

use crate::device::cuda::driver::Arg;

/// What `n` units of a kernel touch; none for other kernels.
pub(super) fn of_kernel(kernel: &str, n: u64, args: &[Arg]) -> Option<u64> {
    let int = |i: usize| match args.get(i) {
        Some(Arg::Int(x)) => (*x).max(0) as u64,
        _ => 0,
    };
    let there = |i: usize| u64::from(matches!(args.get(i), Some(Arg::Address(at)) if *at != 0));
    // M, tokens of a piece and their square.
    let (memories, length) = (int(1), int(4));
    let (square, tiles) = (length * length, length.div_ceil(64).max(1));
    let (column, chains) = (square + length, 3 * (length + 1));
    // The token's width as a key, and as a value.
    let widths = |at: usize| (length * int(at), length * int(at + 1), int(at) * int(at + 1));
    Some(match kernel {
        "linear_coefficients" => n / (length + 1) * (9 * length + chains + (1 + there(14)) * column),
        "linear_scores" => n / (tiles * tiles) * (2 * length * int(8) + length + square + (1 + there(13)) * square),
        "linear_piece" => {
            let tokens = (2 * int(9) + 9) * length + chains;
            n * (tokens + (1 + there(18)) * column + (1 + there(19)) * square)
        }
        "linear_inverse" => 2 * n * length,
        "linear_surprise" => n * (int(5) + 1),
        "linear_forward_wide" | "linear_forward_narrow" => {
            let ((keys, values, params), units, pieces) = (widths(6), int(10) * memories, int(10));
            let (v, inverse, y, begin) = (there(14), there(17), there(22), there(23));
            let tokens = keys * (1 + y) + values * (1 + v + y) + square * (v * inverse + y) + 6 * length + chains;
            // Chains begin with a state each; of the others' the kept ones are written where none was before.
            let (chain, kept) = (pieces.div_ceil(int(11).max(1)), pieces.div_ceil(int(28).max(1)));
            let stored = begin * there(25) * kept + there(26) * (pieces - kept.min(pieces));
            units * tokens + 2 * params * memories * (chain + there(24) + stored)
        }
        "linear_backward_wide" | "linear_backward_narrow" => {
            let ((keys, values, params), units, asked) = (widths(6), int(10) * memories, there(13));
            let squares = (asked + there(16)) * square;
            let tokens = keys * (1 + asked) + values * (2 + asked) + squares + 6 * length + chains;
            units * (tokens + 2 * params) + 4 * params * memories
        }
        "linear_scores_vjp" => {
            let ((keys, values, _), asked, of_keys) = (widths(8), there(14), there(21));
            let tokens = keys * (1 + asked) + values * (1 + asked + of_keys) + length;
            n / (tiles * tiles) * (tokens + square * (1 + 2 * asked + 2 * of_keys))
        }
        "linear_queries_vjp" => {
            let (keys, values, params) = widths(6);
            n / tiles * (3 * keys + values + square + 2 * params + 4 * length)
        }
        "linear_keys_vjp" => {
            let ((keys, values, params), asked) = (widths(6), there(15));
            n / tiles * ((2 + asked) * keys + 2 * values + (asked + there(16)) * square + 4 * params + 8 * length)
        }
        "linear_gates_vjp" => {
            // What columns give is a triangle of two squares, written and read.
            n * (12 * length + chains + 2 * column + (there(15) + there(16) + 2) * square + 4 * int(9))
        }
        "linear_answers_vjp" => {
            let ((keys, values, params), asked, of_keys) = (widths(8), there(15), there(27));
            let tokens = keys * (1 + 2 * asked) + values * (1 + asked + of_keys) + length * (1 + 4 * asked);
            n * (tokens + square * (1 + 3 * asked + 2 * of_keys) + 2 * params * asked)
        }
        "linear_writes_vjp" => {
            let ((keys, values, params), asked, of_keys) = (widths(9), there(29), there(31));
            let tokens = (2 + asked) * keys + 2 * values + 20 * length + chains;
            n * (tokens + 2 * column + (2 * asked + 2 * of_keys + 2) * square + 4 * params)
        }
        "linear_ask" => {
            let (rows, columns) = (int(2).div_ceil(64).max(1), int(4).div_ceil(64).max(1));
            n / (rows * columns) * (int(2) * (int(3) + int(4)) + int(3) * int(4))
        }
        "linear_ask_vjp" => int(5) * (int(2) * (2 * int(3) + int(4)) + (3 + int(6)) * int(3) * int(4)),
        _ => return None,
    })
}
