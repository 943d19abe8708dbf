#include "lib/http/metrics.h"

#include <algorithm>
#include <charconv>

namespace workflow::http {

namespace {

std::string number(double value) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), end};
}

std::string label_text(const Labels& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += name + "=\"";
    for (char c : value) {
      if (c == '\n')
        text += "\\n";
      else if (c == '"' || c == '\\')
        text += std::string("\\") + c;
      else
        text += c;
    }
    text += '"';
  }
  return text;
}

std::string braced(const std::string& labels) { return labels.empty() ? "" : "{" + labels + "}"; }

void add_header(std::string& out, const std::string& name, const std::string& help, const char* type) {
  out += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

template <std::size_t N>
std::size_t bucket_of(const std::array<double, N>& bounds, double seconds) {
  return static_cast<std::size_t>(std::ranges::lower_bound(bounds, seconds) - bounds.begin());
}

// Prometheus's buckets are cumulative.
template <typename Bounds, typename Buckets>
void add_histogram(std::string& out, const std::string& name, const std::string& labels, const Bounds& bounds,
                   const Buckets& buckets, double sum) {
  const std::string prefix = labels.empty() ? "" : labels + ",";
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < buckets.size(); ++i) {
    total += buckets[i];
    const std::string bound = i < bounds.size() ? number(bounds[i]) : "+Inf";
    out += name + "_bucket{" + prefix + "le=\"" + bound + "\"} " + std::to_string(total) + "\n";
  }
  out += name + "_sum" + braced(labels) + " " + number(sum) + "\n";
  out += name + "_count" + braced(labels) + " " + std::to_string(total) + "\n";
}

double seconds_of(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

void Metrics::count(const std::string& name, const std::string& help, Labels labels, double by) {
  auto& family = counters_[name];
  family.help = help;
  family.series[label_text(labels)] += by;
}

void Metrics::gauge(const std::string& name, const std::string& help, std::function<double()> value, Labels labels) {
  auto& family = gauges_[name];
  family.help = help;
  family.series[label_text(labels)] = std::move(value);
}

void Metrics::observe(const std::string& name, const std::string& help, std::chrono::nanoseconds time, Labels labels) {
  auto& family = histograms_[name];
  family.help = help;
  auto& histogram = family.series[label_text(labels)];
  ++histogram.buckets[bucket_of(bounds, seconds_of(time))];
  histogram.sum += seconds_of(time);
}

std::string Metrics::text() const {
  std::string out;
  for (const auto& [name, family] : counters_) {
    add_header(out, name, family.help, "counter");
    for (const auto& [labels, value] : family.series) out += name + braced(labels) + " " + number(value) + "\n";
  }
  for (const auto& [name, family] : gauges_) {
    add_header(out, name, family.help, "gauge");
    for (const auto& [labels, value] : family.series) out += name + braced(labels) + " " + number(value()) + "\n";
  }
  for (const auto& [name, family] : histograms_) {
    add_header(out, name, family.help, "histogram");
    for (const auto& [labels, histogram] : family.series) {
      add_histogram(out, name, labels, bounds, histogram.buckets, histogram.sum);
    }
  }
  return out;
}

void RequestMetrics::add(std::string_view pattern, std::string_view method, int status, std::chrono::nanoseconds time) {
  auto by_method = by_pattern_.find(pattern);
  if (by_method == by_pattern_.end()) by_method = by_pattern_.try_emplace(std::string(pattern)).first;
  auto series = by_method->second.find(method);
  if (series == by_method->second.end()) series = by_method->second.try_emplace(std::string(method)).first;
  ++series->second.by_status[status];
  ++series->second.buckets[bucket_of(bounds, seconds_of(time))];
  series->second.sum += seconds_of(time);
}

std::string RequestMetrics::text() const {
  std::string counts, times;
  const std::string requests = "http_requests_total", durations = "http_request_duration_seconds";
  for (const auto& [pattern, by_method] : by_pattern_) {
    for (const auto& [method, series] : by_method) {
      const auto labels = label_text({{"pattern", pattern}, {"method", method}});
      for (const auto& [status, count] : series.by_status) {
        counts +=
            requests + "{" + labels + ",status=\"" + std::to_string(status) + "\"} " + std::to_string(count) + "\n";
      }
      add_histogram(times, durations, labels, bounds, series.buckets, series.sum);
    }
  }
  std::string out;
  add_header(out, requests, "Requests answered, by route.", "counter");
  out += counts;
  add_header(out, durations, "Time until the response's head was decided, by route.", "histogram");
  return out + times;
}

}  // namespace workflow::http
