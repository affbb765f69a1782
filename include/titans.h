/* libtitans: the Titans test-time memory (arXiv 2501.00663) and models around it.
 *
 * Generated from ffi/src by cbindgen; do not edit. docs/ABI.md says what is promised and how it may change.
 *
 * Two tiers. Without an operating system: a memory (titans_memory_*) and streams through whole models (titans_model_*,
 * titans_stream_*). They allocate nothing, print nothing, start no thread and hold no global state but which instructions
 * the processor has. With one: files, text and threads (titans_host_*, titans_text_*), which a library built for
 * firmware leaves out.
 *
 * A memory: fill a titans_memory_config, ask titans_memory_size, provide a buffer of that size aligned to
 * titans_memory_align(), and call titans_memory_init. Then titans_memory_write teaches it tokens (key, value, gates) and
 * answers queries, titans_memory_read only answers.
 *
 * A model: titans_model_open over the bytes that `titans export` wrote. A stream through it: fill a
 * titans_stream_config, ask titans_stream_size, provide a buffer, call titans_stream_init; then titans_stream_push or
 * titans_stream_step feed tokens, from which it learns, and say what it predicts.
 *
 * Errors. Functions that can fail return a titans_status as int32_t: 0, or a negative number; unless its text says
 * otherwise, nothing has changed after an error. Every function takes an optional titans_error_info last.
 *
 * Pointers. Every pointer is checked for NULL and alignment, every buffer comes with its length, which is checked too. A
 * pointer that is neither NULL nor valid for its length cannot be found out. What says that it is longer than half the address
 * space is TITANS_ERROR_TOO_LARGE.
 *
 * Overlap. Outputs may overlap neither each other nor an input nor the memory; inputs may overlap each other. This is checked, but
 * not for the titans_error_info: keep it apart from all other arguments, for it is written when a call ends.
 *
 * A memory is its bytes, and so is a stream. They hold no pointers: memcpy of the buffer to another one of the same size
 * and alignment, between calls, is a snapshot (titans_memory_attach and titans_stream_attach find what is in it). For
 * files and other machines there are titans_memory_save and titans_stream_save.
 *
 * Threads. Functions that take a const pointer to a memory or stream may run on it at the same time; all others need it for
 * themselves, and so does titans_memory_read, which works in the memory's scratch. Different memories and streams are
 * independent. A titans_model is read by any number of threads.
 *
 * Stack. A thread that makes calls needs 64 KiB of it; for those of titans_host_* and titans_text_* 128 KiB.
 */


#ifndef TITANS_H
#define TITANS_H

#include <stddef.h>
#include <stdint.h>

/* The tier with an operating system is declared, unless the program is for a library without it (-DTITANS_FREESTANDING). */
#if !defined(TITANS_FREESTANDING) && !defined(TITANS_HOST)
#define TITANS_HOST
#endif

/**
 * @name Upper bounds for static arrays
 * Constant expressions for arrays of unsigned char, aligned to 64, in which a block fits; the size functions say how much it is. All
 * arguments are integer constants; widths may be larger than they are, for a bound of several.
 *
 * `piece` is the larger of `chunk` and `compute_chunk` (64 where that is 0, with one layer and a smaller chunk).
 */
/**@{*/

/** Numbers that a memory keeps: `params` parameters, `inputs` the sum of its layers' input widths, `outputs` that of their output widths,
 * `gamma` the last width of residual networks (else 0), `sets` the layers with gates of their own (else 1). */
#define TITANS_MEMORY_STATE_NUMBERS(params, inputs, outputs, gamma, piece, sets)                                     \
    (3 * (size_t)(params) + (size_t)(piece) * ((size_t)(inputs) + (outputs) + (gamma) + (sets)) +                    \
     2 * (size_t)(sets) * (3 + 2 * (size_t)(piece)) + 2)

/** Numbers that it works in. */
#define TITANS_MEMORY_WORK_NUMBERS(params, inputs, outputs, gamma, piece, sets)                                      \
    ((size_t)(params) + (size_t)(outputs) +                                                                          \
     (size_t)(piece) * ((size_t)(inputs) + 4 * (size_t)(outputs) + 4 * (size_t)(gamma) + (size_t)(piece) + 196 +     \
                        2 * ((gamma) > 64 ? (size_t)(gamma) - 33 : 0)) +                                             \
     (size_t)(sets) * ((size_t)(piece) + 2) * (3 + 2 * (size_t)(piece)) +                                            \
     ((piece) == 1 ? 1104 + 2 * (size_t)(inputs) * ((outputs) < 64 ? (outputs) + 17 : 65) + 4 * ((size_t)(outputs) + (gamma)) : 0))

/** Bytes of the block of a memory of any layers. */
#define TITANS_MEMORY_BYTES(params, inputs, outputs, gamma, piece)                                                   \
    (320 + 4 * (TITANS_MEMORY_STATE_NUMBERS(params, inputs, outputs, gamma, piece, 1) +                              \
                TITANS_MEMORY_WORK_NUMBERS(params, inputs, outputs, gamma, piece, 1)))

/** Bytes of the block of a memory of one layer with plain output, key width and value width. */
#define TITANS_LINEAR_MEMORY_BYTES(key, value, piece)                                                                \
    TITANS_MEMORY_BYTES((size_t)(key) * (value), (key) + 16, (value) + 16, 0, piece)

/** Bytes of the block of a stream through a model of `blocks` blocks, `rows` and `undo` as configured, `input` the numbers of a row (1 for
 * token ids), `outputs` and `width` of the model, and of each block: `heads` memories of `head_width` with gates for `sets` layers,
 * `params` parameters, `state` and `work` as the two macros above say (`work` of a MAC: with a piece of 16 at least), `taps` of the convolutions, `persistent` tokens, `seen` tokens
 * that attention sees (a MAC: twice its segment; without attention 0), `feed_forward` hidden numbers. */
#define TITANS_STREAM_BYTES(rows, undo, input, outputs, width, blocks, heads, head_width, sets, params, state, work, taps,\
                            persistent, seen, feed_forward)                                                          \
    (320 + 4 * (((undo) > 0 ? 2 : 1) * (size_t)(blocks) *                                                            \
                    TITANS_BLOCK_STATE_NUMBERS(rows, heads, head_width, sets, params, state, taps, persistent, seen) +\
                TITANS_BLOCK_WORK_NUMBERS(rows, width, heads, head_width, sets, work, persistent, seen, feed_forward) +\
                2 * (size_t)(rows) * (width) + ((size_t)(undo) + 1) * (input) +                                      \
                (size_t)(rows) * (2 * (size_t)(outputs) + (size_t)(blocks) * (heads))))

/** Numbers that a block keeps. */
#define TITANS_BLOCK_STATE_NUMBERS(rows, heads, head_width, sets, params, state, taps, persistent, seen)             \
    ((size_t)(heads) * (3 * (size_t)(sets) + (state) + ((seen) > 0 ? (size_t)(params) : 0)) +                        \
     (size_t)(heads) * (head_width) *                                                                                \
         (((seen) > 0 ? 7 : 3) * (size_t)(taps) +                                                                    \
          ((seen) > 0 ? 2 * ((size_t)(persistent) + (seen) + (rows) + 16) : 0)))

/** Numbers that a block works in. */
#define TITANS_BLOCK_WORK_NUMBERS(rows, width, heads, head_width, sets, work, persistent, seen, feed_forward)        \
    ((size_t)(rows) * (5 * (size_t)(width) + 10 * (size_t)(heads) * (head_width) +                                   \
                       6 * (size_t)(heads) * (sets) + 1 + 3 * (size_t)(feed_forward)) +                              \
     (work) + ((seen) > 0 ? 32 * ((size_t)(seen) + 2 * (size_t)(rows) + (persistent) + 96) + 16 : 0))

/**@}*/


/**
 * Most layers a memory's network may have.
 */
#define TITANS_MAX_LAYERS 4

/**
 * Most widths of a memory: those of its layers' inputs, and the last layer's output.
 */
#define TITANS_MAX_WIDTHS 5

/**
 * Bytes of the text in a `titans_error_info`, its final zero included.
 */
#define TITANS_MESSAGE_BYTES 128

/**
 * Number of the binary interface this header describes: the number in the shared library's soname. It rises with
 * every change after which programs must be compiled again.
 */
#define TITANS_ABI_VERSION 1

/**
 * What a function returns: 0 is success, everything else is negative. The numbers never change and are never
 * used again for something else. Unless its text says otherwise, after an error nothing has changed: not the
 * memory, not one output.
 */
enum titans_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Success.
     */
    TITANS_OK = 0,
    /**
     * A pointer is NULL that must not be.
     */
    TITANS_ERROR_NULL = -10,
    /**
     * A `struct_size` is not the size of a structure this library knows, or unknown trailing fields are not zero.
     */
    TITANS_ERROR_STRUCT_SIZE = -11,
    /**
     * The length that came with a buffer is not the one this call needs.
     */
    TITANS_ERROR_LENGTH = -12,
    /**
     * A pointer is not aligned for its type, or a block not to `titans_memory_align()`.
     */
    TITANS_ERROR_MISALIGNED = -13,
    /**
     * An output overlaps another argument, or an argument overlaps the memory.
     */
    TITANS_ERROR_OVERLAP = -14,
    /**
     * An input holds NaN or infinity.
     */
    TITANS_ERROR_NOT_FINITE = -15,
    /**
     * A gate is out of range: alpha and eta lie in [0, 1], theta is at least 0.
     */
    TITANS_ERROR_GATE_RANGE = -16,
    /**
     * The program was compiled against the header of another ABI.
     */
    TITANS_ERROR_ABI_VERSION = -17,
    /**
     * A token id is not below the model's vocabulary.
     */
    TITANS_ERROR_TOKEN_RANGE = -18,
    /**
     * The model reads rows of numbers and was given token ids, or the other way round.
     */
    TITANS_ERROR_INPUT_KIND = -19,
    /**
     * A field of a configuration has a value that no memory can have.
     */
    TITANS_ERROR_CONFIG = -20,
    /**
     * A reserved flag is set.
     */
    TITANS_ERROR_FLAGS = -21,
    /**
     * The memory would be larger than the address space.
     */
    TITANS_ERROR_TOO_LARGE = -22,
    /**
     * The caller's buffer is smaller than the size function said.
     */
    TITANS_ERROR_BUFFER_TOO_SMALL = -30,
    /**
     * The block holds zeros: nothing was initialised in it.
     */
    TITANS_ERROR_UNINITIALISED = -40,
    /**
     * The block holds something else.
     */
    TITANS_ERROR_FOREIGN = -41,
    /**
     * The block was made by a library of another ABI.
     */
    TITANS_ERROR_BLOCK_VERSION = -42,
    /**
     * The head of the block contradicts itself: it was overwritten.
     */
    TITANS_ERROR_CORRUPT = -43,
    /**
     * An earlier call on this memory or stream did not come to its end (an internal error, or two calls at once). It
     * is lost; initialise it again.
     */
    TITANS_ERROR_POISONED = -44,
    /**
     * No token was written since the memory was initialised, reset or loaded.
     */
    TITANS_ERROR_NO_TOKEN = -45,
    /**
     * The stream belongs to another model, or the blob behind the model is not the one it was opened over.
     */
    TITANS_ERROR_OTHER_MODEL = -46,
    /**
     * The stream refused a token before and keeps nothing to go back to (`undo` 0). Reset it, or load a state.
     */
    TITANS_ERROR_TORN = -47,
    /**
     * The bytes are not a saved memory or stream.
     */
    TITANS_ERROR_SAVED_FOREIGN = -50,
    /**
     * The bytes were saved in a format this library cannot read.
     */
    TITANS_ERROR_SAVED_VERSION = -51,
    /**
     * The bytes are a saved memory of another configuration, or a stream of another model.
     */
    TITANS_ERROR_SAVED_CONFIG = -52,
    /**
     * The bytes are shorter or longer than what was saved.
     */
    TITANS_ERROR_SAVED_LENGTH = -53,
    /**
     * The bytes were changed after they were saved.
     */
    TITANS_ERROR_SAVED_CORRUPT = -54,
    /**
     * A token was refused because numbers would not stay finite: inputs far too large, or a memory that runs away.
     * The tokens of the call before it are written; the memory or stream is what it was after them.
     */
    TITANS_ERROR_DIVERGED = -60,
    /**
     * The stream is at the end of all positions, 2 to the power of 62.
     */
    TITANS_ERROR_END = -61,
    /**
     * The bytes are not an exported model.
     */
    TITANS_ERROR_MODEL_FOREIGN = -70,
    /**
     * The model was exported in a format this library cannot read.
     */
    TITANS_ERROR_MODEL_VERSION = -71,
    /**
     * The model has numbers of 64 bits; the library computes with 32.
     */
    TITANS_ERROR_MODEL_NUMBERS = -72,
    /**
     * The bytes are shorter or longer than the exported model.
     */
    TITANS_ERROR_MODEL_LENGTH = -73,
    /**
     * The bytes were changed after they were exported.
     */
    TITANS_ERROR_MODEL_CORRUPT = -74,
    /**
     * The bytes describe a model that cannot be, or that this processor cannot read where it lies.
     */
    TITANS_ERROR_MODEL_CONFIG = -75,
    /**
     * The model's own first numbers do not stay finite: initial weights or persistent rows of a memory.
     */
    TITANS_ERROR_MODEL_NOT_FINITE = -76,
    /**
     * The operating system refuses a file.
     */
    TITANS_ERROR_IO = -80,
    /**
     * The content of a file is not what it should be.
     */
    TITANS_ERROR_FILE = -81,
    /**
     * An argument cannot be used with this model or file.
     */
    TITANS_ERROR_USAGE = -82,
    /**
     * The system has no memory or no thread for it.
     */
    TITANS_ERROR_SYSTEM = -83,
    /**
     * A progress function said to stop. What was done is kept.
     */
    TITANS_ERROR_STOPPED = -84,
    /**
     * Another process is writing there.
     */
    TITANS_ERROR_HELD = -85,
    /**
     * A bug in the library, caught at its edge. The memory of the call is poisoned; other memories are not affected.
     */
    TITANS_ERROR_INTERNAL = -90,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_status titans_status;
#else
typedef int32_t titans_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The function between the layers of the memory's network.
 */
enum titans_activation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * x times the logistic function of x.
     */
    TITANS_ACTIVATION_SILU = 0,
    /**
     * x times the normal distribution's probability below x.
     */
    TITANS_ACTIVATION_GELU = 1,
    /**
     * The tanh approximation of GELU.
     */
    TITANS_ACTIVATION_GELU_TANH = 2,
    /**
     * The larger of x and 0.
     */
    TITANS_ACTIVATION_RELU = 3,
    /**
     * x.
     */
    TITANS_ACTIVATION_IDENTITY = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_activation titans_activation;
#else
typedef int32_t titans_activation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The shape of the network's output.
 */
enum titans_network
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The last layer's output.
     */
    TITANS_NETWORK_PLAIN = 0,
    /**
     * x + LN(last layer) (1 + gamma): keeps memories of two layers and more finite. The first and the last width are
     * equal, and gamma is learned like the weights.
     */
    TITANS_NETWORK_RESIDUAL = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_network titans_network;
#else
typedef int32_t titans_network;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The scale of the loss by which the memory learns.
 */
enum titans_loss
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The squared error.
     */
    TITANS_LOSS_SUM = 0,
    /**
     * Half the squared error.
     */
    TITANS_LOSS_HALF = 1,
    /**
     * The squared error divided by the value width.
     */
    TITANS_LOSS_MEAN = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_loss titans_loss;
#else
typedef int32_t titans_loss;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which weights answer the query of a token that is written in the same call.
 */
enum titans_read_order
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Those after the token's own write.
     */
    TITANS_READ_AFTER = 0,
    /**
     * Those before it.
     */
    TITANS_READ_BEFORE = 1,
    /**
     * Those at the start of the token's chunk.
     */
    TITANS_READ_CHUNK_START = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_read_order titans_read_order;
#else
typedef int32_t titans_read_order;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a model reads.
 */
enum titans_input
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Token ids (bytes of a text, for instance), each below `input_size`.
     */
    TITANS_INPUT_TOKENS = 0,
    /**
     * Rows of `input_size` numbers.
     */
    TITANS_INPUT_ROWS = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_input titans_input;
#else
typedef int32_t titans_input;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What a model says after each token.
 */
enum titans_output
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Logits, natural logarithms of odds: of the next token, or of classes.
     */
    TITANS_OUTPUT_LOGITS = 0,
    /**
     * Predicted numbers.
     */
    TITANS_OUTPUT_NUMBERS = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_output titans_output;
#else
typedef int32_t titans_output;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The kind of a block.
 */
enum titans_block_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The memory alone.
     */
    TITANS_BLOCK_LMM = 0,
    /**
     * Memory as context: attention over a segment and what the memory recalls.
     */
    TITANS_BLOCK_MAC = 1,
    /**
     * Memory as gate: a memory and sliding-window attention side by side.
     */
    TITANS_BLOCK_MAG = 2,
    /**
     * Memory as layer: sliding-window attention over what the memory answers.
     */
    TITANS_BLOCK_MAL = 3,
    /**
     * Sliding-window attention, without a memory.
     */
    TITANS_BLOCK_ATTENTION = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_block_kind titans_block_kind;
#else
typedef int32_t titans_block_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What the memories of a model do with its tokens.
 */
enum titans_mode
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * They write every token: the model learns as it reads.
     */
    TITANS_MODE_ON = 0,
    /**
     * They answer, and do not change: read only.
     */
    TITANS_MODE_FROZEN = 1,
    /**
     * They answer 0: what the model is without them. From the start to the end of a stream.
     */
    TITANS_MODE_ABSENT = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_mode titans_mode;
#else
typedef int32_t titans_mode;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

#if defined(TITANS_HOST)
/**
 * How much a line of the log matters.
 */
enum titans_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
#if defined(TITANS_HOST)
    /**
     * What was done.
     */
    TITANS_LOG_INFO = 0,
#endif
#if defined(TITANS_HOST)
    /**
     * What may not be what you meant.
     */
    TITANS_LOG_WARNING = 1,
#endif
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum titans_log_level titans_log_level;
#else
typedef int32_t titans_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus
#endif

#if defined(TITANS_HOST)
/**
 * A model that the library owns: `titans_host_open` makes one, `titans_host_close` gives it back. Any number of
 * threads may read it.
 */
typedef struct titans_host_model titans_host_model;
#endif

/**
 * A memory in a caller's block. Only pointers to it exist; its contents belong to the library.
 */
typedef struct titans_memory titans_memory;

/**
 * A stream in a caller's block. Only pointers to it exist; its contents belong to the library.
 */
typedef struct titans_stream titans_stream;

#if defined(TITANS_HOST)
/**
 * A text that a model reads: `titans_text_open` makes one, `titans_text_close` gives it back. One thread at a time;
 * different ones are independent, of one model too.
 */
typedef struct titans_text titans_text;
#endif

/**
 * The configuration of a memory. Fill it with `titans_memory_config_init`, then change fields.
 */
typedef struct titans_memory_config {
    /**
     * sizeof(titans_memory_config), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 0; reserved.
     */
    uint32_t flags;
    /**
     * Layers of the network, 1 to 4. One layer is the linear (matrix) memory.
     */
    uint32_t layers;
    /**
     * Key width, hidden widths, value width: `layers + 1` of them, each 1 to 1048576; the others are not read.
     */
    uint32_t widths[TITANS_MAX_WIDTHS];
    /**
     * A `titans_activation`.
     */
    int32_t activation;
    /**
     * A `titans_network`.
     */
    int32_t network;
    /**
     * A `titans_loss`.
     */
    int32_t loss;
    /**
     * A `titans_read_order`.
     */
    int32_t read;
    /**
     * Tokens whose gradients are taken at the same weights, 1 to 1048576. 1: every token's gradient is its own, for
     * memories of one layer; deeper ones want about 4.
     */
    uint32_t chunk;
    /**
     * Longest gradient of one token: longer ones are shortened to it and counted. 0: no limit. Memories of two layers
     * and more want one, e.g. 1.
     */
    float clip;
    /**
     * Tokens that are computed at once, up to 1048576: the same numbers in another order of sums. Below `chunk`: a
     * part of a chunk. A multiple of `chunk`: whole chunks, where the memory is one layer with plain output (others
     * compute one chunk at once). Equal to `chunk`: a chunk; with a chunk of 1 every token is then written when it
     * comes, and none waits. 0: as many whole chunks as there are in 64 tokens where the memory is one layer with
     * plain output and `chunk` is below 64, else a chunk.
     */
    uint32_t compute_chunk;
} titans_memory_config;

/**
 * Details of a failure. Set `struct_size` to its sizeof and pass it to any function, or pass NULL. After the call
 * `code` repeats the status that the function returned; the other fields are cleared when that is `TITANS_OK`. It lies
 * apart from all other arguments, blocks too: that is not checked, and what it covers is overwritten when the call
 * ends.
 */
typedef struct titans_error_info {
    /**
     * sizeof(titans_error_info), set by the caller.
     */
    uint32_t struct_size;
    /**
     * The status.
     */
    int32_t code;
    /**
     * Position of the argument at fault, counted from 1; 0 when it is none in particular.
     */
    int32_t arg;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * What the call needed, where that is a number.
     */
    uint64_t expected;
    /**
     * What it found; for values that are not finite or out of range: the index of the first one.
     */
    uint64_t found;
    /**
     * The argument or field by name, what is wrong and what to do, in ASCII, ended by a zero.
     */
    char message[TITANS_MESSAGE_BYTES];
} titans_error_info;

/**
 * A model over exported bytes, as `titans_model_open` fills it: an address, a length and what tells them from others.
 * It lives where you put it, needs no destruction, and may be copied; its contents belong to the library.
 */
typedef struct titans_model {
    /**
     * The library's own.
     */
    uint64_t opaque[6];
} titans_model;

/**
 * What a model is. Set `struct_size` to its sizeof and let `titans_model_describe` fill the rest.
 */
typedef struct titans_model_info {
    /**
     * sizeof(titans_model_info), set by the caller.
     */
    uint32_t struct_size;
    /**
     * A `titans_input`.
     */
    int32_t input;
    /**
     * Size of the vocabulary, or numbers in a row.
     */
    uint32_t input_size;
    /**
     * A `titans_output`.
     */
    int32_t output;
    /**
     * Logits or numbers after each token.
     */
    uint32_t outputs;
    /**
     * Numbers in the rows between the blocks.
     */
    uint32_t width;
    /**
     * Blocks (layers of the model).
     */
    uint32_t blocks;
    /**
     * Memories of all blocks together: surprises after each token, block after block.
     */
    uint32_t memories;
    /**
     * Numbers in all parameters.
     */
    uint64_t parameters;
    /**
     * Names configuration and parameters: two models of one checksum are one model, but for an accident.
     */
    uint32_t checksum;
    /**
     * 0.
     */
    uint32_t reserved;
} titans_model_info;

/**
 * What a block is. Set `struct_size` to its sizeof and let `titans_model_describe_block` fill the rest.
 */
typedef struct titans_block_info {
    /**
     * sizeof(titans_block_info), set by the caller.
     */
    uint32_t struct_size;
    /**
     * A `titans_block_kind`.
     */
    int32_t kind;
    /**
     * Memories of the block: so many of the surprises are its own. 0 without memory.
     */
    uint32_t memories;
    /**
     * The first of them among the model's.
     */
    uint32_t first_memory;
    /**
     * Width of a memory's keys, values and queries.
     */
    uint32_t head_width;
    /**
     * Layers of a memory's network, 1 to 4.
     */
    uint32_t layers;
    /**
     * Tokens whose gradients are taken at the same weights.
     */
    uint32_t chunk;
    /**
     * Tokens that a token sees by attention, itself among them; of MAC, those of a segment. 0 without attention.
     */
    uint32_t window;
} titans_block_info;

#if defined(TITANS_HOST)
/**
 * Is told a line, without a line break, that ends in a zero and lives during the call. It comes in the thread of the
 * call that it is about, must not call this library with the same handle, and no C++ exception may leave it.
 */
typedef void (*titans_log_fn)(void *user, int32_t level, const char *line);
#endif

#if defined(TITANS_HOST)
/**
 * How a model is opened. Fill it with `titans_host_options_init`, then change fields.
 */
typedef struct titans_host_options {
    /**
     * sizeof(titans_host_options), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 0; reserved.
     */
    uint32_t flags;
    /**
     * Threads that may work while a checkpoint is read, 1 to 256. They end with the call.
     */
    uint32_t threads;
    /**
     * 0; reserved.
     */
    uint32_t reserved;
    /**
     * Of a run folder: "best", "latest" or a checkpoint's file; NULL for the best one, the latest while nothing was
     * validated.
     */
    const char *checkpoint;
    /**
     * The vocabulary's file, `tokenizer.json` or `vocab.json`; NULL for where it was in training, of a blob for bytes.
     */
    const char *tokenizer;
    /**
     * Is told what is opened; NULL for nobody.
     */
    titans_log_fn log;
    /**
     * For `log`.
     */
    void *user;
} titans_host_options;
#endif

#if defined(TITANS_HOST)
/**
 * Is told how many of how many tokens are done; returns 0 to go on, anything else to stop. As `titans_log_fn`.
 */
typedef int32_t (*titans_progress_fn)(void *user, uint64_t done, uint64_t total);
#endif

#if defined(TITANS_HOST)
/**
 * How a text is read and written. Fill it with `titans_text_config_init`, then change fields.
 */
typedef struct titans_text_config {
    /**
     * sizeof(titans_text_config), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 0; reserved.
     */
    uint32_t flags;
    /**
     * A `titans_mode`.
     */
    int32_t mode;
    /**
     * 0; reserved.
     */
    uint32_t reserved;
    /**
     * Seed of the draws.
     */
    uint64_t seed;
    /**
     * 0 takes the likeliest token, 1 the model's own odds, more is wilder.
     */
    double temperature;
    /**
     * Draws among the likeliest tokens that together have this probability, above 0 up to 1.
     */
    double top_p;
    /**
     * Is told how far a long call is, and may stop it; NULL for nobody.
     */
    titans_progress_fn progress;
    /**
     * For `progress`.
     */
    void *user;
} titans_text_config;
#endif

#if defined(TITANS_HOST)
/**
 * What a call returns of a text that was read. Set `struct_size` to its sizeof.
 */
typedef struct titans_text_read {
    /**
     * sizeof(titans_text_read), set by the caller.
     */
    uint32_t struct_size;
    /**
     * 0.
     */
    uint32_t reserved;
    /**
     * Tokens that are in.
     */
    uint64_t tokens;
    /**
     * Bytes of them.
     */
    uint64_t bytes;
    /**
     * Tokens among them that were predicted: all but a stream's very first.
     */
    uint64_t predicted;
    /**
     * Bytes of those.
     */
    uint64_t predicted_bytes;
    /**
     * What those cost, in nats, all together. Divided by ln 2 and by `predicted_bytes`: bits a byte.
     */
    double nats;
} titans_text_read;
#endif

#if defined(TITANS_HOST)
/**
 * Is given bytes that were written, which may end within a character; returns 0 to go on, anything else to stop. As
 * `titans_log_fn`.
 */
typedef int32_t (*titans_bytes_fn)(void *user, const uint8_t *bytes, size_t len);
#endif

/**
 * The configuration of a stream. Fill it with `titans_stream_config_init`, then change fields.
 */
typedef struct titans_stream_config {
    /**
     * sizeof(titans_stream_config), set by the init function.
     */
    uint32_t struct_size;
    /**
     * 0; reserved.
     */
    uint32_t flags;
    /**
     * Tokens that go through the model at once, 1 to 1048576; longer pushes are cut. Any number gives the same bits;
     * more are faster in long pushes and need more working space. 1 is the smallest, for tokens that come one by one.
     */
    uint32_t rows;
    /**
     * The stream goes back to its last good token when one is refused: with a copy of its state, and the tokens since,
     * of which it keeps so many, 1 to 1048576. The copy is made anew after as many tokens: more cost less time and
     * more bytes. 0: no copy; a token that is refused then ends the stream, which must be reset or loaded
     * (`TITANS_ERROR_TORN`).
     */
    uint32_t undo;
    /**
     * A `titans_mode`.
     */
    int32_t mode;
    /**
     * 0; reserved.
     */
    uint32_t reserved;
} titans_stream_config;

/**
 * Where a stream stands. Set `struct_size` to its sizeof and let `titans_stream_describe` fill the rest.
 */
typedef struct titans_stream_info {
    /**
     * sizeof(titans_stream_info), set by the caller.
     */
    uint32_t struct_size;
    /**
     * A `titans_mode`.
     */
    int32_t mode;
    /**
     * Tokens taken since the start, across save and load.
     */
    uint64_t position;
    /**
     * Gradients that were longer than the model's clip and were shortened, over all memories, across save and load.
     */
    uint64_t clipped;
    /**
     * Tokens that were refused since the stream was made or begun anew.
     */
    uint64_t refused;
    /**
     * Bytes of the block.
     */
    uint64_t bytes;
    /**
     * Rows and undo of the configuration.
     */
    uint32_t rows;
    /**
     * See `titans_stream_config`.
     */
    uint32_t undo;
    /**
     * 1 when a token was refused without an undo: the stream must be reset or loaded.
     */
    uint32_t torn;
    /**
     * The checksum of its model.
     */
    uint32_t checksum;
} titans_stream_info;

/**
 * `n` tokens. Set `struct_size` to its sizeof and everything you do not use to zero (in C: `= {0}`). Matrices are
 * row-major, one row a token; lengths count elements.
 */
typedef struct titans_tokens {
    /**
     * sizeof(titans_tokens).
     */
    uint32_t struct_size;
    /**
     * 0; reserved.
     */
    uint32_t flags;
    /**
     * Number of tokens.
     */
    size_t n;
    /**
     * Keys [n, key width]; normalise them to length 1 unless you have a reason.
     */
    const float *k;
    /**
     * n times the key width.
     */
    size_t k_len;
    /**
     * Values [n, value width].
     */
    const float *v;
    /**
     * n times the value width.
     */
    size_t v_len;
    /**
     * Queries [n, key width]; NULL with length 0 when no `y` is asked for.
     */
    const float *q;
    /**
     * n times the key width, or 0.
     */
    size_t q_len;
    /**
     * How much is forgotten, in [0, 1].
     */
    const float *alpha;
    /**
     * n, or 1 for one value that holds for all tokens.
     */
    size_t alpha_len;
    /**
     * How fast is learned, at least 0.
     */
    const float *theta;
    /**
     * n, or 1.
     */
    size_t theta_len;
    /**
     * How much of the last surprise carries on (momentum), in [0, 1].
     */
    const float *eta;
    /**
     * n, or 1.
     */
    size_t eta_len;
    /**
     * Tokens whose entry is not 0 are answered but not written; NULL with length 0: all are written.
     */
    const uint32_t *mask;
    /**
     * n, or 0.
     */
    size_t mask_len;
} titans_tokens;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Fills a configuration with the defaults: a linear memory of 64 to 64, SiLU, plain output, half the squared error,
 * reads after the write, chunk 1 (computed in pieces of 64 tokens), no clip. It wants theta at most 1, eta at most 0.5
 * and keys of length 1 at most. A memory of two layers and more wants `chunk` 4, `clip` 1 and a theta of 0.1 at most.
 * Call it with `sizeof *config` and `TITANS_ABI_VERSION`.
 *
 * Errors: `TITANS_ERROR_ABI_VERSION` when the header is of another ABI than the library, `TITANS_ERROR_STRUCT_SIZE`,
 * `TITANS_ERROR_NULL`, `TITANS_ERROR_MISALIGNED`.
 *
 * # Safety
 * `config` points to `struct_size` writable bytes.
 */
int32_t titans_memory_config_init(struct titans_memory_config *config,
                                  size_t struct_size,
                                  uint32_t abi_version,
                                  struct titans_error_info *info);

/**
 * Fills `about` with what the model is.
 *
 * Errors: `NULL`, `MISALIGNED`, `STRUCT_SIZE`, `OVERLAP`, those of a model (`UNINITIALISED`, `FOREIGN`,
 * `BLOCK_VERSION`, `CORRUPT`, `OTHER_MODEL` when the blob is not the one that was opened).
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_model_describe(const struct titans_model *model,
                              struct titans_model_info *about,
                              struct titans_error_info *info);

/**
 * Fills `about` with what the model's block number `block`, from 0, is.
 *
 * Errors: as `titans_model_describe`; `LENGTH` when there is no such block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_model_describe_block(const struct titans_model *model,
                                    uint32_t block,
                                    struct titans_block_info *about,
                                    struct titans_error_info *info);

#if defined(TITANS_HOST)
/**
 * The whole sentence of the last failure of a function of this tier in this thread; "" before the first. The details
 * structure has room for its beginning only. It lives until the thread's next failure.
 */
const char *titans_host_error(void);
#endif

#if defined(TITANS_HOST)
/**
 * Opens a model by its path: a run folder of `titans train`, a checkpoint, or a blob of `titans export`. `options` may
 * be NULL.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `STRUCT_SIZE`, `FLAGS`, `CONFIG`; `IO` when the system refuses, `FILE` when
 * the content is not what it should be, `USAGE` for an empty path and a checkpoint that is asked of a file, `SYSTEM`
 * without memory or threads. `*model` is not written then.
 *
 * # Safety
 * Pointers are NULL or valid; texts end in a zero.
 */
int32_t titans_host_open(const char *from,
                         const struct titans_host_options *options,
                         struct titans_host_model **model,
                         struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Gives a model back. Readers of texts that were made from it go on; a `titans_model` that `titans_host_view` filled
 * does not. NULL is fine.
 *
 * # Safety
 * A pointer that is not NULL is a model that was opened and not closed, and no other call uses it.
 */
void titans_host_close(struct titans_host_model *model);
#endif

#if defined(TITANS_HOST)
/**
 * Fills `view` with the model for the functions of streams, as `titans_model_open` does; it holds until
 * `titans_host_close`.
 *
 * Errors: `FOREIGN`, `POISONED`, those of `titans_model_open`.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_host_view(const struct titans_host_model *model,
                         struct titans_model *view,
                         size_t view_size,
                         uint32_t abi_version,
                         struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Writes the model as a blob, as `titans export` does: for microcontrollers, or to map. The file is the old one or the
 * whole new one.
 *
 * Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `IO`, `USAGE` for an empty path.
 *
 * # Safety
 * Pointers are NULL or valid; texts end in a zero.
 */
int32_t titans_host_save_blob(const struct titans_host_model *model, const char *to, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Fills options with the defaults: one thread, the best checkpoint, the vocabulary of training, no log. Call it with
 * `sizeof *options` and `TITANS_ABI_VERSION`.
 *
 * Errors: `ABI_VERSION`, `STRUCT_SIZE`, `NULL`, `MISALIGNED`.
 *
 * # Safety
 * `options` points to `struct_size` writable bytes.
 */
int32_t titans_host_options_init(struct titans_host_options *options,
                                 size_t struct_size,
                                 uint32_t abi_version,
                                 struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Fills a configuration with the defaults: memories that learn, seed 0, temperature 0.8, top_p 0.95, no progress. Call
 * it with `sizeof *config` and `TITANS_ABI_VERSION`.
 *
 * Errors: `ABI_VERSION`, `STRUCT_SIZE`, `NULL`, `MISALIGNED`.
 *
 * # Safety
 * `config` points to `struct_size` writable bytes.
 */
int32_t titans_text_config_init(struct titans_text_config *config,
                                size_t struct_size,
                                uint32_t abi_version,
                                struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Makes a second text that stands where this one stands; both go on independently.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`. `*other` is not written then.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_text_fork(const struct titans_text *text, struct titans_text **other, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Begins anew, before the first byte.
 *
 * Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `DIVERGED` when the model's own first numbers do not stay
 * finite.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_text_reset(struct titans_text *text, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * With `read_only` 1 the memories answer and do not change from the next token on; with 0 they learn.
 *
 * Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`; `CONFIG` for other numbers, and for memories that are absent.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_text_read_only(struct titans_text *text, int32_t read_only, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Tokens read since the start, across save and load.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_text_position(const struct titans_text *text, uint64_t *value, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Writes where the text stands to a file, the old one or the whole new one, as `titans stream --state` does, which
 * goes on from it.
 *
 * Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `IO`, `USAGE` for an empty path.
 *
 * # Safety
 * Pointers are NULL or valid; texts end in a zero.
 */
int32_t titans_text_save(struct titans_text *text, const char *to, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Goes on from a file that `titans_text_save` or `titans stream --state` wrote, with the same model.
 *
 * Errors: `NULL`, `MISALIGNED`, `FOREIGN`, `POISONED`, `IO`, `USAGE` for an empty path; `SAVED_CORRUPT` for bytes that
 * are no state of this model, or damaged. The text is as before then.
 *
 * # Safety
 * Pointers are NULL or valid; texts end in a zero.
 */
int32_t titans_text_load(struct titans_text *text, const char *from, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Begins to read a text with a model. `config` may be NULL.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`, `STRUCT_SIZE`, `FLAGS`, `CONFIG`; `USAGE` for a
 * model that does not read text, or with another vocabulary, `SYSTEM` without memory. `*text` is not written then.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_text_open(const struct titans_host_model *model,
                         const struct titans_text_config *config,
                         struct titans_text **text,
                         struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Gives a text back. NULL is fine.
 *
 * # Safety
 * A pointer that is not NULL is a text that was opened and not closed, and no other call uses it.
 */
void titans_text_close(struct titans_text *text);
#endif

#if defined(TITANS_HOST)
/**
 * Reads `len` bytes, and learns from them. They are tokens for themselves: with a vocabulary of words, a word that is
 * cut between two calls becomes other tokens. `read` may be NULL; it is written after errors too, where anything was
 * read.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, `FOREIGN`, `POISONED`, `STRUCT_SIZE`; `DIVERGED` for a token
 * that would not leave the numbers finite (`info->found` is its number in this call; the tokens before it are in, and
 * the text goes on from there), `STOPPED` by `progress` (what was read is in), `FILE` when the vocabulary cannot write
 * the bytes.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_text_feed(struct titans_text *text,
                         const void *bytes,
                         size_t len,
                         struct titans_text_read *read,
                         struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Ids of the vocabulary: the length of what `titans_text_next` writes.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_text_vocabulary(const struct titans_text *text, size_t *count, struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Writes the bytes that token `id` stands for to `bytes`, `capacity` of at least their number, and that number to
 * `*len`. NULL with capacity 0 asks for the number alone.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`, `TOKEN_RANGE`, `BUFFER_TOO_SMALL`.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_text_token(const struct titans_text *text,
                          uint32_t id,
                          uint8_t *bytes,
                          size_t capacity,
                          size_t *len,
                          struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Writes the probability of every token that may come next to `probabilities`, `len` = `titans_text_vocabulary`
 * numbers; before the first token all are alike.
 *
 * Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `FOREIGN`, `POISONED`.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_text_next(const struct titans_text *text,
                         double *probabilities,
                         size_t len,
                         struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Writes up to `tokens` tokens that go on from here; `each` is given the bytes of every one, and may stop it. With
 * `keep` 1 the model reads what it writes, as any text; with 0 the text stays where it is, and the same call writes
 * the same. Before the first token the text begins with a line break. `*written` (may be NULL) is how many tokens
 * there were, after errors on the way too.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `CONFIG` for another `keep`, `FOREIGN`, `POISONED`; `DIVERGED` for a token
 * that would not leave the numbers finite (what came before it was written, and read with `keep` 1), `STOPPED` by
 * `progress`, `SYSTEM` without memory.
 *
 * # Safety
 * Pointers are NULL or valid; `each` and its `user` are the caller's.
 */
int32_t titans_text_write(struct titans_text *text,
                          size_t tokens,
                          int32_t keep,
                          titans_bytes_fn each,
                          void *user,
                          size_t *written,
                          struct titans_error_info *info);
#endif

#if defined(TITANS_HOST)
/**
 * Reads `count` texts at once, each its own bytes as `titans_text_feed` does, on `threads` threads (1 to 256; this one
 * is one of them), which end with the call. `reads` (may be NULL) are as many structures, all of one `struct_size`.
 * All texts are read, whatever happens to one of them. `progress` of a text is called in the thread that reads it.
 *
 * Errors: `NULL`, `MISALIGNED`, `STRUCT_SIZE`, `CONFIG` for other threads, `TOO_LARGE`, `FOREIGN`, `POISONED`,
 * `OVERLAP`, of a text that is there twice too: nothing was read. Else that of the first text that failed;
 * `info->found` is then its token's number if that was refused, and `info->arg` 1.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_text_feed_all(struct titans_text *const *texts,
                             const void *const *bytes,
                             const size_t *lens,
                             size_t count,
                             uint32_t threads,
                             struct titans_text_read *reads,
                             struct titans_error_info *info);
#endif

/**
 * Makes a memory in `buffer`: `buffer_bytes` of at least `titans_memory_size`, aligned to `titans_memory_align()`.
 *
 * `w0` holds the initial weights, `w0_len` = `titans_memory_parameters` numbers: layer after layer, each row-major
 * [inputs, outputs], then gamma of residual networks. NULL with length 0 means zeros, for memories of one layer only:
 * from zeros, deeper ones never learn. The weights are copied. `*memory` is set to the memory, which lies at the
 * buffer's address and needs no destruction: free or reuse the buffer when you like.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `LENGTH`, `NOT_FINITE`, `OVERLAP`, `TOO_LARGE`, those of a
 * configuration. The buffer is not touched then.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_init(void *buffer,
                           size_t buffer_bytes,
                           const struct titans_memory_config *config,
                           const float *w0,
                           size_t w0_len,
                           struct titans_memory **memory,
                           struct titans_error_info *info);

/**
 * Finds the memory in a buffer that holds the bytes of one: a block that was copied with memcpy, sent or mapped. The
 * copy is a memory of its own. Bytes of untrusted origin do not belong here: use `titans_memory_load` for those.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a block (`UNINITIALISED`, `FOREIGN`,
 * `BLOCK_VERSION`, `CORRUPT`, `POISONED`).
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_attach(void *buffer,
                             size_t buffer_bytes,
                             struct titans_memory **memory,
                             struct titans_error_info *info);

/**
 * Starts a memory anew from `w0` (as in `titans_memory_init`): no momentum, position 0, counters 0.
 *
 * Errors: `NULL`, `LENGTH`, `MISALIGNED`, `NOT_FINITE`, `OVERLAP`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_reset(struct titans_memory *memory,
                            const float *w0,
                            size_t w0_len,
                            struct titans_error_info *info);

/**
 * Opens an exported model: `blob` holds the `blob_bytes` bytes of a file that `titans export` wrote, in memory,
 * mapped, or in flash, at an address divisible by 4 (by 64 is best). All of it is checked here, its checksum too.
 * Nothing is copied: the blob must stay as it is for as long as the model is used. Fill `model_size` with
 * sizeof(titans_model) and `abi_version` with `TITANS_ABI_VERSION`.
 *
 * Any number of streams may use the model, from any number of threads: nobody writes it. It needs no destruction.
 *
 * Errors: `NULL`, `STRUCT_SIZE`, `ABI_VERSION`, `MISALIGNED`, `OVERLAP`, `MODEL_FOREIGN`, `MODEL_VERSION`,
 * `MODEL_NUMBERS`, `MODEL_LENGTH`, `MODEL_CORRUPT`, `MODEL_CONFIG`, `TOO_LARGE` for a blob that no address space
 * holds. The structure is not touched then.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_model_open(struct titans_model *model,
                          size_t model_size,
                          uint32_t abi_version,
                          const void *blob,
                          size_t blob_bytes,
                          struct titans_error_info *info);

/**
 * Alignment in bytes that a memory's buffer needs: 64.
 */
size_t titans_memory_align(void);

/**
 * Bytes of the buffer for a memory of this configuration, all its working space included: no call needs more.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_size(const struct titans_memory_config *config, size_t *bytes, struct titans_error_info *info);

/**
 * Bytes that `titans_memory_save` writes for a memory of this configuration, at any time.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_saved_size(const struct titans_memory_config *config,
                                 size_t *bytes,
                                 struct titans_error_info *info);

/**
 * Numbers that a memory of this configuration learns: the length of `w0`.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_parameters(const struct titans_memory_config *config,
                                 size_t *count,
                                 struct titans_error_info *info);

/**
 * Tokens the memory has seen since it was initialised or reset, across save and load.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_position(const struct titans_memory *memory, uint64_t *value, struct titans_error_info *info);

/**
 * Tokens whose gradient was longer than the configuration's `clip` and was shortened.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_clipped(const struct titans_memory *memory, uint64_t *value, struct titans_error_info *info);

/**
 * The surprise of the last token given to the memory, the configuration's loss: half the squared distance, by default,
 * between what it expected for the token's key and the token's value.
 *
 * Errors: `NO_TOKEN` when there was none since the memory was initialised, reset or loaded; `NULL`, `MISALIGNED`,
 * `OVERLAP`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_surprise(const struct titans_memory *memory, float *value, struct titans_error_info *info);

/**
 * What the memory has learned after its last token, the unfinished chunk included: the weights in the layout of `w0`,
 * then their momentum in the same layout. `len` is twice `titans_memory_parameters`.
 *
 * Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_weights(struct titans_memory *memory, float *weights, size_t len, struct titans_error_info *info);

/**
 * Writes the memory to `bytes`, `len` of at least `titans_memory_saved_size`; `*written` is how many were used. The
 * bytes hold the configuration, all numbers, the unfinished chunk and a checksum, little-endian: a memory that loads
 * them, on any machine, goes on with the bits this one would have given.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_save(struct titans_memory *memory,
                           void *bytes,
                           size_t len,
                           size_t *written,
                           struct titans_error_info *info);

/**
 * Replaces what the memory holds by what was saved, `len` bytes, from a memory of the same configuration. The bytes
 * may come from anywhere: they are checked in full first.
 *
 * Errors: `SAVED_FOREIGN`, `SAVED_VERSION`, `SAVED_CONFIG`, `SAVED_LENGTH`, `SAVED_CORRUPT`; `NULL`, `OVERLAP`,
 * `TOO_LARGE`, those of a block. The memory is as before then.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_load(struct titans_memory *memory, const void *bytes, size_t len, struct titans_error_info *info);

/**
 * The name of a status, e.g. "TITANS_ERROR_NULL"; "TITANS_UNKNOWN" for other numbers. Static: never free it.
 */
const char *titans_status_name(int32_t status);

/**
 * One sentence about a status: what is wrong and what to do. Static: never free it.
 */
const char *titans_status_message(int32_t status);

/**
 * Fills a configuration with the defaults: 64 rows, 64 tokens of undo, memories that learn. Call it with `sizeof
 * *config` and `TITANS_ABI_VERSION`. On a microcontroller, `rows` 1 and `undo` 0 are the least.
 *
 * Errors: `TITANS_ERROR_ABI_VERSION` when the header is of another ABI than the library, `TITANS_ERROR_STRUCT_SIZE`,
 * `TITANS_ERROR_NULL`, `TITANS_ERROR_MISALIGNED`.
 *
 * # Safety
 * `config` points to `struct_size` writable bytes.
 */
int32_t titans_stream_config_init(struct titans_stream_config *config,
                                  size_t struct_size,
                                  uint32_t abi_version,
                                  struct titans_error_info *info);

/**
 * Feeds `n` token ids, each below the vocabulary's size. How tokens are cut into calls does not matter: the results
 * have the same bits.
 *
 * `outputs` receives what the model says after each token, [n, outputs] (`titans_model_info`): logits or predicted
 * numbers. `surprise` receives the loss of each memory at each token, [n, memories]: how wrong it was about the
 * token's value, by its own measure, before it learned it; 0 where memories are absent. Either may be NULL with length
 * 0.
 *
 * Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, `TOKEN_RANGE` (`found` is its number in this call),
 * `INPUT_KIND`, `TORN`, `END`, those of a stream (`UNINITIALISED`, `FOREIGN`, `BLOCK_VERSION`, `CORRUPT`, `POISONED`,
 * `OTHER_MODEL`) and of a model. Nothing has changed then. `DIVERGED`: a token was refused whose write, or what the
 * model says after it, would not be finite; `info->found` is its number in this call. The tokens before it are in,
 * with their outputs; from it on nothing is written. The stream goes on from there with tokens that it can take
 * (without an undo, after `titans_stream_reset` or `titans_stream_load`).
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_push(struct titans_stream *stream,
                           const struct titans_model *model,
                           const uint32_t *ids,
                           size_t n,
                           float *outputs,
                           size_t outputs_len,
                           float *surprise,
                           size_t surprise_len,
                           struct titans_error_info *info);

/**
 * Feeds rows of numbers, [n, input_size] with `rows_len` numbers in all: `titans_stream_push` for models that read
 * rows.
 *
 * Errors: as `titans_stream_push`; `LENGTH` for rows that are not whole, `NOT_FINITE` (`found` is the number's index).
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_push_rows(struct titans_stream *stream,
                                const struct titans_model *model,
                                const float *rows,
                                size_t rows_len,
                                float *outputs,
                                size_t outputs_len,
                                float *surprise,
                                size_t surprise_len,
                                struct titans_error_info *info);

/**
 * Feeds one token id: `titans_stream_push` with n = 1.
 *
 * Errors: as `titans_stream_push`; nothing has changed after any of them, but for a stream without an undo, which
 * `DIVERGED` ends.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_step(struct titans_stream *stream,
                           const struct titans_model *model,
                           uint32_t id,
                           float *outputs,
                           size_t outputs_len,
                           float *surprise,
                           size_t surprise_len,
                           struct titans_error_info *info);

/**
 * Feeds one row of numbers, `row_len` = input_size: `titans_stream_push_rows` with one row.
 *
 * Errors: as `titans_stream_push_rows`; nothing has changed after any of them, but for a stream without an undo, which
 * `DIVERGED` ends.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_step_row(struct titans_stream *stream,
                               const struct titans_model *model,
                               const float *row,
                               size_t row_len,
                               float *outputs,
                               size_t outputs_len,
                               float *surprise,
                               size_t surprise_len,
                               struct titans_error_info *info);

/**
 * Makes a stream through `model` in `buffer`: `buffer_bytes` of at least `titans_stream_size`, aligned to
 * `titans_stream_align()`. It stands before the first token. `*stream` is set to it; it lies at the buffer's address
 * and needs no destruction.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, `TOO_LARGE`, those of a configuration and of a model:
 * the buffer is not touched then. `MODEL_NOT_FINITE`: the buffer holds no stream.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_init(void *buffer,
                           size_t buffer_bytes,
                           const struct titans_model *model,
                           const struct titans_stream_config *config,
                           struct titans_stream **stream,
                           struct titans_error_info *info);

/**
 * Finds the stream in a buffer that holds the bytes of one: a block that was copied with memcpy, sent or mapped. The
 * copy is a stream of its own. Bytes of untrusted origin do not belong here: use `titans_stream_load` for those.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a stream and of a model.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_attach(void *buffer,
                             size_t buffer_bytes,
                             const struct titans_model *model,
                             struct titans_stream **stream,
                             struct titans_error_info *info);

/**
 * Makes in `buffer` a second stream that stands where `stream` stands; both go on independently. The size is that of
 * `stream`'s own block.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a stream. The buffer is not touched then.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_fork(const struct titans_stream *stream,
                           void *buffer,
                           size_t buffer_bytes,
                           struct titans_stream **other,
                           struct titans_error_info *info);

/**
 * Starts a stream anew, before the first token, in the mode that it is in: position and counters 0.
 *
 * Errors: those of a stream and of a model, `MODEL_NOT_FINITE`; the stream is as before then (without an undo, after
 * `MODEL_NOT_FINITE` it must be loaded or made anew).
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_stream_reset(struct titans_stream *stream,
                            const struct titans_model *model,
                            struct titans_error_info *info);

/**
 * With `read_only` 1 the memories answer and do not change from the next token on; with 0 they learn. A change copies
 * the state (see `undo`).
 *
 * Errors: `CONFIG` for other numbers, and for a stream whose memories are absent; `TORN`, those of a stream and of a
 * model.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_stream_read_only(struct titans_stream *stream,
                                const struct titans_model *model,
                                int32_t read_only,
                                struct titans_error_info *info);

/**
 * Alignment in bytes that a stream's buffer needs: 64.
 */
size_t titans_stream_align(void);

/**
 * Bytes of the buffer for a stream through this model, all its working space included: no call needs more.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, `TOO_LARGE`, those of a configuration and of a model.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_stream_size(const struct titans_model *model,
                           const struct titans_stream_config *config,
                           size_t *bytes,
                           struct titans_error_info *info);

/**
 * Bytes that `titans_stream_save` writes at most for a stream through this model.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a model.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_stream_saved_size(const struct titans_model *model, size_t *bytes, struct titans_error_info *info);

/**
 * Fills `about` with where the stream stands.
 *
 * Errors: `NULL`, `MISALIGNED`, `STRUCT_SIZE`, `OVERLAP`, those of a stream.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_stream_describe(const struct titans_stream *stream,
                               struct titans_stream_info *about,
                               struct titans_error_info *info);

/**
 * Tokens the stream has taken since it was made or reset, across save and load.
 *
 * Errors: `NULL`, `MISALIGNED`, `OVERLAP`, those of a stream.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_stream_position(const struct titans_stream *stream, uint64_t *value, struct titans_error_info *info);

/**
 * What a loaded state had read and not fed: `titans stream` keeps the last token of a text until the next one comes,
 * and numbers of a row that is not whole yet. `*token` is the token, or UINT32_MAX for none: feed it first, and what
 * the model says then is about the token after it. `numbers` receives the numbers of the open row, `capacity` of at
 * least their count (input_size is always enough), and `*count` how many they are. Both are forgotten when a token is
 * fed.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a stream.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_waiting(const struct titans_stream *stream,
                              uint32_t *token,
                              float *numbers,
                              size_t capacity,
                              size_t *count,
                              struct titans_error_info *info);

/**
 * Writes the stream to `bytes`, `len` of at least what it needs (`titans_stream_saved_size` is always enough);
 * `*written` is how many were used. The bytes hold all numbers, the position, the mode, the model's checksum and one
 * of their own, little-endian: a stream of the same model that loads them, on any machine, here or by `titans stream
 * --state`, goes on with the bits this one would have given.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `OVERLAP`, `TORN`, those of a stream and of a model.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_save(struct titans_stream *stream,
                           const struct titans_model *model,
                           void *bytes,
                           size_t len,
                           size_t *written,
                           struct titans_error_info *info);

/**
 * Replaces where the stream stands, the mode too, by what was saved, `len` bytes, from a stream of the same model by
 * this library or by `titans stream --state` (see `titans_stream_waiting`). The bytes may come from anywhere: they are
 * checked in full first.
 *
 * Errors: `SAVED_FOREIGN`, `SAVED_VERSION`, `SAVED_CONFIG` (another model), `SAVED_LENGTH`, `SAVED_CORRUPT`; `NULL`,
 * `OVERLAP`, `TOO_LARGE`, those of a stream and of a model. The stream is as before then.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_stream_load(struct titans_stream *stream,
                           const struct titans_model *model,
                           const void *bytes,
                           size_t len,
                           struct titans_error_info *info);

/**
 * Gives tokens to the memory, in order: each is written by the memory's rule, and its query is answered by the weights
 * the configuration's `read` names. How tokens are cut into calls does not matter: the results have the same bits (in
 * the exact form but for the sign of an answer that is exactly 0).
 *
 * `y` receives the answers [n, value width] and needs `tokens->q`; NULL with length 0 if there are no questions.
 * `surprise` receives n numbers, the configuration's loss of each token: half the squared distance, by default,
 * between what the memory expected for its key and its value; NULL with length 0 if you do not need it. Outputs
 * overlap nothing; inputs may overlap each other.
 *
 * Errors: `NULL`, `STRUCT_SIZE`, `FLAGS`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `NOT_FINITE`, `GATE_RANGE`, `TOO_LARGE`,
 * those of a block. Nothing has changed then. `DIVERGED`: a token of finite inputs would drive the memory out of the
 * range of its numbers (learning too fast, or inputs far too large) and was refused; `info->found` is its number in
 * this call. The tokens before it are written, with their answers and surprise; from it on nothing is written. The
 * memory goes on from there with tokens that it can take, or after `titans_memory_reset`.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_write(struct titans_memory *memory,
                            const struct titans_tokens *tokens,
                            float *y,
                            size_t y_len,
                            float *surprise,
                            size_t surprise_len,
                            struct titans_error_info *info);

/**
 * Gives one token to the memory: `titans_memory_write` with n = 1 and the gates as numbers.
 *
 * `q` and `y` may both be NULL with length 0. `surprise` may be NULL. Errors as `titans_memory_write`.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_step(struct titans_memory *memory,
                           const float *k,
                           size_t k_len,
                           const float *v,
                           size_t v_len,
                           const float *q,
                           size_t q_len,
                           float alpha,
                           float theta,
                           float eta,
                           float *y,
                           size_t y_len,
                           float *surprise,
                           struct titans_error_info *info);

/**
 * Answers `n` queries `q` [n, key width] with the memory as it is after its last token, into `y` [n, value width].
 * Nothing is learned and no counter moves. It works in the memory's own scratch, so it needs the memory for itself.
 *
 * Errors: `NULL`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `NOT_FINITE`, `TOO_LARGE`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_read(struct titans_memory *memory,
                           size_t n,
                           const float *q,
                           size_t q_len,
                           float *y,
                           size_t y_len,
                           struct titans_error_info *info);

/**
 * The ABI number of the library that was loaded; compare it with `TITANS_ABI_VERSION`.
 */
uint32_t titans_abi_version(void);

/**
 * The library's version, e.g. "0.1.0". Static: never free it.
 */
const char *titans_version_string(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TITANS_H */
