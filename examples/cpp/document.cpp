// A text model that adapts to your document: bits a byte on its second half without learning, learning as it reads, and
// having read the first half too; and a continuation before and after.
//
//     document MODEL DOCUMENT [TOKENS]
//
// MODEL is a run folder of `titans train --task text`, a checkpoint, or a blob.
#include <titans.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace {

// The whole sentence, of which a status has the beginning.
int fail() { return std::fprintf(stderr, "%s\n", titans_host_error()), 1; }

void log(void *, int32_t, const char *line) { std::fprintf(stderr, "%s\n", line); }

// Bits a byte of `bytes`, by a fork that learns from them as it reads, or does not.
titans::Status measure(const titans::Text &text, const std::string &bytes, bool learns, double &bits) {
    auto fork = text.fork();
    if (!fork) return fork.status();
    titans::Status status = fork->read_only(!learns);
    titans_text_read read{};
    if (status) status = fork->feed(bytes, read);
    bits = read.nats / std::log(2.0) / static_cast<double>(read.predicted_bytes);
    return status;
}

titans::Status go_on(titans::Text &text, size_t tokens, std::string &written) {
    return text.write(tokens, false, [&](titans::Span<const unsigned char> bytes) {
        written.append(bytes.begin(), bytes.end());
        return true;
    });
}

} // namespace

int main(int count, char **words) {
    if (count < 3 || count > 4) return std::fprintf(stderr, "document MODEL DOCUMENT [TOKENS]\n"), 2;
    std::ifstream file(words[2], std::ios::binary);
    const std::string document{std::istreambuf_iterator<char>(file), {}};
    if (document.size() < 4) return std::fprintf(stderr, "%s: cannot be read, or is too short\n", words[2]), 2;
    const std::string first = document.substr(0, document.size() / 2), second = document.substr(document.size() / 2);
    const size_t tokens = count == 4 ? std::strtoul(words[3], nullptr, 10) : 200;

    titans::HostOptions options;
    options->log = log;
    auto model = titans::HostModel::open(words[1], options);
    if (!model) return fail();
    auto fresh = titans::Text::open(*model), adapted = titans::Text::open(*model);
    if (!fresh || !adapted) return fail();
    double still = 0, learning = 0, after = 0;
    std::string strange, familiar;
    titans::Status status = measure(*fresh, second, false, still);
    if (status) status = measure(*fresh, second, true, learning);
    if (status) status = adapted->feed(first);
    if (status) status = measure(*adapted, second, true, after);
    if (status) status = go_on(*fresh, tokens, strange);
    if (status) status = go_on(*adapted, tokens, familiar);
    if (!status) return fail();
    std::printf("bits a byte of the second half: %.4f without learning, %.4f learning as it reads, ", still, learning);
    std::printf("%.4f having read the first too\n", after);
    std::printf("before: %s\nafter: %s\n", strange.c_str(), familiar.c_str());
}
