// A memory through titans.hpp: owned, moved, cloned, saved and refused, without exceptions.
#include "titans.hpp"

#include "exhausted.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

constexpr size_t D = 16;
constexpr size_t PAIRS = 6;

void require(bool holds, const char *what, int line) {
    if (!holds) {
        std::fprintf(stderr, "line %d: not so: %s\n", line, what);
        std::exit(1);
    }
}
#define REQUIRE(x) require(static_cast<bool>(x), #x, __LINE__)

struct Pairs {
    std::vector<float> keys, values;

    Pairs() : keys(PAIRS * D), values(PAIRS * D) {
        uint32_t seed = 7;
        for (std::vector<float> *rows : {&keys, &values}) {
            for (size_t p = 0; p < PAIRS; p++) {
                float sum = 0.0f;
                for (size_t i = 0; i < D; i++) {
                    seed = seed * 1664525u + 1013904223u;
                    float x = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
                    (*rows)[p * D + i] = x;
                    sum += x * x;
                }
                for (size_t i = 0; i < D; i++) {
                    (*rows)[p * D + i] /= std::sqrt(sum);
                }
            }
        }
    }
};

titans_tokens tokens_of(const Pairs &pairs, const titans::Gates &gates) {
    titans_tokens tokens{};
    tokens.n = PAIRS;
    tokens.k = tokens.q = pairs.keys.data();
    tokens.v = pairs.values.data();
    tokens.k_len = tokens.q_len = tokens.v_len = PAIRS * D;
    tokens.alpha = &gates.alpha;
    tokens.theta = &gates.theta;
    tokens.eta = &gates.eta;
    tokens.alpha_len = tokens.theta_len = tokens.eta_len = 1;
    return tokens;
}

float distance(const std::vector<float> &a, const std::vector<float> &b) {
    float worst = 0.0f;
    for (size_t i = 0; i < a.size(); i++) {
        worst = std::fmax(worst, std::fabs(a[i] - b[i]));
    }
    return worst;
}

void learns_and_recalls(titans::Memory &memory, const Pairs &pairs, const titans::Gates &gates) {
    std::array<float, PAIRS> surprise{};
    float first = 0.0f;
    for (int pass = 0; pass < 60; pass++) {
        REQUIRE(memory.write(tokens_of(pairs, gates), {}, surprise));
        if (pass == 0) {
            first = surprise[0];
        }
    }
    REQUIRE(surprise[0] < 1e-3f * first);
    std::vector<float> y(PAIRS * D);
    REQUIRE(memory.read(PAIRS, pairs.keys, y));
    REQUIRE(distance(y, pairs.values) < 0.05f);
}

void copies_go_on_alike(titans::Memory &memory, const titans::Config &config, const Pairs &pairs,
                        const titans::Gates &gates) {
    size_t bytes = 0, written = 0;
    REQUIRE(memory.saved_size(bytes));
    std::vector<unsigned char> saved(bytes);
    REQUIRE(memory.save(saved, written) && written == bytes);
    auto cloned = memory.clone();
    auto fresh = titans::Memory::create(config);
    REQUIRE(cloned && fresh && fresh->load(saved));
    std::vector<float> y[3];
    titans::Memory *memories[3] = {&memory, &*cloned, &*fresh};
    for (size_t i = 0; i < 3; i++) {
        y[i].resize(PAIRS * D);
        REQUIRE(memories[i]->write(tokens_of(pairs, gates), y[i]));
    }
    REQUIRE(y[0] == y[1] && y[0] == y[2]);
    saved.pop_back();
    titans::Status status = fresh->load(saved);
    REQUIRE(!status && status.code() == TITANS_ERROR_SAVED_LENGTH);
}

// The settings of the README: one token again and again.
void defaults_hold_on_equal_tokens() {
    titans::Config config;
    config->widths[0] = config->widths[1] = 4;
    auto made = titans::Memory::create(config);
    REQUIRE(made);
    const float key[4] = {0.5f, 0.5f, 0.5f, 0.5f}, value[4] = {0.3f, -0.5f, 0.1f, 0.9f};
    std::vector<float> answer(4);
    for (int t = 0; t < 20000; t++) {
        REQUIRE(made->step(key, value, {0.0f, 1.0f, 0.0f}, key, answer));
    }
    REQUIRE(distance(answer, std::vector<float>(value, value + 4)) < 1e-3f);
}

} // namespace

int main() {
    const Pairs pairs;
    const titans::Gates gates{0.0f, 0.25f, 0.2f};
    titans::Config config;
    config->widths[0] = config->widths[1] = static_cast<uint32_t>(D);
    config->chunk = 4;
    config->loss = TITANS_LOSS_SUM;

    auto made = titans::Memory::create(config);
    REQUIRE(made);
    titans::Memory memory = std::move(*made);
    REQUIRE(made->get() == nullptr); // moved from: no memory, and every call says so
    REQUIRE(made->reset().code() == TITANS_ERROR_NULL);
    REQUIRE(made->clone().status().code() == TITANS_ERROR_NULL);
    exhausted = refuses();
    REQUIRE(!exhausted || titans::Memory::create(config).status().code() == TITANS_ERROR_SYSTEM);
    REQUIRE(!exhausted || memory.clone().status().code() == TITANS_ERROR_SYSTEM);
    exhausted = false;
    learns_and_recalls(memory, pairs, gates);
    copies_go_on_alike(memory, config, pairs, gates);

    std::vector<float> answer(D);
    const titans::Span<const float> key(pairs.keys.data(), D), value(pairs.values.data(), D);
    REQUIRE(memory.step(key, value, gates, key, answer));
    float surprise = -1.0f;
    uint64_t position = 0;
    REQUIRE(memory.surprise(surprise) && surprise >= 0.0f);
    REQUIRE(memory.position(position) && position == 61 * PAIRS + 1);
    titans::Status wrong = memory.step(key, value, gates, key, titans::Span<float>(answer.data(), D - 1));
    REQUIRE(wrong.code() == TITANS_ERROR_LENGTH && wrong.info().arg == 11 && wrong.info().expected == D);

    REQUIRE(memory.step(key, value, gates, key, answer, &surprise) && surprise >= 0.0f);
    size_t size = 0, numbers = 0;
    REQUIRE(config.size(size) && config.parameters(numbers) && numbers == D * D && size % titans::Block::alignment == 0);
    const titans::Block room(size);
    const titans::Span<unsigned char> bytes(static_cast<unsigned char *>(room.data()), size);
    REQUIRE(titans::MemoryRef::create_in(bytes, config));
    auto found = titans::MemoryRef::attach_in(bytes, config);
    REQUIRE(found && found->step(key, value, gates) && found->position(position) && position == 1);
    REQUIRE(titans::MemoryRef::attach_in({bytes.data(), size - 1}, config).status().code() == TITANS_ERROR_BUFFER_TOO_SMALL);
    REQUIRE(titans::compatible() && titans::version()[0] != 0);
    const titans::Status own(TITANS_ERROR_LENGTH, 3);
    REQUIRE(!own && own.info().arg == 3 && own.message()[0] != 0);

    auto second = memory.clone();
    REQUIRE(second);
    memory = std::move(*second); // the first memory's buffer is freed here
    REQUIRE(memory.position(position) && position == 61 * PAIRS + 2);

    defaults_hold_on_equal_tokens();

    config->widths[1] = 0;
    auto refused = titans::Memory::create(config);
    REQUIRE(!refused && refused.status().code() == TITANS_ERROR_CONFIG);
    std::puts("memory.cpp: all held");
    return 0;
}
