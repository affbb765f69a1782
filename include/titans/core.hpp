/* What all of titans.hpp stands on: spans, statuses, results. */
#ifndef TITANS_CORE_HPP
#define TITANS_CORE_HPP

#include "../titans.h"

#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

/** Memories, models, streams and texts of libtitans for C++17. */
namespace titans {

/** A pointer and a length: what std::span is from C++20 on. Vectors and arrays convert to it. */
template <class T> class Span {
  public:
    constexpr Span() noexcept = default;
    /** `size` elements from `data` on. */
    constexpr Span(T *data, size_t size) noexcept : data_(data), size_(size) {}
    /** All of an array. */
    template <size_t N> constexpr Span(T (&array)[N]) noexcept : data_(array), size_(N) {}
    /** All of a container with data() and size(). */
    template <class C, class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<C &>().data()), T *>>>
    constexpr Span(C &&container) noexcept : data_(container.data()), size_(container.size()) {}

    /** The first element; NULL where there is none. */
    constexpr T *data() const noexcept { return data_; }
    /** Number of elements. */
    constexpr size_t size() const noexcept { return size_; }
    /** For loops. */
    constexpr T *begin() const noexcept { return data_; }
    /** For loops. */
    constexpr T *end() const noexcept { return data_ + size_; }
    /** Element `i`, below size(). */
    constexpr T &operator[](size_t i) const noexcept { return data_[i]; }

  private:
    T *data_ = nullptr;
    size_t size_ = 0;
};

/** How a call ended, with the details of a failure. True when it succeeded. */
class [[nodiscard]] Status {
  public:
    /** Success. */
    Status() noexcept : info_() { info_.struct_size = sizeof info_; }
    /** A refusal by this header, of argument number `arg`. */
    Status(titans_status code, int32_t arg) noexcept : Status() {
        info_.code = code;
        info_.arg = arg;
        const char *text = titans_status_message(code);
        for (size_t i = 0; i + 1 < TITANS_MESSAGE_BYTES && text[i] != 0; i++) {
            info_.message[i] = text[i];
        }
    }
    /** Whether it succeeded. */
    explicit operator bool() const noexcept { return info_.code == TITANS_OK; }
    /** The titans_status. */
    int32_t code() const noexcept { return info_.code; }
    /** Name of the code, e.g. "TITANS_ERROR_LENGTH". */
    const char *name() const noexcept { return titans_status_name(info_.code); }
    /** What is wrong with which argument, and what to do. Lives as long as the status. */
    const char *message() const noexcept { return info_.message; }
    /** All details: the argument, what was expected, what was found. */
    const titans_error_info &info() const noexcept { return info_; }
    /** Where a call of titans.h writes its details. */
    titans_error_info *out() noexcept { return &info_; }

  private:
    titans_error_info info_;
};

/** A value, or the reason why there is none. Look at the value only when it is true. */
template <class T> class [[nodiscard]] Result {
  public:
    /** A value. */
    Result(T &&value) noexcept : value_(std::move(value)) {}
    /** The reason why there is none. */
    Result(const Status &status) noexcept : status_(status) {}
    /** Whether there is a value. */
    explicit operator bool() const noexcept { return static_cast<bool>(status_); }
    /** The value. */
    T &operator*() noexcept { return value_; }
    /** The value. */
    T *operator->() noexcept { return &value_; }
    /** Why there is none; success where there is one. */
    const Status &status() const noexcept { return status_; }

  private:
    T value_{};
    Status status_;
};

/** Bytes at an address that blocks want, from the heap; freed with it. Move-only. */
class Block {
  public:
    /** No bytes. */
    Block() noexcept = default;
    /** `bytes` bytes; none where the system has no memory. */
    explicit Block(size_t bytes) noexcept
        : data_(::operator new(bytes, std::align_val_t(alignment), std::nothrow)), size_(data_ == nullptr ? 0 : bytes) {}
    Block(Block &&other) noexcept { swap(other); }
    Block &operator=(Block &&other) noexcept {
        Block(std::move(other)).swap(*this);
        return *this;
    }
    Block(const Block &) = delete;
    Block &operator=(const Block &) = delete;
    ~Block() { ::operator delete(data_, std::align_val_t(alignment), std::nothrow); }

    /** The first byte; NULL where there is none. */
    void *data() const noexcept { return data_; }
    /** Number of bytes. */
    size_t size() const noexcept { return size_; }
    /** Exchanges two blocks. */
    void swap(Block &other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }

    /** What titans_memory_align() and titans_stream_align() are. */
    static constexpr size_t alignment = 64;

  private:
    void *data_ = nullptr;
    size_t size_ = 0;
};

/** The library's version, e.g. "0.1.0". */
inline const char *version() noexcept { return titans_version_string(); }

/** Whether the library that is linked is of this header's ABI, and wants blocks where Block puts them. */
inline bool compatible() noexcept {
    return titans_abi_version() == TITANS_ABI_VERSION && titans_memory_align() == Block::alignment &&
           titans_stream_align() == Block::alignment;
}

} // namespace titans

#endif // TITANS_CORE_HPP
