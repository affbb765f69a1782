//! Any sequence of calls on memories: what is refused changes nothing, neither block nor outputs, and what is taken can
//! be told from the history alone, token by token.

use crate::small::Line;
use std::ptr::{null, null_mut};
use titans::titans_status::*;
use titans::*;

/// Key and value width of all of them.
const WIDTH: usize = 3;

/// One memory with its block, and what was done to it since it began.
struct Live {
    block: Vec<Line>,
    memory: *mut titans_memory,
    history: Vec<u8>,
}

/// The first bytes choose a configuration, each other two a call.
pub fn run(bytes: &[u8]) {
    let (Some(head), Some(calls)) = (bytes.get(..4), bytes.get(4..)) else { return };
    let Some((config, w0)) = configuration(head) else { return };
    let mut all = vec![Live::new(&config, &w0)];
    let mut kept: Option<(Vec<u8>, Vec<u8>)> = None;
    for call in calls.chunks_exact(2).take(120) {
        let (what, with) = (call[0] % 8, call[1]);
        let (at, few) = (usize::from(call[0] >> 4) % all.len(), all.len() < 3);
        let live = &mut all[at];
        let before = live.bytes();
        match what {
            0 | 1 => live.step(with),
            2 => live.write(with),
            3 => kept = Some((live.save(&config), live.history.clone())),
            4 => {
                if let Some((saved, then)) = &kept {
                    assert_eq!(live.load(saved), 0);
                    live.history.clone_from(then);
                }
            }
            5 if few => {
                let other = live.copy();
                all.push(other);
            }
            6 if with == 0 => {
                // SAFETY: borrows with their lengths.
                assert_eq!(unsafe { titans_memory_reset(live.memory, w0.as_ptr(), w0.len(), null_mut()) }, 0);
                live.history.clear();
            }
            6 => {
                let saved = kept.as_ref().map_or(&[][..], |(saved, _)| saved);
                let cut = &saved[..saved.len().saturating_sub(usize::from(with))];
                assert!(live.load(cut) != 0 && live.bytes() == before, "a refused state changed the memory");
            }
            _ => live.read(with, &before),
        }
    }
    for mut live in all {
        let mut again = Live::new(&config, &w0);
        live.history.clone().into_iter().for_each(|token| again.step(token));
        assert!(live.save(&config) == again.save(&config), "a memory is not what its history says");
    }
}

/// Configurations of every form, and sequences.
pub fn seeds() -> Vec<Vec<u8>> {
    let calls = [0u8, 9, 2, 0x47, 1, 0xff, 3, 0, 5, 0, 0x10, 30, 0x12, 0x87, 4, 0, 7, 5, 6, 3, 2, 0xfe, 6, 0, 0, 77];
    (0..6u8).map(|form| [&[form, form, form / 2, form][..], &calls].concat()).collect()
}

fn configuration(head: &[u8]) -> Option<(titans_memory_config, Vec<f32>)> {
    let layers = 1 + usize::from(head[0] % 3);
    let mut widths = [0; TITANS_MAX_WIDTHS];
    widths[..=layers].fill(WIDTH as u32 + 1);
    (widths[0], widths[layers]) = (WIDTH as u32, WIDTH as u32);
    let chunk = 1 + u32::from(head[1] % 5);
    let config = titans_memory_config {
        struct_size: size_of::<titans_memory_config>() as u32,
        flags: 0,
        layers: layers as u32,
        widths,
        activation: i32::from(head[2] % 5),
        network: i32::from(head[0] / 3 % 2),
        loss: i32::from(head[2] / 5 % 3),
        read: i32::from(head[3] % 3),
        chunk,
        clip: if head[3] & 4 == 0 { 0.0 } else { 0.5 },
        compute_chunk: chunk * u32::from(head[3] / 8 % 4),
    };
    let mut params = 0;
    // SAFETY: borrows.
    if unsafe { titans_memory_parameters(&config, &mut params, null_mut()) } != 0 {
        return None;
    }
    Some((config, (0..params).map(|i| (i as f32 * 0.9).sin() * 0.3).collect()))
}

/// Key, value and query of a token; every sixteenth would not stay finite.
fn token(token: u8) -> ([f32; WIDTH], [f32; WIDTH], bool) {
    let x = f32::from(token & 15);
    let bad = token >= 0xf0;
    let v = if bad { [1e38; WIDTH] } else { [x * 0.1, 1.0 - x * 0.1, -0.5] };
    ([(x * 0.7).sin() * 0.5, (x * 1.3).cos() * 0.5, f32::from(token >> 4) * 0.02], v, bad)
}

fn details() -> titans_error_info {
    let struct_size = size_of::<titans_error_info>() as u32;
    let message = [0; TITANS_MESSAGE_BYTES];
    titans_error_info { struct_size, code: 0, arg: 0, reserved: 0, expected: 0, found: 0, message }
}

const GATES: [f32; 3] = [0.05, 0.1, 0.3];

impl Live {
    fn new(config: &titans_memory_config, w0: &[f32]) -> Self {
        let (mut bytes, mut memory) = (0, null_mut());
        // SAFETY: borrows; a buffer of that size.
        unsafe {
            assert_eq!(titans_memory_size(config, &mut bytes, null_mut()), 0);
            let mut block = vec![Line([0xA5; 64]); bytes / 64];
            let at = block.as_mut_ptr().cast();
            assert_eq!(titans_memory_init(at, bytes, config, w0.as_ptr(), w0.len(), &mut memory, null_mut()), 0);
            Self { block, memory, history: Vec::new() }
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.block.iter().flat_map(|line| line.0).collect()
    }

    fn copy(&self) -> Self {
        let (mut block, mut memory) = (self.block.clone(), null_mut());
        let bytes = block.len() * 64;
        // SAFETY: a buffer of that size.
        let status = unsafe { titans_memory_attach(block.as_mut_ptr().cast(), bytes, &mut memory, null_mut()) };
        assert_eq!(status, 0);
        Self { block, memory, history: self.history.clone() }
    }

    /// What a later call goes on from: working space need not be as it was.
    fn stands(&self) -> (u64, Vec<f32>) {
        let (copy, mut position) = (self.copy(), 0);
        let mut weights = vec![0.0; 512];
        // SAFETY: borrows with their lengths.
        unsafe {
            assert_eq!(titans_memory_position(copy.memory, &mut position, null_mut()), 0);
            let mut info = details();
            let status = titans_memory_weights(copy.memory, weights.as_mut_ptr(), 0, &mut info);
            assert_eq!(status, TITANS_ERROR_LENGTH as i32);
            weights.truncate(info.expected as usize);
            assert_eq!(titans_memory_weights(copy.memory, weights.as_mut_ptr(), weights.len(), null_mut()), 0);
        }
        (position, weights)
    }

    fn step(&mut self, id: u8) {
        let ((k, v, bad), before) = (token(id), self.stands());
        let (mut y, mut s) = ([7.0f32; WIDTH], 7.0f32);
        let [a, t, e] = GATES;
        // SAFETY: borrows with their lengths.
        let status = unsafe {
            let (k, v, m) = (k.as_ptr(), v.as_ptr(), self.memory);
            titans_memory_step(m, k, WIDTH, v, WIDTH, k, WIDTH, a, t, e, y.as_mut_ptr(), WIDTH, &mut s, null_mut())
        };
        if status == 0 {
            assert!(!bad && y.iter().chain([&s]).all(|x| x.is_finite()));
            self.history.push(id);
        } else {
            assert_eq!(status, TITANS_ERROR_DIVERGED as i32);
            assert!(y == [7.0; WIDTH] && s == 7.0 && self.stands() == before, "a refused token left a trace");
        }
    }

    /// Up to fifteen tokens at once; the high bit puts one among them that is refused.
    fn write(&mut self, with: u8) {
        let n = usize::from(with & 15);
        let id = |i| if with >= 0x80 && i == n / 2 { 0xf0 } else { with.wrapping_mul(7) % 0xe0 + i as u8 };
        let ids: Vec<u8> = (0..n).map(id).collect();
        let rows = |pick: fn(u8) -> [f32; WIDTH]| ids.iter().flat_map(|&id| pick(id)).collect::<Vec<f32>>();
        let (k, v) = (rows(|id| token(id).0), rows(|id| token(id).1));
        let (mut y, mut s) = (vec![7.0f32; n * WIDTH], vec![7.0f32; n]);
        let [alpha, theta, eta] = GATES.each_ref().map(std::ptr::from_ref);
        let tokens = titans_tokens {
            struct_size: size_of::<titans_tokens>() as u32,
            flags: 0,
            n,
            k: k.as_ptr(),
            k_len: n * WIDTH,
            v: v.as_ptr(),
            v_len: n * WIDTH,
            q: k.as_ptr(),
            q_len: n * WIDTH,
            alpha,
            alpha_len: 1,
            theta,
            theta_len: 1,
            eta,
            eta_len: 1,
            mask: null(),
            mask_len: 0,
        };
        let mut info = details();
        // SAFETY: borrows with their lengths.
        let status = unsafe {
            titans_memory_write(self.memory, &tokens, y.as_mut_ptr(), n * WIDTH, s.as_mut_ptr(), n, &mut info)
        };
        let bad = ids.iter().position(|&id| token(id).2).unwrap_or(n);
        // Learning may run away before.
        let good = if status == 0 { n } else { info.found as usize };
        assert!(good <= bad && (status == 0 || status == TITANS_ERROR_DIVERGED as i32), "{status}");
        assert!(y[..good * WIDTH].iter().chain(&s[..good]).all(|x| x.is_finite()));
        assert!(y[good * WIDTH..].iter().chain(&s[good..]).all(|&x| x == 7.0), "an output of a refused token");
        self.history.extend(&ids[..good]);
    }

    /// Reads, and calls that are refused: nothing that counts is another than `before`.
    fn read(&mut self, with: u8, before: &[u8]) {
        let (q, mut y, stands) = (token(with & 0x7f).0, [7.0f32; WIDTH], self.stands());
        // SAFETY: borrows with their lengths.
        unsafe {
            let (q, y, m) = (q.as_ptr(), y.as_mut_ptr(), self.memory);
            let status = titans_memory_read(m, 1, q, WIDTH - usize::from(with & 1), y, WIDTH, null_mut());
            assert_eq!(status, if with & 1 == 0 { 0 } else { TITANS_ERROR_LENGTH as i32 });
            let (y, none) = (y.cast_const(), null_mut());
            let status =
                titans_memory_step(m, q, WIDTH, y, WIDTH, null(), 0, 2.0, 0.1, 0.0, none, 0, null_mut(), null_mut());
            assert_eq!(status, TITANS_ERROR_GATE_RANGE as i32);
        }
        assert!(with & 1 == 0 || (y == [7.0; WIDTH] && self.bytes() == before), "a refused call left a trace");
        assert!(self.stands() == stands, "reading changed the memory");
    }

    fn save(&mut self, config: &titans_memory_config) -> Vec<u8> {
        let (mut size, mut written) = (0, 0);
        // SAFETY: borrows with their lengths.
        unsafe {
            assert_eq!(titans_memory_saved_size(config, &mut size, null_mut()), 0);
            let mut bytes = vec![0; size];
            let at = bytes.as_mut_ptr().cast();
            assert_eq!(titans_memory_save(self.memory, at, size, &mut written, null_mut()), 0);
            bytes.truncate(written);
            bytes
        }
    }

    fn load(&mut self, bytes: &[u8]) -> i32 {
        // SAFETY: a borrow with its length.
        unsafe { titans_memory_load(self.memory, bytes.as_ptr().cast(), bytes.len(), null_mut()) }
    }
}
