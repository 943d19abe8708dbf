// The endpoint of an app's log (spec/controller-api.md, section 2.4.6 and appendix B).
#include "controller/logs.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "controller/api.h"
#include "controller/store.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr std::int64_t default_lines = 100, most_lines = 10'000;

constexpr sql::Query select_newest_events{
    "select_newest_events",
    "SELECT (extract(epoch FROM at) * 1000000)::bigint AS micros, what, after FROM events WHERE app_uuid = $1::uuid "
    "ORDER BY id DESC LIMIT $2::bigint"};

// Oldest first.
std::vector<cluster::LogLine> event_lines(sql::Tx& tx, const App& app, std::int64_t count) {
  std::vector<cluster::LogLine> lines;
  const auto rows = tx.query(select_newest_events, {app.uuid, count});
  for (int i = rows.size() - 1; i >= 0; --i) {
    const auto after = object_from(rows[i].text("after"));
    const AppEvent event{.at = Time(std::chrono::microseconds(rows[i].integer("micros"))),
                         .what = rows[i].text("what"),
                         .reason = find_string(after, {"reason"}).value_or("")};
    std::ranges::move(lines_of(event), std::back_inserter(lines));
  }
  return lines;
}

// Without a store of logs, the containers' are read where they are: those of the pods that the app has now.
Task<http::Response> show_logs(Parts& parts, AppCall& call) {
  const auto asked = parse_integer(call.request.query.find("log_lines").value_or("")).value_or(default_lines);
  const auto count = std::clamp<std::int64_t>(asked, 1, most_lines);
  auto lines = co_await parts.db.transact([&](sql::Tx& tx) { return event_lines(tx, call.app, count); });
  std::optional<Error> failure;
  try {
    auto written = co_await cluster::logs(parts.kube, call.app.name(), static_cast<int>(count));
    std::ranges::move(written, std::back_inserter(lines));
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) {
    log::warn("logs cannot be read", kv("app", call.app.id), kv("error", failure->message()));
    co_return http::Response::text(500, "Error accessing logs for " + call.app.id, "text/plain");
  }
  const auto shown = newest_lines(std::move(lines), static_cast<std::size_t>(count));
  if (shown.empty()) co_return nothing();
  co_return http::Response::text(200, join(shown, "\n") + "\n", "text/plain");
}

}  // namespace

std::vector<cluster::LogLine> lines_of(const AppEvent& event) {
  std::vector<cluster::LogLine> lines{cluster::platform_line(event.at, "INFO", event.what)};
  for (const auto& line : split(event.reason, '\n')) {
    if (!trim(line).empty()) lines.push_back(cluster::platform_line(event.at, "ERROR", line));
  }
  return lines;
}

std::vector<std::string> newest_lines(std::vector<cluster::LogLine> lines, std::size_t count) {
  std::multimap<Time, std::string> sorted;  // equal ones stay in their order
  for (auto& line : lines) sorted.emplace(line.at, std::move(line.text));
  std::vector<std::string> texts;
  const auto shown = static_cast<std::ptrdiff_t>(std::min(count, sorted.size()));
  for (auto it = std::prev(sorted.end(), shown); it != sorted.end(); ++it) texts.push_back(std::move(it->second));
  return texts;
}

void add_log_routes(Api& api) {
  auto& parts = api.parts();
  api.add_app("GET", "/logs/", Access::use,
              {"getLogs",
               "The last lines that the app wrote, and that the platform wrote about it",
               "",
               {{200, "text"}, {204, ""}},
               {500},
               {"log_lines"}},
              [&parts](AppCall& call) { return show_logs(parts, call); });
}

}  // namespace workflow::controller
