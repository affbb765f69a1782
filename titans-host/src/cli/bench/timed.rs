//! A device that notes how long each kind of operation takes. Two looks at the clock an operation: nothing beside
//! what the operations of a model take. Where operations may still run when their call returns, it can wait for
//! each of them.

use crate::device::{Device, MemoryOp, MemoryUse, Operation, OperationKind, RepeatedStep, SegmentsOp};
use crate::error::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use titans_kernel::Choice;
use titans_kernel::arch::Simd;

const KINDS: usize = OperationKind::ALL.len();

/// `D` with a clock.
pub struct Timed<D> {
    device: D,
    waits: AtomicBool,
    nanoseconds: [AtomicU64; KINDS],
}

impl<D: Device> Timed<D> {
    /// A clock around `device`.
    pub fn new(device: D) -> Self {
        Self { device, waits: AtomicBool::new(false), nanoseconds: Default::default() }
    }

    /// From now on waits for the end of every operation, or no more: what each takes, and more than all together take.
    pub fn wait(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// Seconds of each of [`OperationKind::ALL`] since the last call.
    pub fn take_seconds(&self) -> [f64; KINDS] {
        self.nanoseconds.each_ref().map(|n| 1e-9 * n.swap(0, Ordering::Relaxed) as f64)
    }

    fn time<R>(&self, kind: OperationKind, work: impl FnOnce() -> Result<R>) -> Result<R> {
        let begin = Instant::now();
        let mut result = work();
        if self.waits.load(Ordering::Relaxed) {
            result = result.and_then(|done| self.device.synchronize().map(|()| done));
        }
        self.nanoseconds[kind as usize].fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

impl<D: Device> Device for Timed<D> {
    type Elem = D::Elem;
    type Buffer = D::Buffer;
    type Indices = D::Indices;
    type RecordedSteps = D::RecordedSteps;

    fn describe(&self) -> String {
        self.device.describe()
    }

    fn arithmetic(&self) -> Simd {
        self.device.arithmetic()
    }

    fn memory_use(&self) -> Option<MemoryUse> {
        self.device.memory_use()
    }

    fn alloc(&self, len: usize) -> Result<D::Buffer> {
        self.device.alloc(len)
    }

    fn zeros(&self, len: usize) -> Result<D::Buffer> {
        self.time(OperationKind::Elementwise, || self.device.zeros(len))
    }

    fn len(&self, x: &D::Buffer) -> usize {
        self.device.len(x)
    }

    fn upload(&self, x: &[D::Elem]) -> Result<D::Buffer> {
        self.device.upload(x)
    }

    fn write(&self, x: &[D::Elem], out: &mut D::Buffer) -> Result<()> {
        self.device.write(x, out)
    }

    fn upload_indices(&self, x: &[u32]) -> Result<D::Indices> {
        self.device.upload_indices(x)
    }

    fn write_indices(&self, x: &[u32], out: &mut D::Indices) -> Result<()> {
        self.device.write_indices(x, out)
    }

    fn download(&self, x: &D::Buffer) -> Result<Vec<D::Elem>> {
        self.device.download(x)
    }

    fn read(&self, x: &D::Buffer, out: &mut [D::Elem]) -> Result<()> {
        self.device.read(x, out)
    }

    fn synchronize(&self) -> Result<()> {
        self.device.synchronize()
    }

    fn asks_state(&self, op: &MemoryOp) -> bool {
        self.device.asks_state(op)
    }

    fn walks_segments(&self, op: &SegmentsOp) -> bool {
        self.device.walks_segments(op)
    }

    fn run(&self, operation: Operation<'_, D::Buffer, D::Indices>) -> Result<u64> {
        self.time(operation.kind(), || self.device.run(operation))
    }

    /// What is launched as one has no operations to wait for.
    fn repeats(&self) -> bool {
        self.device.repeats() && !self.waits.load(Ordering::Relaxed)
    }

    fn repeat(
        &self,
        kept: &mut D::RecordedSteps,
        step: &RepeatedStep<'_, D::Indices>,
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        self.device.repeat(kept, step, work)
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Timed};
    use crate::device::cpu::Cpu;
    use crate::device::{Device, OperationKind};
    use titans_kernel::Choice;

    #[test]
    fn operations_pass_through_and_leave_their_time() {
        let timed = Timed::new(Cpu::<f64>::new(Some(1)).unwrap());
        let (x, mut y) = (timed.upload(&[3.0; 4096]).unwrap(), timed.zeros(4096).unwrap());
        timed.take_seconds();
        timed.rms_norm(64, &x, &timed.upload(&[1.0; 64]).unwrap(), &mut y).unwrap();
        assert!((timed.download(&y).unwrap()[4095] - 1.0).abs() < 1e-6);
        let seconds = timed.take_seconds();
        for (&kind, seconds) in OperationKind::ALL.iter().zip(seconds) {
            assert_eq!(seconds > 0.0, kind == OperationKind::Norms, "{kind:?}");
        }
        assert_eq!(timed.take_seconds(), [0.0; KINDS]);
    }
}
