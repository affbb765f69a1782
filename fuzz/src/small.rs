//! Small models as blobs, streams through them in aligned blocks: what the targets of the C library share.

use std::ptr::null_mut;
use titans::titans_status::TITANS_OK;
use titans::*;
use titans_kernel::Scalar;
use titans_kernel::memory::{Loss, MemorySpec, Read};
use titans_kernel::model::{
    BlockSpec, Combine, GateSpan, Input, Kind, MacFeed, MacRead, ModelSpec, Wiring, blob_len, checksum, encode_header,
};

/// Symbols of the models; feeding the last one is refused.
pub const SYMBOLS: u32 = 5;

const KINDS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];

/// Numbers of 32 bits at a multiple of 64 bytes.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub struct Line(pub [u8; 64]);

/// Bytes in whole lines.
pub fn lines(bytes: &[u8]) -> Vec<Line> {
    let mut lines = vec![Line([0; 64]); bytes.len().div_ceil(64)];
    for (line, chunk) in lines.iter_mut().zip(bytes.chunks(64)) {
        line.0[..chunk.len()].copy_from_slice(chunk);
    }
    lines
}

/// A model of two blocks, the first of that kind.
pub fn blob(which: usize) -> Vec<u8> {
    let kind = KINDS[which % KINDS.len()];
    let mut memory = MemorySpec::new(&[2, 2]).expect("a valid memory");
    (memory.chunk, memory.loss, memory.compute_chunk) = (2, Loss::Half, 2);
    let block = |kind| BlockSpec {
        kind,
        wiring: Wiring::Residual,
        memory: memory.clone(),
        read: Read::After,
        heads: 2,
        head_width: 2,
        conv_width: 2,
        theta_max: 0.5,
        eta_max: 0.5,
        forgetting: true,
        momentum: true,
        gate_span: GateSpan::Token,
        persistent: 1,
        attention_heads: 2,
        kv_heads: 1,
        window: 3,
        segment: 4,
        rotary: 10.0,
        combine: Combine::Gates,
        mac_feed: MacFeed::Split,
        mac_read: MacRead::After,
        feed_forward: 3,
    };
    let blocks = [block(kind), block(Kind::Lmm)];
    let outputs = SYMBOLS as usize;
    let spec = ModelSpec {
        input: Input::Tokens(outputs),
        outputs,
        head_bias: false,
        width: 3,
        tied: false,
        shortcut: false,
        blocks: 2,
    };
    let mut bytes = vec![0; blob_len::<f32>(&spec, &blocks).expect("a valid model")];
    let start = encode_header::<f32>(&spec, &blocks, &mut bytes).expect("the size is right");
    let end = bytes.len() - 4;
    let mut x = 0x9e37_79b9_u32 + which as u32;
    for number in bytes[start..end].chunks_exact_mut(4) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        ((x >> 8) as f32 / 8_388_608.0 - 1.0).write_le(number);
    }
    for number in bytes[start + 12 * (outputs - 1)..start + 12 * outputs].chunks_exact_mut(4) {
        f32::INFINITY.write_le(number);
    }
    seal(&mut bytes, 0);
    bytes
}

/// A checksum that fits the bytes from `from` on, which a stranger can make too.
pub fn seal(bytes: &mut [u8], from: usize) {
    if let Some(end) = bytes.len().checked_sub(4).filter(|&end| end >= from) {
        let sum = checksum(&bytes[from..end]);
        bytes[end..].copy_from_slice(&sum);
    }
}

/// Opens a model over whole lines.
pub fn open(lines: &[Line], bytes: usize) -> Result<titans_model, i32> {
    let mut model = titans_model { opaque: [0; 6] };
    let size = size_of::<titans_model>();
    // SAFETY: the lines hold that many bytes.
    let status =
        unsafe { titans_model_open(&mut model, size, TITANS_ABI_VERSION, lines.as_ptr().cast(), bytes, null_mut()) };
    if status == 0 { Ok(model) } else { Err(status) }
}

/// A configuration of a stream.
pub fn config(rows: u32, undo: u32) -> titans_stream_config {
    titans_stream_config {
        struct_size: size_of::<titans_stream_config>() as u32,
        flags: 0,
        rows,
        undo,
        mode: 0,
        reserved: 0,
    }
}

/// A stream with its block.
pub struct Live {
    pub block: Vec<Line>,
    pub stream: *mut titans_stream,
    pub model: titans_model,
}

impl Live {
    /// Of a model whose sizes are small.
    pub fn new(model: &titans_model, config: &titans_stream_config) -> Result<Self, i32> {
        let mut bytes = 0;
        // SAFETY: borrows.
        let status = unsafe { titans_stream_size(model, config, &mut bytes, null_mut()) };
        if status != 0 || bytes > 1 << 22 {
            return Err(status);
        }
        let mut block = vec![Line([0xA5; 64]); bytes / 64];
        let mut stream = null_mut();
        let at = block.as_mut_ptr().cast();
        // SAFETY: a buffer of that size, borrows.
        match unsafe { titans_stream_init(at, bytes, model, config, &mut stream, null_mut()) } {
            0 => Ok(Self { block, stream, model: *model }),
            status => Err(status),
        }
    }

    /// Feeds ids; status, outputs and surprise.
    pub fn push(&mut self, ids: &[u32], outputs: usize, memories: usize) -> (i32, Vec<f32>, Vec<f32>) {
        let (mut y, mut s) = (vec![7.0; ids.len() * outputs], vec![7.0; ids.len() * memories]);
        let (n, y_len, s_len) = (ids.len(), y.len(), s.len());
        // SAFETY: borrows with their lengths.
        let status = unsafe {
            let (y, s) = (y.as_mut_ptr(), s.as_mut_ptr());
            titans_stream_push(self.stream, &self.model, ids.as_ptr(), n, y, y_len, s, s_len, null_mut())
        };
        (status, y, s)
    }

    pub fn save(&mut self) -> Vec<u8> {
        let (mut size, mut written) = (0, 0);
        // SAFETY: borrows with their lengths.
        unsafe {
            assert_eq!(titans_stream_saved_size(&self.model, &mut size, null_mut()), TITANS_OK as i32);
            let mut bytes = vec![0; size];
            let at = bytes.as_mut_ptr().cast();
            let status = titans_stream_save(self.stream, &self.model, at, size, &mut written, null_mut());
            assert_eq!(status, TITANS_OK as i32);
            bytes.truncate(written);
            bytes
        }
    }

    pub fn load(&mut self, bytes: &[u8]) -> i32 {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: borrows with their lengths.
        unsafe { titans_stream_load(self.stream, &self.model, at, len, null_mut()) }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.block.iter().flat_map(|line| line.0).collect()
    }
}

/// Memories of the models: two a block with one.
pub fn memories(which: usize) -> usize {
    if KINDS[which % KINDS.len()] == Kind::Attention { 2 } else { 4 }
}
