/* libtitans for C++17: memories, models, streams and texts that own what they need. Header-only; works with
 * -fno-exceptions and -fno-rtti.
 *
 * titans.h says what every call does. Here no call throws: it returns a Status, and creating returns a Result.
 *
 *     titans::Config config;
 *     config->widths[0] = config->widths[1] = 32;
 *     auto made = titans::Memory::create(config);
 *     if (!made) { std::fputs(made.status().message(), stderr); return 1; }
 *     titans::Memory memory = std::move(*made);
 *     titans::Status status = memory.step(key, value, {0.0f, 1.0f, 0.0f});
 *
 * | type | what it is |
 * |---|---|
 * | MemoryRef, Memory, StaticMemory | a memory: somewhere, in a buffer of its own, in an array of its own |
 * | Model | a model over exported bytes |
 * | StreamRef, Stream, StaticStream | a stream through a model: somewhere, in a buffer of its own, in an array of its own |
 * | HostModel | a model by its path |
 * | Text | a text that is read and goes on |
 *
 * Firmware defines TITANS_FREESTANDING, which leaves out the last two, and uses the Ref and Static types: they
 * allocate nothing. */
#ifndef TITANS_HPP
#define TITANS_HPP

#include "titans/memory.hpp"
#include "titans/model.hpp"
#include "titans/text.hpp"

#endif // TITANS_HPP
