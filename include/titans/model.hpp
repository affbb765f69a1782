/* Models and streams of titans.h: borrowed, owned, or in an array of their own. */
#ifndef TITANS_MODEL_HPP
#define TITANS_MODEL_HPP

#include "core.hpp"

namespace titans {

/** A model over exported bytes that stay where they are. Copies are cheap and share them; any number of threads may
 * read it. */
class Model {
  public:
    /** No model: every call that is given it ends in TITANS_ERROR_UNINITIALISED. */
    Model() noexcept : model_() {}

    /** The model of a blob of `titans export`, which is checked whole, stays yours, and must stay as it is. */
    static Result<Model> open(Span<const unsigned char> blob) noexcept {
        Model model;
        Status status;
        titans_model_open(&model.model_, sizeof model.model_, TITANS_ABI_VERSION, blob.data(), blob.size(), status.out());
        if (!status) {
            return status;
        }
        return Result<Model>(std::move(model));
    }

    /** What it is: what it reads, its sizes, its checksum. */
    Status describe(titans_model_info &about) const noexcept {
        Status status;
        about.struct_size = sizeof about;
        titans_model_describe(&model_, &about, status.out());
        return status;
    }

    /** What block number `block` is. */
    Status describe(uint32_t block, titans_block_info &about) const noexcept {
        Status status;
        about.struct_size = sizeof about;
        titans_model_describe_block(&model_, block, &about, status.out());
        return status;
    }

    /** Bytes that save() of a stream needs at most. */
    Status saved_size(size_t &bytes) const noexcept {
        Status status;
        titans_stream_saved_size(&model_, &bytes, status.out());
        return status;
    }

    /** The model for calls of titans.h. */
    const titans_model *get() const noexcept { return &model_; }
    /** Where a call of titans.h fills it. */
    titans_model *out() noexcept { return &model_; }

  private:
    titans_model model_;
};

/** A configuration with the defaults of titans_stream_config_init; change its fields through ->. */
class StreamConfig {
  public:
    /** The defaults. */
    StreamConfig() noexcept : config_() {
        if (titans_stream_config_init(&config_, sizeof config_, TITANS_ABI_VERSION, nullptr) != TITANS_OK) {
            config_.struct_size = 0; // a library of another ABI: making a stream says so
        }
    }
    /** Its fields. */
    titans_stream_config *operator->() noexcept { return &config_; }
    /** Bytes of the buffer of a stream through `model`. */
    Status size(const Model &model, size_t &bytes) const noexcept {
        Status status;
        titans_stream_size(model.get(), &config_, &bytes, status.out());
        return status;
    }
    /** For calls of titans.h. */
    const titans_stream_config &get() const noexcept { return config_; }

  private:
    titans_stream_config config_;
};

/** A stream somewhere, and its model: one thread at a time. A default one is none, and every call of it ends in
 * TITANS_ERROR_NULL or TITANS_ERROR_UNINITIALISED. */
class StreamRef {
  public:
    StreamRef() noexcept = default;

    /** Makes a stream in a caller's buffer, aligned to 64, of at least titans_stream_size bytes; nothing is allocated.
     */
    static Result<StreamRef> create_in(Span<unsigned char> buffer, const Model &model, const StreamConfig &config = {}) noexcept {
        StreamRef stream;
        Status status = stream.init(buffer.data(), buffer.size(), model, config);
        if (!status) {
            return status;
        }
        return Result<StreamRef>(std::move(stream));
    }

    /** Finds the stream through that model whose bytes were copied to a buffer; see titans_stream_attach. */
    static Result<StreamRef> attach_in(Span<unsigned char> buffer, const Model &model) noexcept {
        StreamRef stream;
        Status status;
        stream.model_ = model;
        titans_stream_attach(buffer.data(), buffer.size(), model.get(), &stream.stream_, status.out());
        if (!status) {
            return status;
        }
        return Result<StreamRef>(std::move(stream));
    }

    /** Makes in a caller's buffer, of as many bytes as this one's, a second stream that stands where this one stands.
     */
    Result<StreamRef> fork_in(Span<unsigned char> buffer) const noexcept {
        StreamRef other;
        Status status;
        other.model_ = model_;
        titans_stream_fork(stream_, buffer.data(), buffer.size(), &other.stream_, status.out());
        if (!status) {
            return status;
        }
        return Result<StreamRef>(std::move(other));
    }

    /** Feeds token ids [n]; `outputs` [n, outputs] and `surprise` [n, memories] may be empty. */
    Status push(Span<const uint32_t> ids, Span<float> outputs = {}, Span<float> surprise = {}) noexcept {
        Status status;
        titans_stream_push(stream_, model_.get(), ids.data(), ids.size(), outputs.data(), outputs.size(),
                           surprise.data(), surprise.size(), status.out());
        return status;
    }

    /** Feeds rows of numbers [n, input size]. */
    Status push_rows(Span<const float> rows, Span<float> outputs = {}, Span<float> surprise = {}) noexcept {
        Status status;
        titans_stream_push_rows(stream_, model_.get(), rows.data(), rows.size(), outputs.data(), outputs.size(),
                                surprise.data(), surprise.size(), status.out());
        return status;
    }

    /** Feeds one token id. */
    Status step(uint32_t id, Span<float> outputs = {}, Span<float> surprise = {}) noexcept {
        Status status;
        titans_stream_step(stream_, model_.get(), id, outputs.data(), outputs.size(), surprise.data(), surprise.size(),
                           status.out());
        return status;
    }

    /** Feeds one row of numbers [input size]. */
    Status step_row(Span<const float> row, Span<float> outputs = {}, Span<float> surprise = {}) noexcept {
        Status status;
        titans_stream_step_row(stream_, model_.get(), row.data(), row.size(), outputs.data(), outputs.size(),
                               surprise.data(), surprise.size(), status.out());
        return status;
    }

    /** Starts anew. */
    Status reset() noexcept {
        Status status;
        titans_stream_reset(stream_, model_.get(), status.out());
        return status;
    }

    /** Whether the memories stay as they are from the next token on. */
    Status read_only(bool on) noexcept {
        Status status;
        titans_stream_read_only(stream_, model_.get(), on ? 1 : 0, status.out());
        return status;
    }

    /** Where it stands: tokens, clipped gradients, refused tokens, mode. */
    Status describe(titans_stream_info &about) const noexcept {
        Status status;
        about.struct_size = sizeof about;
        titans_stream_describe(stream_, &about, status.out());
        return status;
    }

    /** Tokens taken. */
    Status position(uint64_t &value) const noexcept {
        Status status;
        titans_stream_position(stream_, &value, status.out());
        return status;
    }

    /** The stream as bytes that may travel, also to `titans stream --state`; Model::saved_size are enough. */
    Status save(Span<unsigned char> bytes, size_t &written) noexcept {
        Status status;
        titans_stream_save(stream_, model_.get(), bytes.data(), bytes.size(), &written, status.out());
        return status;
    }

    /** Goes on where a saved stream of the same model was. */
    Status load(Span<const unsigned char> bytes) noexcept {
        Status status;
        titans_stream_load(stream_, model_.get(), bytes.data(), bytes.size(), status.out());
        return status;
    }

    /** A token that a loaded state had read and not fed: UINT32_MAX for none. `numbers`, of the input size, receives
     * those of an open row. */
    Status waiting(uint32_t &token, Span<float> numbers, size_t &count) const noexcept {
        Status status;
        titans_stream_waiting(stream_, &token, numbers.data(), numbers.size(), &count, status.out());
        return status;
    }

    /** The stream for calls of titans.h. */
    titans_stream *get() noexcept { return stream_; }
    /** Its model. */
    const Model &model() const noexcept { return model_; }

  protected:
    /** titans_stream_init. */
    Status init(void *buffer, size_t bytes, const Model &model, const StreamConfig &config) noexcept {
        Status status;
        model_ = model;
        titans_stream_init(buffer, bytes, model.get(), &config.get(), &stream_, status.out());
        return status;
    }

    titans_stream *stream_ = nullptr; /**< The stream. */
    Model model_;                     /**< Its model. */
};

/** A stream that owns its buffer. Move-only; one thread at a time. */
class Stream : public StreamRef {
  public:
    /** No stream. */
    Stream() noexcept = default;
    Stream(Stream &&other) noexcept { swap(other); }
    Stream &operator=(Stream &&other) noexcept {
        Stream(std::move(other)).swap(*this);
        return *this;
    }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    /** A stream before its first token. TITANS_ERROR_SYSTEM where there is no room. */
    static Result<Stream> create(const Model &model, const StreamConfig &config = {}) noexcept {
        Stream stream;
        size_t bytes = 0;
        Status status = config.size(model, bytes);
        if (!status) {
            return status;
        }
        stream.block_ = Block(bytes);
        if (stream.block_.data() == nullptr) {
            return Status(TITANS_ERROR_SYSTEM, 0);
        }
        status = stream.init(stream.block_.data(), bytes, model, config);
        if (!status) {
            return status;
        }
        return Result<Stream>(std::move(stream));
    }

    /** A second stream that stands where this one stands; both go on independently. TITANS_ERROR_SYSTEM as create. */
    Result<Stream> fork() const noexcept {
        Stream other;
        Status status;
        if (block_.size() > 0) {
            other.block_ = Block(block_.size());
            if (other.block_.data() == nullptr) {
                return Status(TITANS_ERROR_SYSTEM, 0);
            }
        }
        other.model_ = model_;
        titans_stream_fork(stream_, other.block_.data(), other.block_.size(), &other.stream_, status.out());
        if (!status) {
            return status;
        }
        return Result<Stream>(std::move(other));
    }

    /** Exchanges two streams. */
    void swap(Stream &other) noexcept {
        block_.swap(other.block_);
        std::swap(stream_, other.stream_);
        std::swap(model_, other.model_);
    }

  private:
    Block block_;
};

/** A stream in an array of `Bytes` bytes: for globals of microcontrollers. It stays where it is. */
template <size_t Bytes> class StaticStream : public StreamRef {
  public:
    StaticStream() noexcept = default;
    StaticStream(const StaticStream &) = delete;
    StaticStream &operator=(const StaticStream &) = delete;

    /** Makes the stream; once more makes it anew. TITANS_ERROR_BUFFER_TOO_SMALL says how many bytes it wants. */
    Status start(const Model &model, const StreamConfig &config = {}) noexcept { return init(bytes_, Bytes, model, config); }

  private:
    alignas(Block::alignment) unsigned char bytes_[Bytes]{};
};

} // namespace titans

#endif // TITANS_MODEL_HPP
