// src/lib/http/metrics.h: counters, gauges and histograms as Prometheus text (exposition format 0.0.4).
//   One thread at a time: like everything of a component, it belongs to one loop.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace workflow::http {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Metrics {
 public:
  void count(const std::string& name, const std::string& help, Labels labels = {}, double by = 1);
  void gauge(const std::string& name, const std::string& help, std::function<double()> value, Labels labels = {});
  void observe(const std::string& name, const std::string& help, std::chrono::nanoseconds time, Labels labels = {});
  std::string text() const;

 private:
  static constexpr std::array bounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0};
  struct Histogram {
    std::array<std::uint64_t, bounds.size() + 1> buckets{};  // the last: +Inf
    double sum = 0;
  };
  template <typename Value>
  struct Family {
    std::string help;
    std::map<std::string, Value> series;  // by rendered labels
  };
  std::map<std::string, Family<double>> counters_;
  std::map<std::string, Family<std::function<double()>>> gauges_;
  std::map<std::string, Family<Histogram>> histograms_;
};

// What a Router knows of the requests it dispatched: count by pattern, method and status, and durations by pattern.
// Cheap per request: no text is made before it is asked for.
class RequestMetrics {
 public:
  void add(std::string_view pattern, std::string_view method, int status, std::chrono::nanoseconds time);
  std::string text() const;

 private:
  static constexpr std::array bounds = {0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0};
  struct Series {
    std::map<int, std::uint64_t> by_status;
    std::array<std::uint64_t, bounds.size() + 1> buckets{};
    double sum = 0;
  };
  std::map<std::string, std::map<std::string, Series, std::less<>>, std::less<>> by_pattern_;
};

}  // namespace workflow::http
