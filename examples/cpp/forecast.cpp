// A forecaster that keeps learning online: a small model was trained on the first half of a sensor's series and
// forecasts the second, whose rhythm has changed, once with memories that learn from every value and once with memories
// that stay as they are.
//
//     forecast MODEL FILE.csv COLUMN
//
// MODEL is a run folder of `titans train --task series` on that column (--patch 1), or its blob. Errors are squares in
// deviations of the first half; the last one is that of saying the last value once more.
#include "csv.hpp"
#include <titans.hpp>

#include <numeric>

namespace {

// The mean square of what a stream forecasts wrong in the second half.
titans::Status forecast(const titans::Model &model, const std::vector<float> &series, bool learns, double &error) {
    titans::StreamConfig config;
    config->rows = 1; // values come one by one
    auto stream = titans::Stream::create(model, config);
    if (!stream) return stream.status();
    const size_t half = series.size() / 2;
    titans::Status status = stream->read_only(!learns);
    float forecast = 0;
    error = 0;
    for (size_t t = 0; status && t < series.size(); t++) {
        if (t >= half) error += std::pow(forecast - series[t], 2) / static_cast<double>(series.size() - half);
        status = stream->step_row(titans::Span<const float>(&series[t], 1), titans::Span<float>(&forecast, 1));
    }
    return status;
}

} // namespace

int main(int count, char **words) {
    if (count != 4) return std::fprintf(stderr, "forecast MODEL FILE.csv COLUMN\n"), 2;
    auto owned = titans::HostModel::open(words[1]);
    if (!owned) return std::fprintf(stderr, "%s\n", titans_host_error()), 1;
    auto model = owned->view();
    titans_model_info about{};
    titans::Status status = model.status();
    if (status) status = model->describe(about);
    if (!status) return std::fprintf(stderr, "%s\n", status.message()), 1;
    if (about.input != TITANS_INPUT_ROWS || about.input_size != 1 || about.outputs != 1) {
        return std::fprintf(stderr, "%s: expected a model of one number a row; leave the other columns out: titans train --leave-out\n", words[1]), 2;
    }
    std::vector<float> series = column(words[2], words[3]);
    const size_t half = series.size() / 2;
    const double mean = std::accumulate(series.begin(), series.begin() + static_cast<std::ptrdiff_t>(half), 0.0) / static_cast<double>(half);
    double square = 0, again = 0;
    for (size_t t = 0; t < half; t++) square += std::pow(series[t] - mean, 2) / static_cast<double>(half);
    for (float &x : series) x = static_cast<float>((x - mean) / std::sqrt(square));
    for (size_t t = half; t < series.size(); t++) again += std::pow(series[t] - series[t - 1], 2) / static_cast<double>(series.size() - half);
    double learning = 0, frozen = 0;
    status = forecast(*model, series, true, learning);
    if (status) status = forecast(*model, series, false, frozen);
    if (!status) return std::fprintf(stderr, "%s\n", status.message()), 1;
    std::printf("squared error of the second half: %.4f with writes, %.4f without, %.4f by the last value\n", learning, frozen, again);
}
