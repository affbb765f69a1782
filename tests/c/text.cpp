// Texts through titans.hpp: opened, read alone and together, forked, written, kept, refused; without exceptions. The
// path of a model of bytes is the argument.
#include "titans.hpp"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

void require(bool holds, const char *what, int line) {
    if (!holds) {
        std::fprintf(stderr, "line %d: not so: %s (%s)\n", line, what, titans::host_error());
        std::exit(1);
    }
}
#define REQUIRE(x) require(static_cast<bool>(x), #x, __LINE__)

void several_at_once(const titans::HostModel &model) {
    const std::vector<std::string> pages = {"one page", "another page, and more of it", ""};
    std::vector<titans::Text> texts;
    std::vector<double> alone;
    for (const std::string &page : pages) {
        auto text = titans::Text::open(model), other = titans::Text::open(model);
        titans_text_read read{};
        REQUIRE(text && other && other->feed(page, read) && read.tokens == page.size());
        alone.push_back(read.nats);
        texts.push_back(std::move(*text));
    }
    std::vector<titans_text_read> reads(pages.size());
    REQUIRE(titans::Text::feed_all(texts, pages, 2, reads));
    for (size_t i = 0; i < pages.size(); i++) {
        REQUIRE(reads[i].nats == alone[i] && reads[i].bytes == pages[i].size());
    }
    REQUIRE(titans::Text::feed_all(texts, pages, 1));
    REQUIRE(titans::Text::feed_all(texts, pages, 0).code() == TITANS_ERROR_CONFIG);
    reads.pop_back();
    REQUIRE(titans::Text::feed_all(texts, pages, 1, reads).code() == TITANS_ERROR_LENGTH);
    texts.pop_back();
    REQUIRE(titans::Text::feed_all(texts, pages, 1).code() == TITANS_ERROR_LENGTH);
    texts.clear();
    REQUIRE(titans::Text::feed_all(texts, std::vector<std::string>{}, 1));
}

void writes_and_stops(titans::Text &text) {
    std::string said;
    size_t written = 77;
    const auto add = [&said](titans::Span<const unsigned char> bytes) {
        said.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
        return said.size() < 5;
    };
    REQUIRE(text.write(3, false, add, &written) && written == 3 && said.size() == 3);
    REQUIRE(text.write(30, false, add, &written) && written == 2 && said.size() == 5);
    REQUIRE(text.write(1, true, add));
    unsigned char bytes[4] = {9, 9, 9, 9};
    size_t len = 0, count = 0;
    REQUIRE(text.vocabulary(count) && count == 256);
    REQUIRE(text.token(65, bytes, len) && len == 1 && bytes[0] == 'A' && bytes[1] == 9);
    REQUIRE(text.token(66, {}, len) && len == 1);
    REQUIRE(text.token(256, bytes, len).code() == TITANS_ERROR_TOKEN_RANGE);
}

} // namespace

int main(int count, char **words) {
    REQUIRE(count == 2);
    REQUIRE(titans::HostModel::open("/nowhere").status().code() == TITANS_ERROR_IO && titans::host_error()[0] != 0);
    titans::HostOptions options;
    options->threads = 1;
    auto opened = titans::HostModel::open(words[1], options);
    REQUIRE(opened);
    const titans::HostModel model = std::move(*opened);
    auto view = model.view();
    titans_model_info about{};
    REQUIRE(view && view->describe(about) && about.outputs == 256);
    const std::string copy = std::string(words[1]) + ".copy", state = copy + ".state";
    REQUIRE(model.save_blob(copy.c_str()) && titans::HostModel::open(copy.c_str()));
    several_at_once(model);
    titans::TextConfig config;
    config->temperature = 0;
    auto made = titans::Text::open(model, config);
    REQUIRE(made);
    titans::Text text = std::move(*made);
    REQUIRE(made->reset().code() == TITANS_ERROR_NULL && made->fork().status().code() == TITANS_ERROR_NULL);
    REQUIRE(text.feed(std::string("a text")));
    uint64_t position = 0;
    REQUIRE(text.position(position) && position == 6 && text.save(state.c_str()));
    auto fork = text.fork();
    REQUIRE(fork && fork->read_only(true));
    std::vector<double> odds(256), again(256);
    REQUIRE(text.next(odds) && fork->next(again) && odds == again);
    writes_and_stops(text);
    REQUIRE(text.reset() && text.load(state.c_str()) && text.next(again) && odds == again);
    REQUIRE(text.load("/nowhere").code() == TITANS_ERROR_IO);
    REQUIRE(text.next(titans::Span<double>(odds.data(), 3)).code() == TITANS_ERROR_LENGTH);
    std::remove(copy.c_str());
    std::remove(state.c_str());
    std::puts("text.cpp: all held");
    return 0;
}
