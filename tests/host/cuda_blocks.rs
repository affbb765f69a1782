//! The emulator as a judge of block kernels: right ones give right results in every order of their threads, and a
//! missing barrier, a lane that does not come, a write outside of shared memory are found.

use titans_host::device::cuda::compile::KernelFile;
use titans_host::device::cuda::emulator::{Emulator, Order};
use titans_host::device::cuda::{Address, Arg, Driver, Grid};

pub(crate) const KERNELS: KernelFile = KernelFile { name: "kernels.cu", text: include_str!("cuda_blocks/kernels.cu") };
/// More units than blocks that start.
const UNITS: usize = 10;

fn machine(order: Order) -> Emulator {
    Emulator::with_kernels(order, &[KERNELS]).unwrap()
}

fn input() -> Vec<f32> {
    (0..UNITS * 64).map(|i| 1.0 + i as f32).collect()
}

/// Runs a kernel whose arguments are n, x (where `x` says so) and y `[UNITS, 64]`.
pub(crate) fn run(machine: &Emulator, kernel: &'static str, threads: u32, x: bool) -> titans_host::Result<Vec<f32>> {
    let bytes: Vec<u8> = input().into_iter().flat_map(f32::to_ne_bytes).collect();
    let (from, to) = (machine.alloc(bytes.len())?, machine.alloc(bytes.len())?);
    let mut args = vec![Arg::Int(UNITS as i64), Arg::Address(from), Arg::Address(to)];
    if !x {
        args.remove(1);
    }
    let grid = Grid { blocks: UNITS as i64, threads };
    let mut out = vec![0; bytes.len()];
    // SAFETY: the buffers are as long as every kernel of the file asks for.
    let done = unsafe {
        machine.upload(&bytes, from)?;
        machine.launch_blocks(kernel, grid, &args).and_then(|()| machine.download(to, &mut out))
    };
    for address in [from, to] {
        free(machine, address);
    }
    done.map(|()| out.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn free(machine: &Emulator, address: Address) {
    // SAFETY: allocated by this machine, used by nobody any more.
    unsafe { machine.free(address) };
}

/// The rows backwards.
fn expected() -> Vec<f32> {
    input().chunks(64).flat_map(|row| row.iter().rev().copied().collect::<Vec<_>>()).collect()
}

#[test]
fn right_kernels_are_right_in_every_order() {
    for order in [Order::Ascending, Order::Descending] {
        let machine = machine(order);
        assert_eq!(run(&machine, "backwards", 64, true).unwrap(), expected());
        let sums = run(&machine, "warp_sums", 96, true).unwrap();
        let want: Vec<f32> = input().chunks(64).map(|row| row.iter().sum()).collect();
        assert_eq!(sums[..UNITS], want);
        assert!(sums[UNITS..].iter().all(|x| x.is_nan()), "{sums:?}");
        let (x, y) = (input(), run(&machine, "shuffles", 64, true).unwrap());
        for i in 0..64 {
            let (warp, lane) = (i / 32 * 32, i % 32);
            let half = if lane < 16 { x[warp..warp + 16].iter().sum() } else { x[i] };
            let want =
                [x[warp + 3], x[if lane + 5 < 32 { i + 5 } else { i }], x[i ^ 16], half, x[warp + (lane + 1) % 32]];
            assert_eq!([0, 64, 128, 192, 256].map(|at| y[at + i]), want, "thread {i}");
        }
    }
}

/// Without a barrier some thread reads what is not written yet (NaN), or not any more.
#[test]
fn a_removed_barrier_shows() {
    let machines = [Order::Ascending, Order::Descending].map(machine);
    let of = |kernel| machines.each_ref().map(|machine| run(machine, kernel, 64, true).unwrap());
    let [one, other] = of("backwards_unwritten");
    assert!(one.iter().chain(&other).any(|x| x.is_nan()));
    let [one, other] = of("backwards_overwritten");
    assert!(one != expected() && other != expected() && one != other);
    // Shared memory is new in every block, and old in a block's next unit.
    let found = run(&machines[0], "unwritten", 64, false).unwrap();
    assert!(found.chunks(64).take(3).flatten().all(|x| x.is_nan()), "{found:?}");
}

#[test]
fn what_would_hang_or_be_undefined_is_an_error_that_says_where() {
    let machine = machine(Order::Ascending);
    let line = |kernel: &str, call: &str| {
        let text = KERNELS.text.split_once(&format!(" {kernel}(")).unwrap();
        let before = text.0.lines().count();
        before + text.1.lines().position(|line| line.contains(call)).unwrap()
    };
    for (kernel, call, says) in [
        ("half_arrive", "__syncthreads", "32 threads wait at kernels.cu line {} for others that do not come"),
        ("two_barriers", "__syncthreads", "kernels.cu line {}"),
        ("crossed", "__syncwarp", "threads wait at kernels.cu line {} for others"),
        ("lane_leaves", "__shfl", "31 threads wait at kernels.cu line {} for others that do not come"),
        ("lane_unnamed", "__shfl", "the mask at kernels.cu line {} lacks lane 0"),
        ("lane_unread", "__shfl", "a lane that the mask lacks is read at kernels.cu line {}"),
        ("masks_differ", "__shfl", "16 threads wait at kernels.cu line {} for others that do not come"),
        ("beyond", "", "a kernel wrote outside its shared array row"),
    ] {
        let error = run(&machine, kernel, 64, false).unwrap_err().to_string();
        let says = says.replace("{}", &line(kernel, call).to_string());
        assert!(error.contains(kernel) && error.contains(&says), "{error}: expected {says}");
        // The machine goes on.
        assert_eq!(run(&machine, "backwards", 64, true).unwrap(), expected(), "after {kernel}");
    }
}

#[test]
fn a_launch_that_is_not_as_declared_is_refused() {
    let machine = machine(Order::Ascending);
    let told = |kernel, threads, x| run(&machine, kernel, threads, x).unwrap_err().to_string();
    assert!(told("backwards", 32, true).contains("not declared for blocks of 32 threads"));
    assert!(told("backwards", 64, false).contains("does not take the arguments"));
    assert!(told("nothing", 64, true).contains("no kernel nothing"));
}
