/* Models by their path, and texts: the tier of titans.h with an operating system. */
#ifndef TITANS_TEXT_HPP
#define TITANS_TEXT_HPP

#include "model.hpp"

#if defined(TITANS_HOST)

namespace titans {

/** The whole sentence of the last failure of this tier in this thread; "" before the first. */
inline const char *host_error() noexcept { return titans_host_error(); }

/** Options with the defaults of titans_host_options_init; change its fields through ->. */
class HostOptions {
  public:
    /** The defaults. */
    HostOptions() noexcept : options_() {
        if (titans_host_options_init(&options_, sizeof options_, TITANS_ABI_VERSION, nullptr) != TITANS_OK) {
            options_.struct_size = 0; // a library of another ABI: opening says so
        }
    }
    /** Its fields. */
    titans_host_options *operator->() noexcept { return &options_; }
    /** For calls of titans.h. */
    const titans_host_options &get() const noexcept { return options_; }

  private:
    titans_host_options options_;
};

/** A configuration with the defaults of titans_text_config_init; change its fields through ->. */
class TextConfig {
  public:
    /** The defaults. */
    TextConfig() noexcept : config_() {
        if (titans_text_config_init(&config_, sizeof config_, TITANS_ABI_VERSION, nullptr) != TITANS_OK) {
            config_.struct_size = 0; // a library of another ABI: opening says so
        }
    }
    /** Its fields. */
    titans_text_config *operator->() noexcept { return &config_; }
    /** For calls of titans.h. */
    const titans_text_config &get() const noexcept { return config_; }

  private:
    titans_text_config config_;
};

/** A model from a run folder, a checkpoint or a blob, owned. Move-only; any number of threads may read it. */
class HostModel {
  public:
    /** No model. */
    HostModel() noexcept = default;
    HostModel(HostModel &&other) noexcept { std::swap(model_, other.model_); }
    HostModel &operator=(HostModel &&other) noexcept {
        HostModel moved(std::move(other));
        std::swap(model_, moved.model_);
        return *this;
    }
    HostModel(const HostModel &) = delete;
    HostModel &operator=(const HostModel &) = delete;
    ~HostModel() { titans_host_close(model_); }

    /** Opens what lies at `path`. host_error() has the whole sentence of a failure. */
    static Result<HostModel> open(const char *path, const HostOptions &options = {}) noexcept {
        HostModel model;
        Status status;
        titans_host_open(path, &options.get(), &model.model_, status.out());
        if (!status) {
            return status;
        }
        return Result<HostModel>(std::move(model));
    }

    /** The model for streams; it holds for as long as this one. */
    Result<Model> view() const noexcept {
        Model view;
        Status status;
        titans_host_view(model_, view.out(), sizeof *view.out(), TITANS_ABI_VERSION, status.out());
        if (!status) {
            return status;
        }
        return Result<Model>(std::move(view));
    }

    /** Writes it as `titans export` does. */
    Status save_blob(const char *path) const noexcept {
        Status status;
        titans_host_save_blob(model_, path, status.out());
        return status;
    }

    /** The model for calls of titans.h. */
    const titans_host_model *get() const noexcept { return model_; }

  private:
    titans_host_model *model_ = nullptr;
};

/** A text that a model reads, learns from, and goes on with: a session. Move-only; one thread at a time. */
class Text {
  public:
    /** No text. */
    Text() noexcept = default;
    Text(Text &&other) noexcept { std::swap(text_, other.text_); }
    Text &operator=(Text &&other) noexcept {
        Text moved(std::move(other));
        std::swap(text_, moved.text_);
        return *this;
    }
    Text(const Text &) = delete;
    Text &operator=(const Text &) = delete;
    ~Text() { titans_text_close(text_); }

    /** Before the first byte. The model may be closed before the text. */
    static Result<Text> open(const HostModel &model, const TextConfig &config = {}) noexcept {
        Text text;
        Status status;
        titans_text_open(model.get(), &config.get(), &text.text_, status.out());
        if (!status) {
            return status;
        }
        return Result<Text>(std::move(text));
    }

    /** Reads bytes of a text, a std::string for instance; `read` says what they cost, also after an error. */
    template <class Bytes> Status feed(const Bytes &bytes, titans_text_read &read) noexcept {
        static_assert(sizeof(*bytes.data()) == 1, "a container of bytes");
        Status status;
        read.struct_size = sizeof read;
        titans_text_feed(text_, bytes.data(), bytes.size(), &read, status.out());
        return status;
    }

    /** Reads bytes of a text. */
    template <class Bytes> Status feed(const Bytes &bytes) noexcept {
        titans_text_read read{};
        return feed(bytes, read);
    }

    /** Reads several texts at once, each its own bytes, on `threads` threads that end with the call. `texts` is a
     * container of Text, `pages` one of as many containers of bytes; `reads`, if it is not empty, receives what each
     * text's bytes cost, also after an error. */
    template <class Texts, class Pages>
    static Status feed_all(Texts &texts, const Pages &pages, uint32_t threads, Span<titans_text_read> reads = {}) noexcept {
        static_assert(sizeof(*pages.data()->data()) == 1, "containers of bytes");
        const size_t count = texts.size();
        if (pages.size() != count) {
            return Status(TITANS_ERROR_LENGTH, 2);
        }
        if (reads.size() != 0 && reads.size() != count) {
            return Status(TITANS_ERROR_LENGTH, 6);
        }
        const Block block(count * (sizeof(titans_text *) + sizeof(const void *) + sizeof(size_t)) + 1);
        if (block.data() == nullptr) {
            return Status(TITANS_ERROR_SYSTEM, 0);
        }
        auto *handles = static_cast<titans_text **>(block.data());
        auto *bytes = static_cast<const void **>(static_cast<void *>(handles + count));
        auto *lens = static_cast<size_t *>(static_cast<void *>(bytes + count));
        for (size_t i = 0; i < count; i++) {
            new (handles + i) titans_text *(texts.data()[i].get());
            new (bytes + i) const void *(pages.data()[i].data());
            new (lens + i) size_t(pages.data()[i].size());
        }
        for (titans_text_read &read : reads) {
            read.struct_size = sizeof read;
        }
        Status status;
        titans_text_feed_all(handles, bytes, lens, count, threads, reads.data(), status.out());
        return status;
    }

    /** The bytes that token `id` stands for: to `bytes`, their number to `len`. No `bytes` asks for the number alone.
     */
    Status token(uint32_t id, Span<unsigned char> bytes, size_t &len) const noexcept {
        Status status;
        titans_text_token(text_, id, bytes.data(), bytes.size(), &len, status.out());
        return status;
    }

    /** Ids of the vocabulary. */
    Status vocabulary(size_t &count) const noexcept {
        Status status;
        titans_text_vocabulary(text_, &count, status.out());
        return status;
    }

    /** The probability of every token that may come next [vocabulary]. */
    Status next(Span<double> probabilities) const noexcept {
        Status status;
        titans_text_next(text_, probabilities.data(), probabilities.size(), status.out());
        return status;
    }

    /** Writes up to `tokens` tokens; `each` is called with a Span<const unsigned char> of each one's bytes and returns
     * whether to go on. With `keep` the model reads what it writes, without it the text stays where it is. `written`,
     * if it is not null, is how many there were, also after an error on the way. */
    template <class Each> Status write(size_t tokens, bool keep, Each &&each, size_t *written = nullptr) noexcept {
        using Function = std::remove_reference_t<Each>;
        Status status;
        const titans_bytes_fn call = [](void *user, const uint8_t *bytes, size_t len) noexcept -> int32_t {
            return (*static_cast<Function *>(user))(Span<const unsigned char>(bytes, len)) ? 0 : 1;
        };
        void *user = const_cast<void *>(static_cast<const void *>(&each));
        titans_text_write(text_, tokens, keep ? 1 : 0, call, user, written, status.out());
        return status;
    }

    /** A second text that stands where this one stands. */
    Result<Text> fork() const noexcept {
        Text other;
        Status status;
        titans_text_fork(text_, &other.text_, status.out());
        if (!status) {
            return status;
        }
        return Result<Text>(std::move(other));
    }

    /** Begins anew. */
    Status reset() noexcept {
        Status status;
        titans_text_reset(text_, status.out());
        return status;
    }

    /** Whether the memories stay as they are from the next token on. */
    Status read_only(bool on) noexcept {
        Status status;
        titans_text_read_only(text_, on ? 1 : 0, status.out());
        return status;
    }

    /** Tokens read. */
    Status position(uint64_t &value) const noexcept {
        Status status;
        titans_text_position(text_, &value, status.out());
        return status;
    }

    /** Writes where it stands to a file, as `titans stream --state` does. */
    Status save(const char *path) noexcept {
        Status status;
        titans_text_save(text_, path, status.out());
        return status;
    }

    /** Goes on from such a file. */
    Status load(const char *path) noexcept {
        Status status;
        titans_text_load(text_, path, status.out());
        return status;
    }

    /** The text for calls of titans.h. */
    titans_text *get() noexcept { return text_; }

  private:
    titans_text *text_ = nullptr;
};

} // namespace titans

#endif // TITANS_HOST

#endif // TITANS_TEXT_HPP
