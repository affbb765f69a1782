// Many sessions on threads with one model: every thread reads its own text with a stream of its own, which learns from
// nothing else, and the same once more by one call on as many threads. One after another gives the same numbers.
//
//     sessions MODEL [THREADS]
//
// MODEL is a run folder of `titans train --task text`, a checkpoint, or a blob, of bytes.
#include <titans.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

namespace {

// What bytes cost in nats, by a stream of titans.h: model shared, everything else the thread's own.
titans::Status cost(const titans::Model &model, const std::string &bytes, double &nats) {
    titans::StreamConfig config;
    config->rows = 1; // bytes come one by one
    auto stream = titans::Stream::create(model, config);
    if (!stream) return stream.status();
    std::vector<float> logits(256);
    nats = 0;
    for (size_t t = 0; t < bytes.size(); t++) {
        const auto byte = static_cast<unsigned char>(bytes[t]);
        if (t > 0) {
            double top = logits[0], sum = 0;
            for (float x : logits) top = std::fmax(top, x);
            for (float x : logits) sum += std::exp(x - top);
            nats += top + std::log(sum) - logits[byte];
        }
        titans::Status status = stream->step(byte, logits);
        if (!status) return status;
    }
    return {};
}

} // namespace

int main(int count, char **words) {
    if (count < 2 || count > 3) return std::fprintf(stderr, "sessions MODEL [THREADS]\n"), 2;
    const size_t threads = count == 3 ? std::strtoul(words[2], nullptr, 10) : 4;
    auto owned = titans::HostModel::open(words[1]);
    if (!owned) return std::fprintf(stderr, "%s\n", titans_host_error()), 1;
    auto model = owned->view();
    if (!model) return std::fprintf(stderr, "%s\n", model.status().message()), 1;

    std::vector<std::string> texts(threads);
    for (size_t i = 0; i < threads; i++) {
        for (size_t line = 0; line < 8; line++) texts[i] += "Session " + std::to_string(i) + " says the same thing " + std::to_string(line * i) + " times.\n";
    }
    std::vector<double> apart(threads), alone(threads);
    std::vector<titans::Status> ends(threads);
    std::vector<std::thread> workers;
    for (size_t i = 0; i < threads; i++) {
        workers.emplace_back([&, i] { ends[i] = cost(*model, texts[i], apart[i]); });
    }
    for (std::thread &worker : workers) worker.join();

    std::vector<titans::Text> readers;
    std::vector<titans_text_read> reads(threads);
    for (size_t i = 0; i < threads; i++) {
        auto text = titans::Text::open(*owned);
        if (!text) return std::fprintf(stderr, "%s\n", titans::host_error()), 1;
        readers.push_back(std::move(*text));
    }
    titans::Status together = titans::Text::feed_all(readers, texts, static_cast<uint32_t>(threads), reads);
    if (!together) return std::fprintf(stderr, "%s\n", titans::host_error()), 1;

    bool same = true;
    for (size_t i = 0; i < threads; i++) {
        titans::Status status = cost(*model, texts[i], alone[i]);
        if (!ends[i] || !status) return std::fprintf(stderr, "%s\n", (ends[i] ? status : ends[i]).message()), 1;
        same = same && apart[i] == alone[i] && std::fabs(reads[i].nats - alone[i]) < 1e-3 * (1 + alone[i]);
        std::printf("session %zu: %.4f bits a byte\n", i, alone[i] / std::log(2.0) / static_cast<double>(texts[i].size() - 1));
    }
    std::printf("%zu sessions on %zu threads: %s\n", threads, threads, same ? "the numbers of one after another" : "OTHER NUMBERS");
    return same ? 0 : 1;
}
