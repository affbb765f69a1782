/* libtitans: the Titans test-time memory (arXiv 2501.00663) in a buffer of yours.
 *
 * Generated from ffi/src by cbindgen; do not edit. docs/ABI.md says what is promised and how it may change.
 *
 * In short: fill a titans_memory_config, ask titans_memory_size, provide a buffer of that size aligned to
 * titans_memory_align(), and call titans_memory_init. Then titans_memory_write teaches it tokens (key, value, gates) and
 * answers queries, titans_memory_read only answers. The library never allocates, prints, or starts a thread.
 *
 * Errors. Functions that can fail return a titans_status as int32_t: 0, or a negative number; unless its text says
 * otherwise, nothing has changed after an error. Every function takes an optional titans_error_info last.
 *
 * Pointers. Every pointer is checked for NULL and alignment, every buffer comes with its length, which is checked too. A
 * pointer that is neither NULL nor valid for its length cannot be found out.
 *
 * Overlap. Outputs may overlap neither each other nor an input nor the memory; inputs may overlap each other.
 *
 * A memory is its bytes. It holds no pointers: memcpy of its buffer to another one of the same size and alignment, between
 * calls, is a snapshot (titans_memory_attach finds the memory in it). For files and other machines there is
 * titans_memory_save.
 *
 * Threads. Functions that take a const titans_memory may run on one memory at the same time; all others need the memory
 * for themselves, and so does titans_memory_read, which works in the memory's scratch. Different memories are
 * independent. There is no global state.
 *
 * Stack. A thread that makes calls needs 64 KiB of it.
 */


#ifndef TITANS_H
#define TITANS_H

#include <stddef.h>
#include <stdint.h>

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
     * The block holds zeros: no memory was initialised in it.
     */
    TITANS_ERROR_UNINITIALISED = -40,
    /**
     * The block holds something else than a memory.
     */
    TITANS_ERROR_FOREIGN = -41,
    /**
     * The block holds a memory made by a library of another ABI.
     */
    TITANS_ERROR_BLOCK_VERSION = -42,
    /**
     * The head of the block contradicts itself: it was overwritten.
     */
    TITANS_ERROR_CORRUPT = -43,
    /**
     * An earlier call on this memory did not come to its end (an internal error, or two calls at once). The memory
     * is lost; initialise it again.
     */
    TITANS_ERROR_POISONED = -44,
    /**
     * No token was written since the memory was initialised, reset or loaded.
     */
    TITANS_ERROR_NO_TOKEN = -45,
    /**
     * The bytes are not a saved memory.
     */
    TITANS_ERROR_SAVED_FOREIGN = -50,
    /**
     * The bytes are a memory saved in a format this library cannot read.
     */
    TITANS_ERROR_SAVED_VERSION = -51,
    /**
     * The bytes are a saved memory of another configuration.
     */
    TITANS_ERROR_SAVED_CONFIG = -52,
    /**
     * The bytes are shorter or longer than the memory that was saved.
     */
    TITANS_ERROR_SAVED_LENGTH = -53,
    /**
     * The bytes were changed after they were saved.
     */
    TITANS_ERROR_SAVED_CORRUPT = -54,
    /**
     * A token was refused because the memory's numbers would not stay finite: inputs far too large, or a memory that runs away.
     * The tokens of the call before it are written; the memory is what it was after them.
     */
    TITANS_ERROR_DIVERGED = -60,
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
 * A memory in a caller's block. Only pointers to it exist; its contents belong to the library.
 */
typedef struct titans_memory titans_memory;

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
     * Tokens whose gradients are taken at the same weights, 1 to 1048576. 1: every token's gradient is its own, for memories of one
     * layer; deeper ones want about 4.
     */
    uint32_t chunk;
    /**
     * Longest gradient of one token: longer ones are shortened to it and counted. 0: no limit. Memories of two layers and more want
     * one, e.g. 1.
     */
    float clip;
    /**
     * Tokens that are computed at once, up to 1048576: the same numbers in another order of sums. Below `chunk`: a part of a chunk.
     * A multiple of `chunk`: whole chunks, where the memory is one layer with plain output (others compute one chunk at once).
     * Equal to `chunk`: a chunk; with a chunk of 1 every token is then written when it comes, and none waits. 0: as many whole chunks as
     * there are in 64 tokens where the memory is one layer with plain output and `chunk` is below 64, else a chunk.
     */
    uint32_t compute_chunk;
} titans_memory_config;

/**
 * Details of a failure. Set `struct_size` to its sizeof and pass it to any function, or pass NULL. After the call
 * `code` repeats the status that the function returned; the other fields are cleared when that is `TITANS_OK`.
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
 * Fills a configuration with the defaults: a linear memory of 64 to 64, SiLU, plain output, half the squared error, reads after
 * the write, chunk 1 (computed in pieces of 64 tokens), no clip. It wants theta at most 1, eta at most 0.5 and keys of length 1 at
 * most. A memory of two layers and more wants `chunk` 4, `clip` 1 and a theta of 0.1 at most. Call it with `sizeof *config` and
 * `TITANS_ABI_VERSION`.
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
 * Makes a memory in `buffer`: `buffer_bytes` of at least `titans_memory_size`, aligned to `titans_memory_align()`.
 *
 * `w0` holds the initial weights, `w0_len` = `titans_memory_parameters` numbers: layer after layer, each row-major
 * [inputs, outputs], then gamma of residual networks. NULL with length 0 means zeros, for memories of one layer only:
 * from zeros, deeper ones never learn. The weights are copied. `*memory` is set to the memory, which lies at the
 * buffer's address and needs no destruction: free or reuse the buffer when you like.
 *
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `LENGTH`, `NOT_FINITE`, `OVERLAP`, those of a configuration. The
 * buffer is not touched then.
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
 * Errors: `NULL`, `MISALIGNED`, `BUFFER_TOO_SMALL`, `UNINITIALISED`, `FOREIGN`, `BLOCK_VERSION`, `CORRUPT`, `POISONED`.
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
 * Alignment in bytes that a memory's buffer needs: 64.
 */
size_t titans_memory_align(void);

/**
 * Bytes of the buffer for a memory of this configuration, all its working space included: no call needs more.
 *
 * Errors: `NULL`, `TOO_LARGE`, those of a configuration.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_size(const struct titans_memory_config *config, size_t *bytes, struct titans_error_info *info);

/**
 * Bytes that `titans_memory_save` writes for a memory of this configuration, at any time.
 *
 * Errors: `NULL`, `TOO_LARGE`, those of a configuration.
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
 * Errors: `NULL`, `TOO_LARGE`, those of a configuration.
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
 * Errors: `NULL`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_position(const struct titans_memory *memory, uint64_t *value, struct titans_error_info *info);

/**
 * Tokens whose gradient was longer than the configuration's `clip` and was shortened.
 *
 * Errors: `NULL`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_clipped(const struct titans_memory *memory, uint64_t *value, struct titans_error_info *info);

/**
 * The surprise of the last token given to the memory, the configuration's loss: half the squared distance, by default, between what
 * it expected for the token's key and the token's value.
 *
 * Errors: `NO_TOKEN` when there was none since the memory was initialised, reset or loaded; `NULL`, those of a block.
 *
 * # Safety
 * Pointers are NULL or valid.
 */
int32_t titans_memory_surprise(const struct titans_memory *memory,
                               float *value,
                               struct titans_error_info *info);

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
 * Errors: `NULL`, `BUFFER_TOO_SMALL`, `OVERLAP`, those of a block.
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
 * Replaces what the memory holds by what was saved, `len` bytes, from a memory of the same configuration. The bytes may
 * come from anywhere: they are checked in full first.
 *
 * Errors: `SAVED_FOREIGN`, `SAVED_VERSION`, `SAVED_CONFIG`, `SAVED_LENGTH`, `SAVED_CORRUPT`; `NULL`, `OVERLAP`, those of
 * a block. The memory is as before then.
 *
 * # Safety
 * Pointers are NULL or valid for their lengths.
 */
int32_t titans_memory_load(struct titans_memory *memory,
                           const void *bytes,
                           size_t len,
                           struct titans_error_info *info);

/**
 * The name of a status, e.g. "TITANS_ERROR_NULL"; "TITANS_UNKNOWN" for other numbers. Static: never free it.
 */
const char *titans_status_name(int32_t status);

/**
 * One sentence about a status: what is wrong and what to do. Static: never free it.
 */
const char *titans_status_message(int32_t status);

/**
 * Gives tokens to the memory, in order: each is written by the memory's rule, and its query is answered by the weights
 * the configuration's `read` names. How tokens are cut into calls does not matter: the results have the same bits.
 *
 * `y` receives the answers [n, value width] and needs `tokens->q`; NULL with length 0 if there are no questions.
 * `surprise` receives n numbers, the configuration's loss of each token: half the squared distance, by default, between what the
 * memory expected for its key and its value; NULL with length 0 if you do not need it. Outputs overlap nothing; inputs may overlap each other.
 *
 * Errors: `NULL`, `STRUCT_SIZE`, `FLAGS`, `LENGTH`, `MISALIGNED`, `OVERLAP`, `NOT_FINITE`, `GATE_RANGE`, `TOO_LARGE`,
 * those of a block. Nothing has changed then. `DIVERGED`: a token of finite inputs would drive the memory out of the range of
 * its numbers (learning too fast, or inputs far too large) and was refused; `info->found` is its number in this call. The tokens
 * before it are written, with their answers and surprise; what the outputs hold from it on is unspecified. The memory goes on from
 * there with tokens that it can take, or after `titans_memory_reset`.
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
