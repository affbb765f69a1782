/* A memory of titans.h: borrowed, owned, or in an array of its own. */
#ifndef TITANS_MEMORY_HPP
#define TITANS_MEMORY_HPP

#include "core.hpp"

#include <cstring>

namespace titans {

/** A configuration with the defaults of titans_memory_config_init; change its fields through ->. */
class Config {
  public:
    /** The defaults. */
    Config() noexcept : config_() {
        // Fails only against a library of another ABI; the size 0 that is left makes Memory::create say so.
        if (titans_memory_config_init(&config_, sizeof config_, TITANS_ABI_VERSION, nullptr) != TITANS_OK) {
            config_.struct_size = 0;
        }
    }
    /** Its fields. */
    titans_memory_config *operator->() noexcept { return &config_; }
    /** Bytes of a memory's buffer. */
    Status size(size_t &bytes) const noexcept {
        Status status;
        titans_memory_size(&config_, &bytes, status.out());
        return status;
    }
    /** Numbers that a memory learns: the length of its initial weights. */
    Status parameters(size_t &count) const noexcept {
        Status status;
        titans_memory_parameters(&config_, &count, status.out());
        return status;
    }
    /** For calls of titans.h. */
    const titans_memory_config &get() const noexcept { return config_; }

  private:
    titans_memory_config config_;
};

/** The gates of one token: forget in [0, 1], inner learning rate of at least 0, momentum in [0, 1]. */
struct Gates {
    float alpha; /**< How much is forgotten, in [0, 1]. */
    float theta; /**< How fast is learned, at least 0. */
    float eta;   /**< How much of the last surprise carries on, in [0, 1]. */
};

/** A memory somewhere: a pointer, one thread at a time. A default one is none, and every call of it ends in
 * TITANS_ERROR_NULL. */
class MemoryRef {
  public:
    MemoryRef() noexcept = default;

    /** Makes a memory in a caller's buffer, aligned to 64, of at least titans_memory_size bytes; nothing is allocated.
     */
    static Result<MemoryRef> create_in(Span<unsigned char> buffer, const Config &config, Span<const float> w0 = {}) noexcept {
        MemoryRef memory;
        Status status = memory.init(buffer.data(), buffer.size(), config, w0);
        if (!status) {
            return status;
        }
        return Result<MemoryRef>(std::move(memory));
    }

    /** Finds the memory of that configuration whose bytes were copied to a buffer; see titans_memory_attach. */
    static Result<MemoryRef> attach_in(Span<unsigned char> buffer, const Config &config) noexcept {
        MemoryRef memory;
        Status status = memory.attach(buffer.data(), buffer.size(), config);
        if (!status) {
            return status;
        }
        return Result<MemoryRef>(std::move(memory));
    }

    /** titans_memory_write; `tokens.struct_size` is set here. `y` [n, value width], `surprise` [n]. */
    Status write(titans_tokens tokens, Span<float> y = {}, Span<float> surprise = {}) noexcept {
        Status status;
        tokens.struct_size = sizeof tokens;
        titans_memory_write(memory_, &tokens, y.data(), y.size(), surprise.data(), surprise.size(), status.out());
        return status;
    }

    /** Writes one token and, given a query `q` [key width] and a place for it `y` [value width], answers. `surprise`,
     * if it is not null, is the token's. */
    Status step(Span<const float> k, Span<const float> v, Gates gates, Span<const float> q = {}, Span<float> y = {},
                float *surprise = nullptr) noexcept {
        Status status;
        titans_memory_step(memory_, k.data(), k.size(), v.data(), v.size(), q.data(), q.size(), gates.alpha,
                           gates.theta, gates.eta, y.data(), y.size(), surprise, status.out());
        return status;
    }

    /** Answers n queries `q` [n, key width] into `y` [n, value width]; nothing is learned. */
    Status read(size_t n, Span<const float> q, Span<float> y) noexcept {
        Status status;
        titans_memory_read(memory_, n, q.data(), q.size(), y.data(), y.size(), status.out());
        return status;
    }

    /** Starts anew. */
    Status reset(Span<const float> w0 = {}) noexcept {
        Status status;
        titans_memory_reset(memory_, w0.data(), w0.size(), status.out());
        return status;
    }

    /** The surprise of the last token. */
    Status surprise(float &value) const noexcept {
        Status status;
        titans_memory_surprise(memory_, &value, status.out());
        return status;
    }

    /** Tokens seen. */
    Status position(uint64_t &value) const noexcept {
        Status status;
        titans_memory_position(memory_, &value, status.out());
        return status;
    }

    /** Tokens whose gradient was shortened. */
    Status clipped(uint64_t &value) const noexcept {
        Status status;
        titans_memory_clipped(memory_, &value, status.out());
        return status;
    }

    /** Weights and momentum, twice titans_memory_parameters numbers. */
    Status weights(Span<float> out) noexcept {
        Status status;
        titans_memory_weights(memory_, out.data(), out.size(), status.out());
        return status;
    }

    /** Bytes that save() needs. */
    Status saved_size(size_t &bytes) const noexcept {
        Status status;
        titans_memory_saved_size(&config_.get(), &bytes, status.out());
        return status;
    }

    /** The memory as bytes that may travel. */
    Status save(Span<unsigned char> bytes, size_t &written) noexcept {
        Status status;
        titans_memory_save(memory_, bytes.data(), bytes.size(), &written, status.out());
        return status;
    }

    /** Goes on where a saved memory of the same configuration was. */
    Status load(Span<const unsigned char> bytes) noexcept {
        Status status;
        titans_memory_load(memory_, bytes.data(), bytes.size(), status.out());
        return status;
    }

    /** The memory for calls of titans.h. */
    titans_memory *get() noexcept { return memory_; }

  protected:
    /** titans_memory_init. */
    Status init(void *buffer, size_t bytes, const Config &config, Span<const float> w0) noexcept {
        Status status;
        config_ = config;
        titans_memory_init(buffer, bytes, &config.get(), w0.data(), w0.size(), &memory_, status.out());
        return status;
    }
    /** titans_memory_attach. */
    Status attach(void *buffer, size_t bytes, const Config &config) noexcept {
        Status status;
        config_ = config;
        titans_memory_attach(buffer, bytes, &memory_, status.out());
        return status;
    }

    titans_memory *memory_ = nullptr; /**< The memory. */
    Config config_;                   /**< What it was made with. */
};

/** One memory that owns its buffer. Move-only; one thread at a time. */
class Memory : public MemoryRef {
  public:
    /** No memory: every call ends in TITANS_ERROR_NULL. */
    Memory() noexcept = default;
    Memory(Memory &&other) noexcept { swap(other); }
    Memory &operator=(Memory &&other) noexcept {
        Memory(std::move(other)).swap(*this);
        return *this;
    }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    /** A memory with initial weights `w0`; none means zeros, for memories of one layer. TITANS_ERROR_SYSTEM where there
     * is no room. */
    static Result<Memory> create(const Config &config, Span<const float> w0 = {}) noexcept {
        Memory memory;
        size_t bytes = 0;
        Status status = config.size(bytes);
        if (!status) {
            return status;
        }
        memory.block_ = Block(bytes);
        if (memory.block_.data() == nullptr) {
            return Status(TITANS_ERROR_SYSTEM, 0);
        }
        status = memory.init(memory.block_.data(), bytes, config, w0);
        if (!status) {
            return status;
        }
        return Result<Memory>(std::move(memory));
    }

    /** A second memory with the same contents, at the cost of a memcpy. TITANS_ERROR_SYSTEM as create. */
    Result<Memory> clone() const noexcept {
        Memory copy;
        if (block_.size() > 0) {
            copy.block_ = Block(block_.size());
            if (copy.block_.data() == nullptr) {
                return Status(TITANS_ERROR_SYSTEM, 0);
            }
            std::memcpy(copy.block_.data(), block_.data(), block_.size());
        }
        Status status = copy.attach(copy.block_.data(), block_.size(), config_);
        if (!status) {
            return status;
        }
        return Result<Memory>(std::move(copy));
    }

    /** Exchanges two memories. */
    void swap(Memory &other) noexcept {
        block_.swap(other.block_);
        std::swap(memory_, other.memory_);
        std::swap(config_, other.config_);
    }

  private:
    Block block_;
};

/** One memory in an array of `Bytes` bytes (TITANS_LINEAR_MEMORY_BYTES): for globals of microcontrollers. It stays
 * where it is. */
template <size_t Bytes> class StaticMemory : public MemoryRef {
  public:
    StaticMemory() noexcept = default;
    StaticMemory(const StaticMemory &) = delete;
    StaticMemory &operator=(const StaticMemory &) = delete;

    /** Makes the memory; once more makes it anew. TITANS_ERROR_BUFFER_TOO_SMALL says how many bytes it wants. */
    Status start(const Config &config, Span<const float> w0 = {}) noexcept { return init(bytes_, Bytes, config, w0); }

  private:
    alignas(Block::alignment) unsigned char bytes_[Bytes]{};
};

} // namespace titans

#endif // TITANS_MEMORY_HPP
