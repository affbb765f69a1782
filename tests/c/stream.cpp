// Streams through titans.hpp: owned, moved, forked, in an array, refused; without exceptions. The blob's path is the
// argument.
#include "titans.hpp"

#include "exhausted.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

constexpr size_t N = 30;

void require(bool holds, const char *what, int line) {
    if (!holds) {
        std::fprintf(stderr, "line %d: not so: %s\n", line, what);
        std::exit(1);
    }
}
#define REQUIRE(x) require(static_cast<bool>(x), #x, __LINE__)

std::vector<uint32_t> file(const char *path, size_t &bytes) {
    std::FILE *in = std::fopen(path, "rb");
    REQUIRE(in != nullptr);
    std::vector<uint32_t> words(1 << 20); // aligned to 4, as a blob wants
    bytes = std::fread(words.data(), 1, words.size() * 4, in);
    std::fclose(in);
    return words;
}

titans::StaticMemory<TITANS_LINEAR_MEMORY_BYTES(4, 4, 1)> memory_of_firmware;
titans::StaticStream<1 << 18> stream_of_firmware;

void arrays_do_without_a_heap(const titans::Model &model, const std::vector<uint32_t> &ids, const std::vector<float> &wanted) {
    titans::Config config;
    config->widths[0] = config->widths[1] = 4;
    config->compute_chunk = 1;
    REQUIRE(memory_of_firmware.start(config));
    const float key[4] = {1, 0, 0, 0}, value[4] = {0.5f, -0.5f, 1, 0};
    std::array<float, 4> answer{};
    REQUIRE(memory_of_firmware.step(key, value, {0.0f, 1.0f, 0.0f}, key, answer) && answer[2] == 1.0f);
    titans::StreamConfig least;
    least->rows = 1;
    least->undo = 0;
    std::vector<float> logits(wanted.size() / N);
    for (int pass = 0; pass < 2; pass++) {
        REQUIRE(stream_of_firmware.start(model, least));
        for (size_t t = 0; t < N; t++) {
            REQUIRE(stream_of_firmware.step(ids[t], logits));
        }
        REQUIRE(std::vector<float>(wanted.end() - static_cast<std::ptrdiff_t>(logits.size()), wanted.end()) == logits);
    }
    alignas(64) unsigned char small[256];
    REQUIRE(titans::StreamRef::create_in(small, model).status().code() == TITANS_ERROR_BUFFER_TOO_SMALL);
    REQUIRE(titans::MemoryRef::create_in(small, config).status().code() == TITANS_ERROR_BUFFER_TOO_SMALL);
}

} // namespace

int main(int count, char **words) {
    REQUIRE(count == 2);
    size_t bytes = 0;
    std::vector<uint32_t> blob = file(words[1], bytes);
    const auto *start = reinterpret_cast<const unsigned char *>(blob.data());
    REQUIRE(titans::Model::open({start, bytes - 1}).status().code() == TITANS_ERROR_MODEL_LENGTH);
    auto opened = titans::Model::open({start, bytes});
    REQUIRE(opened);
    const titans::Model model = *opened;
    titans_model_info about{};
    titans_block_info block{};
    REQUIRE(model.describe(about) && about.input == TITANS_INPUT_TOKENS && model.describe(0, block) && block.kind >= 0);
    std::vector<uint32_t> ids(N);
    for (size_t i = 0; i < N; i++) {
        ids[i] = static_cast<uint32_t>(i * i) % about.input_size;
    }
    auto made = titans::Stream::create(model);
    REQUIRE(made);
    titans::Stream stream = std::move(*made);
    REQUIRE(made->get() == nullptr && !made->reset()); // moved from: no stream, and every call says so
    REQUIRE(made->fork().status().code() == TITANS_ERROR_NULL);
    exhausted = refuses();
    REQUIRE(!exhausted || titans::Stream::create(model).status().code() == TITANS_ERROR_SYSTEM);
    REQUIRE(!exhausted || stream.fork().status().code() == TITANS_ERROR_SYSTEM);
    exhausted = false;
    std::vector<float> logits(N * about.outputs), again(logits), surprise(N * about.memories);
    REQUIRE(stream.push(ids, logits, surprise));
    auto fork = stream.fork();
    REQUIRE(fork && stream.reset() && stream.push(ids, again) && logits == again);
    std::vector<float> one(about.outputs), other(about.outputs);
    REQUIRE(fork->step(ids[3], one) && stream.step(ids[3], other) && one == other);
    titans_stream_info stands{};
    uint64_t position = 0;
    REQUIRE(stream.describe(stands) && stands.position == N + 1 && fork->position(position) && position == N + 1);
    size_t size = 0, written = 0, open = 0;
    uint32_t waiting = 7;
    REQUIRE(model.saved_size(size));
    std::vector<unsigned char> saved(size);
    REQUIRE(fork->save(saved, written) && stream.read_only(true) && stream.load({saved.data(), written}));
    REQUIRE(stream.waiting(waiting, {}, open) && waiting == UINT32_MAX && open == 0);
    REQUIRE(fork->step(ids[4], one) && stream.step(ids[4], other) && one == other);
    REQUIRE(stream.step_row(one).code() == TITANS_ERROR_INPUT_KIND && stream.push_rows(one).code() == TITANS_ERROR_INPUT_KIND);
    REQUIRE(stream.push(ids, titans::Span<float>(logits.data(), 3)).code() == TITANS_ERROR_LENGTH);
    titans::StreamConfig least;
    least->rows = 1;
    least->undo = 0;
    size_t bytes_of_one = 0;
    REQUIRE(least.size(model, bytes_of_one));
    const titans::Block room[2] = {titans::Block(bytes_of_one), titans::Block(bytes_of_one)};
    const titans::Span<unsigned char> rooms[2] = {{static_cast<unsigned char *>(room[0].data()), bytes_of_one},
                                                  {static_cast<unsigned char *>(room[1].data()), bytes_of_one}};
    auto first = titans::StreamRef::create_in(rooms[0], model, least);
    REQUIRE(first && first->step(ids[0]));
    auto beside = first->fork_in(rooms[1]);
    auto found = titans::StreamRef::attach_in(rooms[0], model);
    REQUIRE(beside && found && found->step(ids[1], one) && beside->step(ids[1], other) && one == other);
    REQUIRE(first->fork_in(rooms[0]).status().code() == TITANS_ERROR_OVERLAP);
    REQUIRE(titans::StreamRef::attach_in({}, model).status().code() == TITANS_ERROR_NULL);
    titans::Model none;
    REQUIRE(titans::Stream::create(none).status().code() == TITANS_ERROR_UNINITIALISED);
    stream = std::move(*fork); // the first stream's buffer is freed here
    REQUIRE(stream.step(ids[0]));
    arrays_do_without_a_heap(model, ids, again);
    std::puts("stream.cpp: all held");
    return 0;
}
