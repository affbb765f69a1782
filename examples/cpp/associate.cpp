// Associate and recall: twelve random pairs, learned in passes of one step each, each recalled from its key.
#include <titans.hpp>

#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

int main() {
    constexpr size_t pairs = 12, width = 32;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    std::vector<float> keys(pairs * width), values(pairs * width), recalled(pairs * width);
    for (size_t p = 0; p < pairs; p++) { // keys of length 1, values of any
        float length = 0;
        for (size_t i = p * width; i < (p + 1) * width; i++) {
            keys[i] = normal(random), values[i] = normal(random), length += keys[i] * keys[i];
        }
        for (size_t i = p * width; i < (p + 1) * width; i++) keys[i] /= std::sqrt(length);
    }
    titans::Config config;
    config->widths[0] = config->widths[1] = width;
    auto memory = titans::Memory::create(config);
    titans::Status status = memory.status();
    auto row = [](const std::vector<float> &rows, size_t p) { return titans::Span<const float>(&rows[p * width], width); };
    for (size_t step = 0; status && step < 20 * pairs; step++) {
        status = memory->step(row(keys, step % pairs), row(values, step % pairs), {0.0f, 1.0f, 0.0f}); // forget, learn, carry on
    }
    if (status) status = memory->read(pairs, keys, recalled);
    if (!status) return std::fprintf(stderr, "%s\n", status.message()), 1;
    double error = 0, power = 0;
    for (size_t i = 0; i < values.size(); i++) error += std::pow(recalled[i] - values[i], 2), power += values[i] * values[i];
    std::printf("recalled %zu pairs: %.4f %% of their power is missing\n", pairs, 100 * error / power);
}
