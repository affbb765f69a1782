//! The firmware: `forecast` on a bare machine, with text and exit code by semihosting (QEMU, or a debugger).
#![no_std]
#![no_main]

mod forecast;

use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr::addr_of_mut;
use semihosting::process::ExitCode;
use titans_kernel::Portable;

/// Bytes in flash where numbers of 32 bits may lie.
#[repr(align(4))]
struct Aligned<const N: usize>([u8; N]);

static MODEL: &Aligned<{ include_bytes!("../../model.titans").len() }> =
    &Aligned(*include_bytes!("../../model.titans"));
static SENSOR: &[u8] = include_bytes!("../../device.bin");

/// All memory that the two streams will ever need.
static mut STREAMS: [[f32; forecast::NUMBERS]; 2] = [[0.0; forecast::NUMBERS]; 2];

/// What is printed goes to whoever runs the machine.
struct Console;

impl Write for Console {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut out = semihosting::io::stdout().map_err(|_| fmt::Error)?;
        semihosting::io::Write::write_all(&mut out, s.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    // SAFETY: this is the only borrow of STREAMS: the entry point runs once, and no interrupt names it.
    let [a, b] = unsafe { &mut *addr_of_mut!(STREAMS) };
    let done = forecast::run(Portable, &MODEL.0, SENSOR, [a, b], &mut Console);
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(forecast::Stop::Text) => ExitCode::from(2),
        Err(forecast::Stop::Model(_)) => {
            let _ = Console.write_str("the model refused a row\n"); // the exit code says it too
            ExitCode::from(4)
        }
    }
    .exit_process()
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    ExitCode::from(3).exit_process()
}
