#include "router/traffic.h"

#include <array>
#include <cstdint>
#include <utility>

namespace workflow::router {
namespace {

constexpr std::array classes = {"1xx", "2xx", "3xx", "4xx", "5xx"};
constexpr std::array bounds = {"0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
                               "0.25",  "0.5",    "1",     "2.5",  "5",     "10",   "+Inf"};
static_assert(bounds.size() == table::traffic_buckets);

using All = std::vector<std::pair<std::string, table::Sums>>;  // by a label's pair as Prometheus has it

void head(std::string& out, const std::string& name, std::string_view kind, std::string_view help) {
  out += "# HELP " + name + " " + std::string(help) + "\n# TYPE " + name + " " + std::string(kind) + "\n";
}

struct Line {
  std::string_view name, labels;
  std::uint64_t value;
};
void add(std::string& out, const Line& line) {
  out += std::string(line.name) + "{" + std::string(line.labels) + "} " + std::to_string(line.value) + "\n";
}

void add_times(std::string& out, const std::string& app, const table::Sums& sums) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    count += sums.by_time[i];
    add(out, {"router_request_duration_seconds_bucket", app + ",le=\"" + bounds[i] + "\"", count});
  }
  out += "router_request_duration_seconds_sum{" + app + "} " +
         std::to_string(static_cast<double>(sums.milliseconds) / 1000) + "\n";
  add(out, {"router_request_duration_seconds_count", app, count});
}

}  // namespace

std::string traffic_text(const table::Traffic& traffic, const std::vector<std::string_view>& labels) {
  All all;
  const auto take = [&](std::string_view label, const table::Sums& sums) {
    if (sums != table::Sums()) all.emplace_back("app=\"" + std::string(label) + "\"", sums);
  };
  for (const auto label : labels) take(label, traffic.find(label));
  take("", traffic.others());
  std::string out;
  head(out, "router_requests_total", "counter", "Requests by app and class of status");
  for (const auto& [app, sums] : all) {
    for (std::size_t i = 0; i < classes.size(); ++i) {
      if (sums.by_class[i] != 0)
        add(out, {"router_requests_total", app + ",code=\"" + classes[i] + "\"", sums.by_class[i]});
    }
  }
  head(out, "router_request_duration_seconds", "histogram", "Time from a request's first byte to its answer's last");
  for (const auto& [app, sums] : all) add_times(out, app, sums);
  head(out, "router_received_bytes_total", "counter", "Bytes of requests");
  for (const auto& [app, sums] : all) add(out, {"router_received_bytes_total", app, sums.received});
  head(out, "router_sent_bytes_total", "counter", "Bytes of answers");
  for (const auto& [app, sums] : all) add(out, {"router_sent_bytes_total", app, sums.sent});
  return out;
}

}  // namespace workflow::router
