//! What a model says about itself.

use crate::boundary;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::model::{Opened, borrow_model, titans_model};
use crate::pointer::{Arg, arg, fill};
use crate::status::titans_status::*;
use titans_kernel::Choice;
use titans_kernel::model::Kind;

/// What a model reads.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_input {
    /// Token ids (bytes of a text, for instance), each below `input_size`.
    TITANS_INPUT_TOKENS = 0,
    /// Rows of `input_size` numbers.
    TITANS_INPUT_ROWS = 1,
}

/// What a model says after each token.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_output {
    /// Logits, natural logarithms of odds: of the next token, or of classes.
    TITANS_OUTPUT_LOGITS = 0,
    /// Predicted numbers.
    TITANS_OUTPUT_NUMBERS = 1,
}

/// The kind of a block.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_block_kind {
    /// The memory alone.
    TITANS_BLOCK_LMM = 0,
    /// Memory as context: attention over a segment and what the memory recalls.
    TITANS_BLOCK_MAC = 1,
    /// Memory as gate: a memory and sliding-window attention side by side.
    TITANS_BLOCK_MAG = 2,
    /// Memory as layer: sliding-window attention over what the memory answers.
    TITANS_BLOCK_MAL = 3,
    /// Sliding-window attention, without a memory.
    TITANS_BLOCK_ATTENTION = 4,
}

/// The numbers of the header are the kernel's bytes, all of them.
const _: () = {
    use titans_block_kind::*;
    assert!(TITANS_BLOCK_LMM as u8 == Kind::Lmm as u8 && TITANS_BLOCK_MAC as u8 == Kind::Mac as u8);
    assert!(TITANS_BLOCK_MAG as u8 == Kind::Mag as u8 && TITANS_BLOCK_MAL as u8 == Kind::Mal as u8);
    assert!(TITANS_BLOCK_ATTENTION as u8 == Kind::Attention as u8 && Kind::ALL.len() == 5);
};

/// What a model is. Set `struct_size` to its sizeof and let `titans_model_describe` fill the rest.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_model_info {
    /// sizeof(titans_model_info), set by the caller.
    pub struct_size: u32,
    /// A `titans_input`.
    pub input: i32,
    /// Size of the vocabulary, or numbers in a row.
    pub input_size: u32,
    /// A `titans_output`.
    pub output: i32,
    /// Logits or numbers after each token.
    pub outputs: u32,
    /// Numbers in the rows between the blocks.
    pub width: u32,
    /// Blocks (layers of the model).
    pub blocks: u32,
    /// Memories of all blocks together: surprises after each token, block after block.
    pub memories: u32,
    /// Numbers in all parameters.
    pub parameters: u64,
    /// Names configuration and parameters: two models of one checksum are one model, but for an accident.
    pub checksum: u32,
    /// 0.
    pub reserved: u32,
}

/// What a block is. Set `struct_size` to its sizeof and let `titans_model_describe_block` fill the rest.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_block_info {
    /// sizeof(titans_block_info), set by the caller.
    pub struct_size: u32,
    /// A `titans_block_kind`.
    pub kind: i32,
    /// Memories of the block: so many of the surprises are its own. 0 without memory.
    pub memories: u32,
    /// The first of them among the model's.
    pub first_memory: u32,
    /// Width of a memory's keys, values and queries.
    pub head_width: u32,
    /// Layers of a memory's network, 1 to 4.
    pub layers: u32,
    /// Tokens whose gradients are taken at the same weights.
    pub chunk: u32,
    /// Tokens that a token sees by attention, itself among them; of MAC, those of a segment. 0 without attention.
    pub window: u32,
}

/// Answers a question about a model into a structure that begins with its size.
///
/// # Safety
/// Pointers are NULL or valid.
unsafe fn describe<T: Copy>(
    model: *const titans_model,
    out: (Arg, *mut T),
    info: *mut titans_error_info,
    question: impl FnOnce(&Opened<'_>) -> Outcome<T>,
) -> i32 {
    let body = || {
        // SAFETY: the caller promises the model.
        let opened = unsafe { borrow_model(arg(1, "model"), model) }?;
        let answer = question(&opened)?;
        // SAFETY: the caller promises the structure; both begin with their size.
        unsafe { fill(out.0, out.1, answer, &opened.addresses) }
    };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Fills `about` with what the model is.
///
/// Errors: `NULL`, `MISALIGNED`, `STRUCT_SIZE`, `OVERLAP`, those of a model (`UNINITIALISED`, `FOREIGN`,
/// `BLOCK_VERSION`, `CORRUPT`, `OTHER_MODEL` when the blob is not the one that was opened).
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_model_describe(
    model: *const titans_model,
    about: *mut titans_model_info,
    info: *mut titans_error_info,
) -> i32 {
    let question = |opened: &Opened<'_>| {
        let model = &opened.model;
        let spec = model.spec();
        Ok(titans_model_info {
            struct_size: size_of::<titans_model_info>() as u32,
            input: i32::from(spec.input.is_rows()),
            input_size: spec.input.size() as u32,
            output: i32::from(spec.head_bias),
            outputs: spec.outputs as u32,
            width: spec.width as u32,
            blocks: spec.blocks as u32,
            memories: u32::try_from(model.memories()).unwrap_or(u32::MAX),
            parameters: model.numbers().len() as u64,
            checksum: model.checksum(),
            reserved: 0,
        })
    };
    // SAFETY: the caller's promises are the same.
    unsafe { describe(model, (arg(2, "about"), about), info, question) }
}

/// Fills `about` with what the model's block number `block`, from 0, is.
///
/// Errors: as `titans_model_describe`; `LENGTH` when there is no such block.
///
/// # Safety
/// Pointers are NULL or valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_model_describe_block(
    model: *const titans_model,
    block: u32,
    about: *mut titans_block_info,
    info: *mut titans_error_info,
) -> i32 {
    let question = |opened: &Opened<'_>| {
        let (model, blocks) = (&opened.model, opened.model.spec().blocks);
        if block as usize >= blocks {
            let (expected, found) = (blocks as u64, u64::from(block));
            return Err(Failure::sizes(TITANS_ERROR_LENGTH, 2, "block (below)", expected, found));
        }
        let before =
            (0..block as usize).filter_map(|i| model.block(i).ok()).map(|block| block.memories()).sum::<usize>();
        let block = model.block(block as usize).map_err(Failure::internal)?;
        let window = match block.kind {
            Kind::Lmm => 0,
            Kind::Mac => block.segment,
            Kind::Mag | Kind::Mal | Kind::Attention => block.window,
        };
        Ok(titans_block_info {
            struct_size: size_of::<titans_block_info>() as u32,
            kind: i32::from(block.kind.code()),
            memories: block.memories() as u32,
            first_memory: before as u32,
            head_width: block.head_width as u32,
            layers: block.memory.layers() as u32,
            chunk: block.memory.chunk as u32,
            window: window as u32,
        })
    };
    // SAFETY: the caller's promises are the same.
    unsafe { describe(model, (arg(3, "about"), about), info, question) }
}
