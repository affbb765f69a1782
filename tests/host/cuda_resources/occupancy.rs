//! How many blocks of a kernel a multiprocessor holds at once: the rules of NVIDIA's occupancy calculator, with the
//! numbers of the CUDA C++ Programming Guide (table "Technical Specifications per Compute Capability").

use super::image::Taken;
use titans_host::device::cuda::compile::Target;

/// Of every architecture here: registers of a multiprocessor, the parts that it has, each with its own registers, and
/// what registers are given out in, to a warp.
const REGISTERS: u32 = 65_536;
const PARTS: u32 = 4;
const REGISTER_UNIT: u32 = 256;
/// Threads of a block where a kernel's threads know nothing of one another (`nvidia/machine.rs`).
const PLAIN_THREADS: u32 = 256;

/// What a multiprocessor holds at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub warps: u32,
    pub blocks: u32,
    /// Bytes of shared memory, what they are given out in, and what the system takes of each block's.
    pub shared: u32,
    pub shared_unit: u32,
    pub reserved: u32,
    /// Whether a kernel's section counts what is reserved.
    pub counted: bool,
}

impl Limits {
    pub fn of(target: Target) -> Self {
        let of = |warps, blocks, kib: u32, counted| Self {
            warps,
            blocks,
            shared: kib << 10,
            shared_unit: 128,
            reserved: 1 << 10,
            counted,
        };
        match target {
            Target::Code(75) => Self { shared_unit: 256, reserved: 0, ..of(32, 16, 64, false) },
            Target::Code(80) => of(64, 32, 164, false),
            Target::Code(89) => of(48, 24, 100, false),
            Target::Code(90 | 100) => of(64, 32, 228, true),
            Target::Code(120) => of(48, 24, 100, true),
            other => panic!("the limits of {other} are not here yet"),
        }
    }

    /// Bytes of reserved shared memory in a kernel's section.
    pub fn reserved_in_section(&self) -> u32 {
        if self.counted { self.reserved } else { 0 }
    }

    /// Blocks of a kernel that a multiprocessor holds at once.
    pub fn blocks(&self, taken: &Taken) -> u32 {
        let warps = threads(taken).div_ceil(32);
        let of_warp = (taken.registers * 32).next_multiple_of(REGISTER_UNIT);
        let by_registers = match of_warp {
            0 => u32::MAX,
            of_warp => REGISTERS / PARTS / of_warp * PARTS / warps,
        };
        let by_shared = match (taken.shared + self.reserved).next_multiple_of(self.shared_unit) {
            0 => u32::MAX,
            shared => self.shared / shared,
        };
        self.blocks.min(self.warps / warps).min(by_registers).min(by_shared)
    }
}

/// Threads of a block.
pub fn threads(taken: &Taken) -> u32 {
    taken.threads.unwrap_or(PLAIN_THREADS)
}

#[test]
fn each_limit_binds_where_it_should() {
    let blocks = |target, registers, shared, threads| {
        let taken = Taken { registers, shared, local: 0, threads: Some(threads) };
        Limits::of(Target::Code(target)).blocks(&taken)
    };
    // Warps: 64, 48 and 32 of them, 8 a block.
    assert_eq!([75, 80, 89, 90, 100, 120].map(|to| blocks(to, 32, 0, 256)), [4, 8, 6, 8, 8, 6]);
    // Blocks, of one warp each.
    assert_eq!([75, 80, 89, 90, 100, 120].map(|to| blocks(to, 16, 0, 32)), [16, 32, 24, 32, 32, 24]);
    // Registers: 65 are given out as 72, 2,304 a warp, 7 warps in each of four parts.
    assert_eq!((blocks(80, 64, 0, 256), blocks(80, 65, 0, 256), blocks(80, 255, 0, 256)), (4, 3, 1));
    assert_eq!(blocks(80, 255, 0, 1024), 0);
    // Shared memory, of which the system takes 1 KiB a block from 8.0 on.
    assert_eq!(blocks(75, 32, 16 << 10, 128), 4);
    assert_eq!(
        (blocks(80, 32, 40 << 10, 128), blocks(80, 32, 41 << 10, 128), blocks(89, 32, 49 << 10, 128)),
        (4, 3, 2)
    );
    assert_eq!((blocks(90, 32, 113 << 10, 128), blocks(90, 32, (113 << 10) + 1, 128)), (2, 1));
}
