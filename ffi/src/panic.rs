//! The end of a program on bare metal: the archive for it needs a panic handler to be linked.

use core::panic::PanicInfo;

/// Stands still. The optimised archive does not hold it: no function of the library can get here (`.ci/mcu` looks).
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}
