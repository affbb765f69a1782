//! Models as blobs, and streams through them in guarded buffers.

use crate::support::{Arena, expect};
use std::ptr::null_mut;
use titans::*;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Head, Kind, Model, ModelConfig, Weights};
use titans_status::TITANS_OK;

/// The blob of a model with random weights, and what owns it.
pub struct Blob {
    pub arena: Arena,
    pub model: titans_model,
    pub info: titans_model_info,
}

/// Weights of such a model.
pub fn weights(config: &ModelConfig) -> Weights<f32> {
    let device = Cpu::<f32>::new(Some(1)).unwrap();
    Weights::of(&device, &Model::new(&device, config.clone(), 3).unwrap()).unwrap()
}

// SAFETY: a blob is only read, from any thread.
unsafe impl Send for Blob {}
// SAFETY: as above.
unsafe impl Sync for Blob {}

impl Blob {
    pub fn new(config: &ModelConfig) -> Self {
        Self::of(weights(config).bytes())
    }

    pub fn of(bytes: &[u8]) -> Self {
        let mut arena = Arena::new(bytes.len());
        arena.bytes_mut().copy_from_slice(bytes);
        let mut model = titans_model { opaque: [0; 6] };
        expect(open(&mut model, &arena, null_mut()), titans_status::TITANS_OK);
        let info = about(&model);
        Self { arena, model, info }
    }
}

/// Opens the blob in an arena.
pub fn open(model: &mut titans_model, arena: &Arena, info: *mut titans_error_info) -> i32 {
    let (start, bytes) = (arena.start(), arena.bytes().len());
    // SAFETY: the arena holds that many bytes; `info` is NULL or a borrow.
    unsafe { titans_model_open(model, size_of::<titans_model>(), TITANS_ABI_VERSION, start, bytes, info) }
}

/// What a model says about itself.
pub fn about(model: &titans_model) -> titans_model_info {
    // SAFETY: integers only.
    let mut info: titans_model_info = unsafe { std::mem::zeroed() };
    info.struct_size = size_of::<titans_model_info>() as u32;
    // SAFETY: borrows.
    expect(unsafe { titans_model_describe(model, &mut info, null_mut()) }, titans_status::TITANS_OK);
    info
}

/// A configuration of a stream.
pub fn running(rows: u32, undo: u32) -> titans_stream_config {
    let mut config = std::mem::MaybeUninit::<titans_stream_config>::uninit();
    // SAFETY: a writable structure of that size, filled by a call that succeeds.
    let mut config = unsafe {
        let size = size_of::<titans_stream_config>();
        expect(titans_stream_config_init(config.as_mut_ptr(), size, TITANS_ABI_VERSION, null_mut()), TITANS_OK);
        config.assume_init()
    };
    (config.rows, config.undo) = (rows, undo);
    config
}

/// Token ids, or rows of numbers with their size.
#[derive(Clone)]
pub enum Fed {
    Ids(Vec<u32>),
    Rows(Vec<f32>, usize),
}

impl Fed {
    /// n of them for a model.
    pub fn new(info: &titans_model_info, n: usize) -> Self {
        let size = info.input_size as usize;
        let noise = crate::support::noise(n * size, 21);
        match info.input {
            0 => Self::Ids((0..n).map(|i| ((noise[i] + 1.0) * 0.5 * size as f32) as u32 % info.input_size).collect()),
            _ => Self::Rows(noise, size),
        }
    }
}

/// A stream with its buffer.
pub struct Running<'b> {
    pub arena: Arena,
    pub stream: *mut titans_stream,
    pub blob: &'b Blob,
    pub config: titans_stream_config,
}

impl<'b> Running<'b> {
    pub fn new(blob: &'b Blob, config: titans_stream_config) -> Self {
        let arena = Arena::new(size(blob, &config));
        let (start, bytes, mut stream) = (arena.start(), arena.bytes().len(), null_mut());
        // SAFETY: the buffer is of that size, the rest are borrows.
        let status = unsafe { titans_stream_init(start, bytes, &blob.model, &config, &mut stream, null_mut()) };
        expect(status, TITANS_OK);
        assert_eq!(stream.cast(), start);
        Self { arena, stream, blob, config }
    }

    /// Feeds tokens `range` into poisoned outputs; returns the status too.
    pub fn try_push(
        &mut self,
        fed: &Fed,
        range: std::ops::Range<usize>,
        info: *mut titans_error_info,
    ) -> (i32, Vec<f32>, Vec<f32>) {
        let n = range.len();
        let mut y = vec![f32::NAN; n * self.blob.info.outputs as usize];
        let mut s = vec![f32::NAN; n * self.blob.info.memories as usize];
        let (at_y, y_len, at_s, s_len) = (y.as_mut_ptr(), y.len(), s.as_mut_ptr(), s.len());
        let (stream, model) = (self.stream, &raw const self.blob.model);
        // SAFETY: borrows with their lengths.
        let status = unsafe {
            match fed {
                Fed::Ids(ids) => {
                    titans_stream_push(stream, model, ids[range].as_ptr(), n, at_y, y_len, at_s, s_len, info)
                }
                Fed::Rows(rows, size) => {
                    let rows = &rows[range.start * size..range.end * size];
                    titans_stream_push_rows(stream, model, rows.as_ptr(), rows.len(), at_y, y_len, at_s, s_len, info)
                }
            }
        };
        (status, y, s)
    }

    pub fn push(&mut self, fed: &Fed, range: std::ops::Range<usize>) -> (Vec<f32>, Vec<f32>) {
        let (status, y, s) = self.try_push(fed, range, null_mut());
        expect(status, TITANS_OK);
        (y, s)
    }

    pub fn about(&self) -> titans_stream_info {
        // SAFETY: integers only.
        let mut info: titans_stream_info = unsafe { std::mem::zeroed() };
        info.struct_size = size_of::<titans_stream_info>() as u32;
        // SAFETY: borrows.
        expect(unsafe { titans_stream_describe(self.stream, &mut info, null_mut()) }, TITANS_OK);
        info
    }

    pub fn save(&mut self) -> Vec<u8> {
        let (mut size, mut written) = (0, 0);
        // SAFETY: borrows with their lengths.
        unsafe {
            expect(titans_stream_saved_size(&self.blob.model, &mut size, null_mut()), TITANS_OK);
            let mut bytes = vec![0xEE; size];
            let out = bytes.as_mut_ptr().cast();
            expect(titans_stream_save(self.stream, &self.blob.model, out, size, &mut written, null_mut()), TITANS_OK);
            bytes.truncate(written);
            bytes
        }
    }

    pub fn load(&mut self, bytes: &[u8], info: *mut titans_error_info) -> i32 {
        // SAFETY: borrows with their lengths.
        unsafe { titans_stream_load(self.stream, &self.blob.model, bytes.as_ptr().cast(), bytes.len(), info) }
    }

    pub fn reset(&mut self) -> i32 {
        // SAFETY: borrows.
        unsafe { titans_stream_reset(self.stream, &self.blob.model, null_mut()) }
    }
}

/// Bytes of a stream's block.
pub fn size(blob: &Blob, config: &titans_stream_config) -> usize {
    let mut bytes = 0;
    // SAFETY: borrows.
    expect(unsafe { titans_stream_size(&blob.model, config, &mut bytes, null_mut()) }, TITANS_OK);
    bytes
}

/// A model that reads ids.
pub fn texts() -> Blob {
    Blob::new(&super::blocks::tiny(Kind::Mal))
}

/// A model that reads rows.
pub fn numbers() -> Blob {
    let mut config = super::blocks::tiny(Kind::Mag);
    (config.inputs, config.head, config.outputs, config.tied) = (4, Head::Regression, 4, false);
    Blob::new(&config)
}
