// The loop of main.rs in C++: `loop FILE TOKENS UNDO` prints nanoseconds a token.
#include <titans.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int count, char **words) {
    if (count != 4) return 2;
    std::FILE *file = std::fopen(words[1], "rb");
    if (file == nullptr) return 2;
    std::vector<float> blob(1 << 20);
    const size_t bytes = std::fread(blob.data(), 1, blob.size() * 4, file);
    std::fclose(file);
    const size_t tokens = std::strtoul(words[2], nullptr, 10);
    auto model = titans::Model::open({reinterpret_cast<const unsigned char *>(blob.data()), bytes});
    titans::StreamConfig config;
    config->rows = 1;
    config->undo = static_cast<uint32_t>(std::strtoul(words[3], nullptr, 10));
    auto stream = titans::Stream::create(*model, config);
    if (!stream) return std::fprintf(stderr, "%s\n", stream.status().message()), 1;
    std::vector<float> logits(256);
    uint32_t id = 1;
    const auto begin = std::chrono::steady_clock::now();
    for (size_t t = 0; t < tokens; t++) {
        titans::Status status = stream->step(id, logits);
        if (!status) return std::fprintf(stderr, "%s\n", status.message()), 1;
        id = (id * 5 + 3) % 256;
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
    std::printf("%.1f\n", took.count() / static_cast<double>(tokens));
}
