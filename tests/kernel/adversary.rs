//! The range of gates in which an exact linear memory never grows, by dynamic programming: an adversary chooses gates
//! and key of every token, and looks as far ahead as it likes.
//!
//! A column w of W and s of S, to values of 0, and a key k: w′ = (1 − α) w + s′, s′ = η s − θ (k·w) k. What grows is
//! linear in each gate and so does most at its ends; keys shorter than 1 are a smaller θ. But for turns of space and
//! size a state is two angles (how long s is beside w, and between them), of which a grid holds by how much the most
//! can be made in n tokens.

use crate::range::{Range, period};
use std::f64::consts::{FRAC_PI_2, PI, TAU};

/// Points of each angle.
const GRID: usize = 49;
/// Directions of a key in the plane of w and s, and how far it leans out of it.
const TURNS: usize = 30;
const LEANS: [f64; 4] = [0.0, 0.4, 0.8, 1.2];

type Column = [f64; 3];

fn dot(a: Column, b: Column) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// w and s behind a token.
fn token([w, s]: [Column; 2], [alpha, theta, eta]: [f64; 3], k: Column) -> [Column; 2] {
    let read = dot(k, w);
    let s: Column = std::array::from_fn(|i| eta * s[i] - theta * read * k[i]);
    [std::array::from_fn(|i| (1.0 - alpha) * w[i] + s[i]), s]
}

/// Where a token leads from a point of the grid: the corner below, how far beyond it, and the logarithm of the growth.
struct Leap {
    to: usize,
    beyond: [f64; 2],
    growth: f64,
}

impl Leap {
    fn onto([w, s]: [Column; 2]) -> Self {
        let [long, other] = [dot(w, w).sqrt(), dot(s, s).sqrt()];
        let cosine = if long * other < 1e-12 { 1.0 } else { (dot(w, s) / (long * other)).clamp(-1.0, 1.0) };
        let cells = (GRID - 1) as f64;
        let at = [other.atan2(long) / FRAC_PI_2 * cells, cosine.acos() / PI * cells];
        let [i, j] = at.map(|x| (x as usize).min(GRID - 2));
        let beyond = [at[0] - i as f64, at[1] - j as f64];
        Self { to: i * GRID + j, beyond, growth: long.hypot(other).max(1e-300).ln() }
    }

    fn worth(&self, most: &[f64]) -> f64 {
        let [x, y] = self.beyond;
        let row = |at: usize| most[at] * (1.0 - y) + most[at + 1] * y;
        self.growth + row(self.to) * (1.0 - x) + row(self.to + GRID) * x
    }
}

/// The logarithm of the growth a token in the long run of the best adversary.
fn growth(theta: f64, eta: f64) -> f64 {
    const TOKENS: usize = 160;
    let keys = (0..TURNS * LEANS.len()).map(|i| {
        let (turn, lean) = (PI * (i / LEANS.len()) as f64 / TURNS as f64, LEANS[i % LEANS.len()]);
        [turn.cos() * lean.cos(), turn.sin() * lean.cos(), lean.sin()]
    });
    let mut moves: Vec<([f64; 3], Column)> = Vec::new();
    for gates in [[0.0, 0.0], [0.0, eta], [1.0, 0.0], [1.0, eta]] {
        moves.push(([gates[0], 0.0, gates[1]], [0.0; 3]));
        moves.extend(keys.clone().map(|k| ([gates[0], theta, gates[1]], k)));
    }
    let leaps: Vec<Vec<Leap>> = (0..GRID * GRID)
        .map(|at| {
            let [share, between] = [at / GRID, at % GRID].map(|i| i as f64 / (GRID - 1) as f64);
            let (share, between) = (FRAC_PI_2 * share, PI * between);
            let w = [share.cos(), 0.0, 0.0];
            let s = [share.sin() * between.cos(), share.sin() * between.sin(), 0.0];
            moves.iter().map(|&(gates, k)| Leap::onto(token([w, s], gates, k))).collect()
        })
        .collect();
    let (mut most, mut halfway) = (vec![0.0; GRID * GRID], 0.0);
    for n in 0..TOKENS {
        most = leaps.iter().map(|from| from.iter().map(|leap| leap.worth(&most)).fold(f64::MIN, f64::max)).collect();
        if n + 1 == TOKENS / 2 {
            halfway = most.iter().copied().fold(f64::MIN, f64::max);
        }
    }
    (most.into_iter().fold(f64::MIN, f64::max) - halfway) / (TOKENS / 2) as f64
}

/// docs/NUMERICS.md states these ranges, for 2cθ‖k‖² in place of θ.
#[test]
fn nothing_grows_in_the_stated_range() {
    // Along the curve that the page states, the corner where its two halves meet among them.
    for eta in [0.0, 0.1, 0.25, 1.0 / 3.0, 0.4, 0.5_f64] {
        let theta = 0.99 * (1.0 - eta).min(2.0 * (1.0 - eta).powi(2) / (1.0 + eta));
        let found = growth(theta, eta);
        assert!(found.abs() < 1e-6, "θ ≤ {theta}, η ≤ {eta}: {found} a token");
    }
}

#[test]
fn beyond_it_there_is_growth_and_the_adversary_finds_it() {
    for (theta, eta, at_least) in [(0.4, 0.5, 0.004), (0.5, 0.5, 0.02), (0.77, 0.25, 0.004), (1.0, 0.5, 0.12)] {
        let found = growth(theta, eta);
        assert!(found > at_least, "θ ≤ {theta}, η ≤ {eta}: {found} a token");
    }
    // Gates that stay at the ends of the command's defaults, and keys that turn evenly.
    let found = turning(36.0, 1.0, 0.5);
    assert!((found - 1.143).abs() < 0.005, "{found}");
}

/// The token above is the kernel's.
#[test]
fn its_token_is_the_kernel_s() {
    let (on, off) = (0.25, 0.75);
    for (i, gates) in [[off, on, on], [on, on, off], [off, off, on], [on, on, on]].into_iter().enumerate() {
        let turn = 0.1 + 0.17 * i as f64;
        let map = period(&[[gates[0], gates[1], gates[2], turn]], Range([1.0, 0.7, 0.3]));
        let [alpha, theta, eta] = std::array::from_fn(|j| if gates[j] == on { [1.0, 0.7, 0.3][j] } else { 0.0 });
        let k = [(TAU * turn).cos(), (TAU * turn).sin(), 0.0];
        for (column, image) in map.iter().enumerate() {
            let mut state = [[0.0; 3]; 2];
            state[column / 2][column % 2] = 1.0;
            let [w, s] = token(state, [alpha, theta, eta], k);
            for (found, expected) in image.iter().zip([w[0], w[1], s[0], s[1]]) {
                assert!((found - expected).abs() < 1e-12, "{gates:?}: {found} {expected}");
            }
        }
    }
}

/// Without forgetting and with an η that stays, ‖w + η/(1 − η) s‖² + η/(1 − η)² ‖s‖² never grows, whatever keys and θ
/// up to 2 (1 − η)² / (1 + η) are; beyond it keys that turn evenly make the memory grow.
#[test]
fn without_forgetting_a_quadratic_form_holds_whatever_the_keys_are() {
    let form = |eta: f64, [w, s]: [Column; 2]| {
        let u: Column = std::array::from_fn(|i| w[i] + eta / (1.0 - eta) * s[i]);
        dot(u, u) + eta / (1.0 - eta).powi(2) * dot(s, s)
    };
    for eta in [0.05, 0.25, 0.5, 0.8] {
        let theta = 2.0 * (1.0 - eta) * (1.0 - eta) / (1.0 + eta);
        for i in 0..20_000 {
            let angle = |step: f64| TAU * (i as f64 * step).fract();
            let (between, turn) = (angle(0.618_033_988_7), angle(0.414_213_562_3));
            let size = 4.0 * (i as f64 * 0.732_050_807_5).fract();
            let state = [[1.0, 0.0, 0.0], [size * between.cos(), size * between.sin(), 0.0]];
            let share = if i % 3 == 0 { (i as f64 * 0.236_067_977).fract() } else { 1.0 };
            let next = token(state, [0.0, share * theta, eta], [turn.cos(), turn.sin(), 0.0]);
            let (before, after) = (form(eta, state), form(eta, next));
            assert!(after <= before * (1.0 + 1e-12), "η {eta}: {before} to {after}");
        }
        let grows = |theta: f64| (1..180).any(|degrees| turning(degrees as f64, theta, eta) > 1.0 + 1e-6);
        assert!(!grows(0.999 * theta) && grows(1.01 * theta), "η {eta}, θ {theta}");
    }
}

/// By how much a token multiplies w and s in the long run where each key is turned by so many degrees from the one
/// before.
fn turning(degrees: f64, theta: f64, eta: f64) -> f64 {
    let mut state = [[1.0, 0.3, 0.0], [0.2, -0.5, 0.0]];
    let (mut log, mut halfway) = (0.0, 0.0);
    const TOKENS: usize = 8000;
    for t in 0..TOKENS {
        let angle = (degrees * t as f64).to_radians();
        state = token(state, [0.0, theta, eta], [angle.cos(), angle.sin(), 0.0]);
        let size = state.iter().map(|&x| dot(x, x)).sum::<f64>().sqrt();
        log += size.ln();
        state.iter_mut().flatten().for_each(|x| *x /= size);
        if t + 1 == TOKENS / 2 {
            halfway = log;
        }
    }
    ((log - halfway) / (TOKENS / 2) as f64).exp()
}
