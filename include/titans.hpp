/* libtitans for C++17: a memory that owns its buffer. Header-only; works with -fno-exceptions and -fno-rtti.
 *
 * titans.h says what every call does. Here no call throws: it returns a Status, and creating returns a Result.
 *
 *     titans::Config config;
 *     config->widths[0] = config->widths[1] = 32;
 *     auto made = titans::Memory::create(config);
 *     if (!made) { std::fputs(made.status().message(), stderr); return 1; }
 *     titans::Memory memory = std::move(*made);
 *     titans::Status status = memory.step(key, value, {0.0f, 1.0f, 0.0f});
 */
#ifndef TITANS_HPP
#define TITANS_HPP

#include "titans.h"

#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

namespace titans {

/** A pointer and a length: what std::span is from C++20 on. Vectors and arrays convert to it. */
template <class T> class Span {
  public:
    constexpr Span() noexcept = default;
    constexpr Span(T *data, size_t size) noexcept : data_(data), size_(size) {}
    template <size_t N> constexpr Span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    template <class C, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
    constexpr Span(C &&container) noexcept : data_(container.data()), size_(container.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr size_t size() const noexcept { return size_; }

  private:
    T *data_ = nullptr;
    size_t size_ = 0;
};

/** How a call ended, with the details of a failure. True when it succeeded. */
class [[nodiscard]] Status {
  public:
    Status() noexcept : info_() { info_.struct_size = sizeof info_; }
    explicit operator bool() const noexcept { return info_.code == TITANS_OK; }
    int32_t code() const noexcept { return info_.code; }
    /** Name of the code, e.g. "TITANS_ERROR_LENGTH". */
    const char *name() const noexcept { return titans_status_name(info_.code); }
    /** What is wrong with which argument, and what to do. Lives as long as the status. */
    const char *message() const noexcept { return info_.message; }
    const titans_error_info &info() const noexcept { return info_; }
    /** Where a call of titans.h writes its details. */
    titans_error_info *out() noexcept { return &info_; }

  private:
    titans_error_info info_;
};

/** A value, or the reason why there is none. Look at the value only when it is true. */
template <class T> class [[nodiscard]] Result {
  public:
    Result(T &&value) noexcept : value_(std::move(value)) {}
    Result(const Status &status) noexcept : status_(status) {}
    explicit operator bool() const noexcept { return static_cast<bool>(status_); }
    T &operator*() noexcept { return value_; }
    T *operator->() noexcept { return &value_; }
    const Status &status() const noexcept { return status_; }

  private:
    T value_;
    Status status_;
};

/** A configuration with the defaults of titans_memory_config_init; change its fields through ->. */
class Config {
  public:
    Config() noexcept : config_() {
        // Fails only against a library of another ABI; the size 0 that is left makes Memory::create say so.
        if (titans_memory_config_init(&config_, sizeof config_, TITANS_ABI_VERSION, nullptr) != TITANS_OK) {
            config_.struct_size = 0;
        }
    }
    titans_memory_config *operator->() noexcept { return &config_; }
    const titans_memory_config &get() const noexcept { return config_; }

  private:
    titans_memory_config config_;
};

/** The gates of one token: forget in [0, 1], inner learning rate of at least 0, momentum in [0, 1]. */
struct Gates {
    float alpha, theta, eta;
};

/** One memory. Move-only; one thread at a time. */
class Memory {
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
    ~Memory() { ::operator delete(buffer_, std::align_val_t(titans_memory_align()), std::nothrow); }

    /** A memory with initial weights `w0`; none means zeros, for memories of one layer. */
    static Result<Memory> create(const Config &config, Span<const float> w0 = {}) noexcept {
        Memory memory;
        Status status;
        titans_memory_size(&config.get(), &memory.bytes_, status.out());
        if (!status) {
            return status;
        }
        memory.allocate(); // without memory the next call says so: its buffer is NULL
        memory.config_ = config;
        titans_memory_init(memory.buffer_, memory.bytes_, &config.get(), w0.data(), w0.size(), &memory.memory_,
                           status.out());
        if (!status) {
            return status;
        }
        return Result<Memory>(std::move(memory));
    }

    /** A second memory with the same contents, at the cost of a memcpy. */
    Result<Memory> clone() const noexcept {
        Memory copy;
        Status status;
        copy.bytes_ = bytes_;
        copy.config_ = config_;
        if (buffer_ != nullptr && copy.allocate()) {
            std::memcpy(copy.buffer_, buffer_, bytes_);
        }
        titans_memory_attach(copy.buffer_, copy.bytes_, &copy.memory_, status.out());
        if (!status) {
            return status;
        }
        return Result<Memory>(std::move(copy));
    }

    /** titans_memory_write; `tokens.struct_size` is set here. */
    Status write(titans_tokens tokens, Span<float> y = {}, Span<float> surprise = {}) noexcept {
        Status status;
        tokens.struct_size = sizeof tokens;
        titans_memory_write(memory_, &tokens, y.data(), y.size(), surprise.data(), surprise.size(), status.out());
        return status;
    }

    /** Writes one token and, given a query and a place for it, answers. */
    Status step(Span<const float> k, Span<const float> v, Gates gates, Span<const float> q = {},
                Span<float> y = {}) noexcept {
        Status status;
        titans_memory_step(memory_, k.data(), k.size(), v.data(), v.size(), q.data(), q.size(), gates.alpha,
                           gates.theta, gates.eta, y.data(), y.size(), nullptr, status.out());
        return status;
    }

    /** Answers n queries; nothing is learned. */
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

    void swap(Memory &other) noexcept {
        std::swap(buffer_, other.buffer_);
        std::swap(bytes_, other.bytes_);
        std::swap(memory_, other.memory_);
        std::swap(config_, other.config_);
    }

  private:
    bool allocate() noexcept {
        buffer_ = ::operator new(bytes_, std::align_val_t(titans_memory_align()), std::nothrow);
        return buffer_ != nullptr;
    }

    void *buffer_ = nullptr;
    size_t bytes_ = 0;
    titans_memory *memory_ = nullptr;
    Config config_;
};

} // namespace titans

#endif // TITANS_HPP
