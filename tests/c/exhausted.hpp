// A system without memory, as far as blocks know.
#ifndef TITANS_TESTS_EXHAUSTED_HPP
#define TITANS_TESTS_EXHAUSTED_HPP

#include <cstdio>
#include <cstdlib>
#include <new>

bool exhausted = false;

// Not inlined: a compiler that sees through one of the two alone takes them for a mismatch.
__attribute__((noinline)) void *operator new(size_t bytes, std::align_val_t to, const std::nothrow_t &) noexcept {
    const size_t align = static_cast<size_t>(to);
    return exhausted ? nullptr : std::aligned_alloc(align, (bytes + align - 1) / align * align);
}

__attribute__((noinline)) void operator delete(void *bytes, std::align_val_t, const std::nothrow_t &) noexcept {
    std::free(bytes);
}

// Whether that is so: valgrind has an allocator of its own in place of this one.
inline bool refuses() {
    exhausted = true;
    void *bytes = ::operator new(64, std::align_val_t(64), std::nothrow);
    exhausted = false;
    ::operator delete(bytes, std::align_val_t(64), std::nothrow);
    if (bytes != nullptr) std::fputs("an allocator in place of the test's: no lack of memory is tried\n", stderr);
    return bytes == nullptr;
}

#endif
