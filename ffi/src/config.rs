//! `titans_memory_config`: what a memory is, as a versioned structure.

use crate::boundary;
use crate::choice::chosen;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::pointer::{arg, defaults, versioned};
use crate::status::titans_status::*;
use titans_kernel::Choice;
use titans_kernel::memory::{Activation, Loss, MAX_LAYERS, MemorySpec, Network, Read};

/// Most layers a memory's network may have.
pub const TITANS_MAX_LAYERS: usize = 4;
/// Most widths of a memory: those of its layers' inputs, and the last layer's output.
pub const TITANS_MAX_WIDTHS: usize = 5;
const _: () = assert!(TITANS_MAX_LAYERS == MAX_LAYERS && TITANS_MAX_WIDTHS == MAX_LAYERS + 1);

/// The function between the layers of the memory's network.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_activation {
    /// x times the logistic function of x.
    TITANS_ACTIVATION_SILU = 0,
    /// x times the normal distribution's probability below x.
    TITANS_ACTIVATION_GELU = 1,
    /// The tanh approximation of GELU.
    TITANS_ACTIVATION_GELU_TANH = 2,
    /// The larger of x and 0.
    TITANS_ACTIVATION_RELU = 3,
    /// x.
    TITANS_ACTIVATION_IDENTITY = 4,
}

/// The shape of the network's output.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_network {
    /// The last layer's output.
    TITANS_NETWORK_PLAIN = 0,
    /// x + LN(last layer) (1 + gamma): keeps memories of two layers and more finite. The first and the last width are
    /// equal, and gamma is learned like the weights.
    TITANS_NETWORK_RESIDUAL = 1,
}

/// The scale of the loss by which the memory learns.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_loss {
    /// The squared error.
    TITANS_LOSS_SUM = 0,
    /// Half the squared error.
    TITANS_LOSS_HALF = 1,
    /// The squared error divided by the value width.
    TITANS_LOSS_MEAN = 2,
}

/// Which weights answer the query of a token that is written in the same call.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_read_order {
    /// Those after the token's own write.
    TITANS_READ_AFTER = 0,
    /// Those before it.
    TITANS_READ_BEFORE = 1,
    /// Those at the start of the token's chunk.
    TITANS_READ_CHUNK_START = 2,
}

/// The configuration of a memory. Fill it with `titans_memory_config_init`, then change fields.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct titans_memory_config {
    /// sizeof(titans_memory_config), set by the init function.
    pub struct_size: u32,
    /// 0; reserved.
    pub flags: u32,
    /// Layers of the network, 1 to 4. One layer is the linear (matrix) memory.
    pub layers: u32,
    /// Key width, hidden widths, value width: `layers + 1` of them, each 1 to 1048576; the others are not read.
    pub widths: [u32; TITANS_MAX_WIDTHS],
    /// A `titans_activation`.
    pub activation: i32,
    /// A `titans_network`.
    pub network: i32,
    /// A `titans_loss`.
    pub loss: i32,
    /// A `titans_read_order`.
    pub read: i32,
    /// Tokens whose gradients are taken at the same weights, 1 to 1048576. 1: every token's gradient is its own, for
    /// memories of one layer; deeper ones want about 4.
    pub chunk: u32,
    /// Longest gradient of one token: longer ones are shortened to it and counted. 0: no limit. Memories of two layers
    /// and more want one, e.g. 1.
    pub clip: f32,
    /// Tokens that are computed at once, up to 1048576: the same numbers in another order of sums. Below `chunk`: a
    /// part of a chunk. A multiple of `chunk`: whole chunks, where the memory is one layer with plain output (others
    /// compute one chunk at once). Equal to `chunk`: a chunk; with a chunk of 1 every token is then written when it
    /// comes, and none waits. 0: as many whole chunks as there are in 64 tokens where the memory is one layer with
    /// plain output and `chunk` is below 64, else a chunk.
    pub compute_chunk: u32,
}

/// Bytes of the configuration of this ABI; no shorter one ever existed.
const SIZE: u32 = size_of::<titans_memory_config>() as u32;

/// The numbers of the header are the kernel's bytes, all of them.
const _: () = {
    use titans_activation::*;
    use titans_loss::*;
    use titans_network::*;
    use titans_read_order::*;
    assert!(TITANS_ACTIVATION_SILU as u8 == Activation::Silu as u8);
    assert!(TITANS_ACTIVATION_GELU as u8 == Activation::Gelu as u8);
    assert!(TITANS_ACTIVATION_GELU_TANH as u8 == Activation::GeluTanh as u8);
    assert!(TITANS_ACTIVATION_RELU as u8 == Activation::Relu as u8);
    assert!(TITANS_ACTIVATION_IDENTITY as u8 == Activation::Identity as u8);
    assert!(TITANS_NETWORK_PLAIN as u8 == Network::Plain as u8);
    assert!(TITANS_NETWORK_RESIDUAL as u8 == Network::Residual as u8);
    assert!(TITANS_LOSS_SUM as u8 == Loss::Sum as u8);
    assert!(TITANS_LOSS_HALF as u8 == Loss::Half as u8);
    assert!(TITANS_LOSS_MEAN as u8 == Loss::Mean as u8);
    assert!(TITANS_READ_AFTER as u8 == Read::After as u8);
    assert!(TITANS_READ_BEFORE as u8 == Read::Before as u8);
    assert!(TITANS_READ_CHUNK_START as u8 == Read::ChunkStart as u8);
    // A variant that the header lacks is an error here.
    assert!(Activation::ALL.len() == 5 && Network::ALL.len() == 2 && Loss::ALL.len() == 3 && Read::ALL.len() == 3);
};

impl titans_memory_config {
    /// A linear memory of 64 to 64, SiLU, half the squared error, reads after the write, chunk 1, no clip.
    const DEFAULT: Self = Self {
        struct_size: SIZE,
        flags: 0,
        layers: 1,
        widths: [64, 64, 0, 0, 0],
        activation: titans_activation::TITANS_ACTIVATION_SILU as i32,
        network: titans_network::TITANS_NETWORK_PLAIN as i32,
        loss: titans_loss::TITANS_LOSS_HALF as i32,
        read: titans_read_order::TITANS_READ_AFTER as i32,
        chunk: 1,
        clip: 0.0,
        compute_chunk: 0,
    };

    /// The caller's configuration in its one canonical form: the size of this ABI, unread widths 0.
    ///
    /// # Safety
    /// A pointer that is not NULL points to `struct_size` readable bytes.
    pub(crate) unsafe fn read(position: i32, config: *const Self) -> Outcome<Self> {
        // SAFETY: a structure of this kind by promise.
        let mut canonical = unsafe { versioned(arg(position, "config"), config) }?;
        canonical.struct_size = SIZE;
        if canonical.flags != 0 {
            return Err(Failure::sizes(TITANS_ERROR_FLAGS, position, "config.flags", 0, u64::from(canonical.flags)));
        }
        let used = (canonical.layers as usize).saturating_add(1).min(TITANS_MAX_WIDTHS);
        canonical.widths[used..].fill(0);
        if canonical.clip == 0.0 {
            canonical.clip = 0.0; // −0 means no clip too, and equal configurations have equal bits
        }
        Ok(canonical)
    }

    /// The memory this configuration describes.
    pub(crate) fn spec(&self, position: i32) -> Outcome<(MemorySpec, Read)> {
        let layers = self.layers as usize;
        if !(1..=TITANS_MAX_LAYERS).contains(&layers) {
            return Err(Failure::rule(position, "layers: 1 to 4", u64::from(self.layers)));
        }
        let widths = self.widths.map(|w| w as usize);
        let mut spec = MemorySpec::new(&widths[..=layers]).map_err(|e| Failure::config(position, e))?;
        spec.activation = chosen(position, self.activation)?;
        spec.network = chosen(position, self.network)?;
        spec.loss = chosen(position, self.loss)?;
        let read = chosen(position, self.read)?;
        spec.chunk = self.chunk as usize;
        spec.clip = if self.clip == 0.0 { None } else { Some(f64::from(self.clip)) };
        spec.compute_chunk = match self.compute_chunk {
            0 => spec.usual_compute_chunk(),
            n => n as usize,
        };
        spec.validate().map_err(|e| Failure::config(position, e))?;
        Ok((spec, read))
    }

    /// FNV-1a over the fields: tells two configurations apart.
    pub(crate) fn hash(&self) -> u64 {
        let fields = [self.struct_size, self.flags, self.layers]
            .into_iter()
            .chain(self.widths)
            .chain([self.activation, self.network, self.loss, self.read].map(|x| x as u32))
            .chain([self.chunk, self.clip.to_bits(), self.compute_chunk]);
        let bytes = fields.flat_map(u32::to_le_bytes);
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }
}

/// Fills a configuration with the defaults: a linear memory of 64 to 64, SiLU, plain output, half the squared error,
/// reads after the write, chunk 1 (computed in pieces of 64 tokens), no clip. It wants theta at most 1, eta at most 0.5
/// and keys of length 1 at most. A memory of two layers and more wants `chunk` 4, `clip` 1 and a theta of 0.1 at most.
/// Call it with `sizeof *config` and `TITANS_ABI_VERSION`.
///
/// Errors: `TITANS_ERROR_ABI_VERSION` when the header is of another ABI than the library, `TITANS_ERROR_STRUCT_SIZE`,
/// `TITANS_ERROR_NULL`, `TITANS_ERROR_MISALIGNED`.
///
/// # Safety
/// `config` points to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_memory_config_init(
    config: *mut titans_memory_config,
    struct_size: usize,
    abi_version: u32,
    info: *mut titans_error_info,
) -> i32 {
    let body = || {
        let default = titans_memory_config { struct_size: struct_size as u32, ..titans_memory_config::DEFAULT };
        // SAFETY: the caller promises `struct_size` writable bytes.
        unsafe { defaults(config, struct_size, abi_version, default) }
    };
    // SAFETY: `info` is as this function's documentation asks.
    unsafe { boundary::call(info, body) }
}
