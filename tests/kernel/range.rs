//! The range of gates in which an exact linear memory never grows: searched by an adversary who chooses gates and keys.

use titans_kernel::arch::Simd;
use titans_kernel::memory::{
    Form, Gate, Loss, Mask, MemorySpec, Outputs, Read, Stream, Tokens, forward, forward_scratch_len,
};
use titans_kernel::{Mat, MatMut};

/// Width of the keys, and the numbers of W and S that one column of the values touches.
const D: usize = 2;
const STATE: usize = 2 * D;

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    /// Between 0 and 1.
    fn number(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A token of the adversary's: α, θ, η as shares of their largest values, and the angle of its key, all as numbers of
/// one period.
pub type Move = [f64; 4];

/// Of α, θ and η.
#[derive(Clone, Copy, Debug)]
pub struct Range(pub [f64; 3]);

/// Columns of the map that the moves are for a column of W and S, to values of 0: the kernel's answer to unit states.
pub fn period(moves: &[Move], Range(most): Range) -> [[f64; STATE]; STATE] {
    let n = moves.len();
    let spec = MemorySpec { chunk: 1, compute_chunk: 16, loss: Loss::Half, ..MemorySpec::new(&[D, D]).unwrap() };
    let share = |x: f64| 0.5 * (1.0 + (std::f64::consts::TAU * x).sin());
    let gate = |which: usize| -> Vec<f64> { moves.iter().map(|m| most[which] * share(m[which])).collect() };
    let (alpha, theta, eta) = (gate(0), gate(1), gate(2));
    let key = |m: &Move| {
        let angle = std::f64::consts::TAU * m[3];
        [angle.cos(), angle.sin()]
    };
    let k: Vec<f64> = moves.iter().flat_map(key).collect();
    let v = vec![0.0; n * D];
    let tokens = Tokens {
        k: Mat::new(&k, n, D).unwrap(),
        v: Mat::new(&v, n, D).unwrap(),
        q: Mat::new(&k, n, D).unwrap(),
        alpha: Gate::tokens(&alpha),
        theta: Gate::tokens(&theta),
        eta: Gate::tokens(&eta),
        mask: Mask::Write,
    };
    let (mut y, mut scratch) = (vec![f64::NAN; n * D], vec![f64::NAN; forward_scratch_len(&spec, Form::Chunk)]);
    let mut columns = [[0.0; STATE]; STATE];
    // Two unit states at a time: W or S is the identity, whose columns do not know of each other.
    for half in 0..2 {
        let mut state = [0.0; 2 * D * D];
        (state[half * D * D], state[half * D * D + 3]) = (1.0, 1.0);
        let y = MatMut::new(&mut y, n, D).unwrap();
        let isa = Simd::best();
        forward(
            &isa,
            &spec,
            Form::Chunk,
            Read::After,
            &tokens,
            Outputs { state: &mut state, y, surprise: None, boundaries: None },
            &mut scratch,
        )
        .unwrap();
        for c in 0..D {
            columns[half * D + c] = [state[c], state[D + c], state[D * D + c], state[D * D + D + c]];
        }
    }
    columns
}

/// By how much the moves, again and again, multiply W and S a token in the long run: the spectral radius of their map.
fn rate(moves: &[Move], range: Range) -> f64 {
    let (mut map, mut log, mut power) = (period(moves, range), 0.0, 1.0);
    for _ in 0..24 {
        let size = map.iter().flatten().map(|x| x * x).sum::<f64>().sqrt();
        if size == 0.0 {
            return 0.0;
        }
        log += size.ln() / power;
        map.iter_mut().flatten().for_each(|x| *x /= size);
        let times = |c: usize, r: usize| (0..STATE).map(|i| map[i][r] * map[c][i]).sum();
        map = std::array::from_fn(|c| std::array::from_fn(|r| times(c, r)));
        power *= 2.0;
    }
    (log / moves.len() as f64).exp()
}

/// The largest rate that climbing from random beginnings finds.
fn search(range: Range, seed: u64, beginnings: usize) -> f64 {
    let mut dice = Dice(seed);
    let mut worst: f64 = 0.0;
    for _ in 0..beginnings {
        let period = 1 + (dice.number() * 14.0) as usize;
        let mut moves: Vec<Move> = (0..period).map(|_| [(); 4].map(|()| dice.number())).collect();
        let (mut best, mut step) = (rate(&moves, range), 0.2);
        for _ in 0..400 {
            let mut tried = moves.clone();
            for x in tried.iter_mut().flatten() {
                if dice.number() < 0.4 {
                    *x += step * (dice.number() - 0.5);
                }
            }
            let found = rate(&tried, range);
            if found > best {
                (moves, best, step) = (tried, found, (step * 1.3_f64).min(0.5));
            } else {
                step = (step * 0.97_f64).max(1e-3);
            }
        }
        worst = worst.max(best);
    }
    worst
}

/// docs/NUMERICS.md states these ranges, for 2cθ‖k‖² in place of θ.
#[test]
fn an_adversary_finds_no_growth_in_the_stated_range() {
    for (i, range) in
        [Range([1.0, 0.33, 0.5]), Range([1.0, 0.75, 0.25]), Range([1.0, 1.0, 0.0])].into_iter().enumerate()
    {
        let found = search(range, 77 + i as u64, 80);
        assert!(found <= 1.0 + 1e-6, "{range:?}: {found} times as much a token");
        assert!(found > 0.99, "{range:?}: the search found only {found}");
    }
}

/// The search is able to find growth: outside of the range it does.
#[test]
fn outside_of_it_there_is_growth_and_the_search_finds_it() {
    assert!(search(Range([1.0, 1.0, 0.5]), 5, 24) > 1.2);
    // Also where nothing is forgotten, if keys turn.
    assert!(search(Range([0.0, 1.0, 0.5]), 5, 48) > 1.03);
}

/// Gates that stay, and keys that turn evenly: slow growth, which random beginnings do not find.
#[test]
fn keys_that_turn_evenly_grow_slowly() {
    let (on, off) = (0.25, 0.75);
    let moves: Vec<Move> = (0..24).map(|t| [off, on, on, 165.0 / 360.0 * f64::from(t)]).collect();
    let found = rate(&moves, Range([1.0, 0.4, 0.5]));
    assert!(found > 1.004 && found < 1.005, "{found}");
}

/// A slow one by gates that change: θ and η up to 1/2, eight moves, keys that turn by quarters.
#[test]
fn half_and_half_grows_slowly() {
    let moves = [
        [0.0, 0.498, 0.4919, 0.7671],
        [0.0, 0.5, 0.4023, -0.1036],
        [1.0, 0.5, 0.5, 0.0320],
        [0.0, 0.4611, 0.5, 0.2430],
        [0.0, 0.4929, 0.5, 0.2466],
        [0.0, 0.0, 0.5, 0.7543],
        [0.0, 0.0219, 0.5, 0.2527],
        [0.0, 0.2332, 0.5, 0.7574],
    ];
    // As shares of a half, through the sine that the search moves along.
    let share = |x: f64| ((2.0 * x - 1.0).asin() / std::f64::consts::TAU).rem_euclid(1.0);
    let moves: Vec<Move> = moves.map(|[a, t, e, k]: Move| [share(a), share(2.0 * t), share(2.0 * e), k]).to_vec();
    let found = rate(&moves, Range([1.0, 0.5, 0.5]));
    assert!(found > 1.002 && found < 1.004, "{found}");
}

/// Along one key nothing grows where θ + η ≤ 1 and η ≤ 1/2: each token maps a hexagon of (w, s) into itself.
/// docs/NUMERICS.md has the proof; corners of the gates suffice, because the map is linear in each of them.
#[test]
fn along_one_key_a_hexagon_holds_whatever_the_gates_are() {
    let (on, off) = (0.25, 0.75);
    for eta in [0.01, 0.1, 0.25, 0.5] {
        let theta = 1.0 - eta;
        for gates in 0..8 {
            let corner = |bit: u32| if gates >> bit & 1 == 1 { on } else { off };
            let map = period(&[[corner(0), corner(1), corner(2), 0.0]], Range([1.0, theta, eta]));
            for [w, s] in [[1.0, 0.0], [theta, theta], [-eta, theta]] {
                let [w, s] = [0, D].map(|row| w * map[0][row] + s * map[D][row]);
                let sides = [s / theta, w + eta / theta * s, w - s];
                assert!(sides.iter().all(|x| x.abs() <= 1.0 + 1e-12), "η {eta}, corner {gates}: {sides:?}");
            }
        }
        // The least beyond it grows: α = θ = 1 of theirs turns W around, momentum alone adds 1 + η + η² + … to it.
        let mut moves = vec![[off, off, on, 0.0]; 16];
        moves.push([on, on, off, 0.0]);
        let by = rate(&moves, Range([1.0, 1.01 * theta, eta])).powi(17);
        assert!(by > 1.009 && by < 1.0101, "η {eta}: {by}");
    }
}

/// One key, θ and α of 1 by turns, η of 0 and 1/2: the weights grow by half every other token, though each gate is in
/// [0, 1].
#[test]
fn forgetting_and_momentum_by_turns_push_a_memory_outwards() {
    // sin(τ x): 1 at ¼, −1 at ¾.
    let (on, off) = (0.25, 0.75);
    let by = rate(&[[on, on, off, 0.0], [off, off, on, 0.0]], Range([1.0, 1.0, 0.5])).powi(2);
    assert!((by - 1.5).abs() < 1e-3, "{by}");
}

/// The settings of README's examples in Rust, C++ and Python (α, θ, η), as one token again and again.
#[test]
fn the_settings_of_the_readme_hold_on_equal_tokens() {
    for (d, alpha, theta, eta) in [(4, 0.0, 1.0, 0.0), (16, 0.01, 0.5, 0.3)] {
        let spec = MemorySpec::new(&[d, d]).unwrap();
        let mut block = vec![0.0f32; Stream::<f32>::len(&spec)];
        let mut scratch = vec![0.0; Stream::<f32>::scratch_len(&spec)];
        let mut stream = Stream::new(&spec, Read::After, &vec![0.0; d * d], &mut block).unwrap();
        let unit = 1.0 / (d as f32).sqrt();
        const N: usize = 100;
        let (k, v) = (vec![unit; N * d], vec![0.7f32; N * d]);
        let [alpha, theta, eta] = [alpha, theta, eta].map(|gate: f32| [gate; N]);
        let tokens = Tokens {
            k: Mat::new(&k, N, d).unwrap(),
            v: Mat::new(&v, N, d).unwrap(),
            q: Mat::new(&k, N, d).unwrap(),
            alpha: Gate::tokens(&alpha),
            theta: Gate::tokens(&theta),
            eta: Gate::tokens(&eta),
            mask: Mask::Write,
        };
        let mut y = vec![f32::NAN; N * d];
        for _ in 0..1000 {
            let y = MatMut::new(&mut y, N, d).unwrap();
            stream.write(&Simd::best(), &tokens, Some(y), None, &mut scratch).unwrap();
        }
        assert_eq!(stream.position(), 100_000);
        assert!(y.iter().all(|y| (y - 0.7).abs() < 0.05), "α {alpha:?}: {:?}", &y[..d]);
    }
}
