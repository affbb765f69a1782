// Surprise as an anomaly score: a memory learns, value by value, how a sensor goes on after its last 24 values; where
// it is wrong by far more than usual, something happened. Nothing is trained beforehand, nothing is labelled.
//
//     anomaly FILE.csv COLUMN [--labels COLUMN | --plant N]
//
// prints the most surprising places. With labels (0 or 1) or with N planted faults it says how many of them are found
// among as many places as there are faults, and what two usual scores find: the size of the last change, and the
// distance from the mean.
#include "csv.hpp"
#include <titans.hpp>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>

namespace {

constexpr size_t past = 24; // values that the memory sees
constexpr size_t near = 8;  // a fault is found by a place at most so far behind its beginning

struct Scores {
    std::vector<double> surprise, change, distance;
};

// A mean and a deviation that follow the series.
struct Running {
    double mean = 0, square = 1;
    size_t n = 0;
    double standardise(double x) const { return (x - mean) / std::sqrt(std::max(square, 1e-12)); }
    void see(double x) {
        double rate = std::max(1.0 / static_cast<double>(++n), 0.002);
        square = n == 1 ? 1 : (1 - rate) * (square + rate * (x - mean) * (x - mean));
        mean += rate * (x - mean);
    }
};

titans::Status score(const std::vector<float> &series, Scores &scores) {
    titans::Config config;
    config->widths[0] = past + 1;
    config->widths[1] = 1;
    config->compute_chunk = 1; // values come one by one
    auto memory = titans::Memory::create(config);
    if (!memory) return memory.status();
    Running level, usual;
    std::vector<float> window(past, 0.0f), key(past + 1);
    for (size_t t = 0; t < series.size(); t++) {
        double x = std::clamp(level.standardise(series[t]), -6.0, 6.0);
        float length = 1.0f;
        for (float w : window) length += w * w;
        for (size_t i = 0; i < past; i++) key[i] = window[i] / std::sqrt(length); // keys of length 1, one number for the mean
        key[past] = 1.0f / std::sqrt(length);
        float value = (static_cast<float>(x) - window.back()) / std::sqrt(length), surprise = 0; // how it goes on
        titans::Status status = memory->step(key, titans::Span<const float>(&value, 1), {0.0005f, 0.1f, 0.0f});
        if (status) status = memory->surprise(surprise);
        if (!status) return status;
        double wrong = std::sqrt(2.0 * surprise * length); // in deviations of the series
        bool known = t > 4 * past;
        scores.surprise.push_back(known ? wrong / std::sqrt(usual.square + usual.mean * usual.mean) : 0);
        scores.change.push_back(known ? std::fabs(x - window.back()) : 0);
        scores.distance.push_back(known ? std::fabs(x) : 0);
        usual.see(std::min(wrong, 4 * std::sqrt(usual.square + usual.mean * usual.mean) + 1e-6));
        level.see(series[t]);
        std::rotate(window.begin(), window.begin() + 1, window.end());
        window.back() = static_cast<float>(x);
    }
    return {};
}

// The n highest places, `near` and more apart.
std::vector<size_t> highest(const std::vector<double> &scores, size_t n) {
    std::vector<size_t> order(scores.size()), taken;
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
    for (size_t place : order) {
        auto close = [&](size_t other) { return (place > other ? place - other : other - place) <= near; };
        if (taken.size() < n && std::none_of(taken.begin(), taken.end(), close)) taken.push_back(place);
    }
    return taken;
}

size_t found(const std::vector<double> &scores, const std::vector<size_t> &faults) {
    size_t count = 0;
    const std::vector<size_t> places = highest(scores, faults.size());
    for (size_t fault : faults) {
        count += std::any_of(places.begin(), places.end(), [&](size_t p) { return p >= fault && p <= fault + near; });
    }
    return count;
}

// Plants faults into a series: by turns one value off by a part of the series' deviation, and a sensor that is stuck
// for eight values.
std::vector<size_t> plant(std::vector<float> &series, size_t n) {
    double mean = std::accumulate(series.begin(), series.end(), 0.0) / static_cast<double>(series.size()), square = 0;
    for (float x : series) square += (x - mean) * (x - mean);
    double deviation = std::sqrt(square / static_cast<double>(series.size()));
    std::mt19937 random(7);
    std::vector<size_t> faults;
    size_t begin = 8 * past, room = (series.size() - begin) / std::max<size_t>(n, 1);
    for (size_t i = 0; i < n && room > 4 * near; i++) {
        size_t at = begin + i * room + random() % (room - 4 * near);
        if (i % 2 == 0) series[at] += static_cast<float>((random() % 2 ? 0.8 : -0.8) * deviation);
        else std::fill_n(series.begin() + static_cast<std::ptrdiff_t>(at), 8, series[at - 1]);
        faults.push_back(at);
    }
    return faults;
}

} // namespace

int main(int count, char **words) {
    if (count != 3 && count != 5) return std::fprintf(stderr, "anomaly FILE.csv COLUMN [--labels COLUMN | --plant N]\n"), 2;
    std::vector<float> series = column(words[1], words[2]);
    std::vector<size_t> faults;
    if (count == 5 && std::strcmp(words[3], "--labels") == 0) {
        const std::vector<float> labels = column(words[1], words[4]);
        for (size_t t = 1; t < labels.size(); t++) {
            if (labels[t] > 0.5f && labels[t - 1] < 0.5f) faults.push_back(t);
        }
    } else if (count == 5) {
        faults = plant(series, std::strtoul(words[4], nullptr, 10));
    }
    Scores scores;
    titans::Status status = score(series, scores);
    if (!status) return std::fprintf(stderr, "%s\n", status.message()), 1;
    for (size_t place : highest(scores.surprise, 5)) std::printf("row %zu: surprise %.1f times the usual\n", place, scores.surprise[place]);
    if (!faults.empty()) {
        std::printf("of %zu faults among %zu values, surprise finds %zu, the last change %zu, the distance from the mean %zu\n", faults.size(),
                    series.size(), found(scores.surprise, faults), found(scores.change, faults), found(scores.distance, faults));
    }
}
