// Endpoints of events and jobs: what happened to an app, what is happening, and a stream of both.
#include "controller/api.h"
#include "controller/feed.h"
#include "controller/store.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

#define WF_AT(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define WF_EVENT_COLUMNS "id, " WF_AT("at") " AS at, username, app, what, before, after"
constexpr sql::Query count_events{"count_events", "SELECT count(*) AS n FROM events WHERE app_uuid = $1::uuid"};
constexpr sql::Query select_events{"select_events", "SELECT " WF_EVENT_COLUMNS
                                                    " FROM events WHERE app_uuid = $1::uuid "
                                                    "ORDER BY id DESC LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query count_all_events{"count_all_events", "SELECT count(*) AS n FROM events"};
constexpr sql::Query select_all_events{
    "select_all_events", "SELECT " WF_EVENT_COLUMNS " FROM events ORDER BY id DESC LIMIT $1::bigint OFFSET $2::bigint"};
constexpr sql::Query select_events_since{
    "select_events_since",
    "SELECT " WF_EVENT_COLUMNS " FROM events WHERE app_uuid = $1::uuid AND id > $2::bigint ORDER BY id LIMIT 100"};
constexpr sql::Query select_newest_event{"select_newest_event",
                                         "SELECT coalesce(max(id), 0) AS id FROM events WHERE app_uuid = $1::uuid"};
#define WF_JOB_COLUMNS                                                                                   \
  "j.id, j.kind, j.state, j.message, j.structure, r.version, " WF_AT("j.created") " AS created, " WF_AT( \
      "j.finished") " AS finished FROM jobs j JOIN releases r ON r.uuid = j.release_uuid "
constexpr sql::Query count_jobs{"count_jobs", "SELECT count(*) AS n FROM jobs WHERE app_uuid = $1::uuid"};
constexpr sql::Query select_jobs{"select_jobs", "SELECT " WF_JOB_COLUMNS
                                                "WHERE j.app_uuid = $1::uuid ORDER BY j.id DESC "
                                                "LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query select_job_of_app{"select_job_of_app",
                                       "SELECT " WF_JOB_COLUMNS "WHERE j.app_uuid = $1::uuid AND j.id = $2::bigint"};

json::object event_json(const sql::Row& row) {
  return {{"id", row.integer("id")},
          {"at", row.text("at")},
          {"user", row.text("username")},
          {"app", row.text("app")},
          {"what", row.text("what")},
          {"before", object_from(row.text("before"))},
          {"after", object_from(row.text("after"))}};
}

json::object job_json(const sql::Row& row) {
  return {{"id", row.integer("id")},           {"kind", row.text("kind")},
          {"state", row.text("state")},        {"message", row.text("message")},
          {"release", row.integer("version")}, {"structure", object_from(row.text("structure"))},
          {"created", row.text("created")},    {"finished", text_or_null(row.find("finished"))}};
}

template <typename Json>
json::array rows_json(const sql::Rows& rows, Json to) {
  json::array out;
  for (int i = 0; i < rows.size(); ++i) out.push_back(to(rows[i]));
  return out;
}

Task<http::Response> show_job(Parts& parts, AppCall& call) {
  const auto id = parse_integer(call.param("job"));
  if (!id) throw not_found("Job");
  auto read = [&](sql::Tx& tx) {
    const auto rows = tx.query(select_job_of_app, {call.app.uuid, *id});
    if (rows.empty()) throw not_found("Job");
    return job_json(rows[0]);
  };
  co_return answer(200, co_await parts.db.transact(read));
}

// Server-sent events (WHATWG HTML, section 9.2): `change` for each event of the app, from a number on when one is
// given, and `progress` while deploys go on. A reader that loses the connection goes on from the last number it saw.
class Stream {
 public:
  Stream(Parts& parts, App app, std::string token_user, std::optional<std::int64_t> since)
      : parts_(parts), app_(std::move(app)), user_(std::move(token_user)), since_(since), told_(parts.feed.newest()) {}

  Task<> run(http::BodyWriter& out) {
    if (!since_) {
      auto newest = [uuid = app_.uuid](sql::Tx& tx) { return tx.query(select_newest_event, {uuid})[0].integer("id"); };
      since_ = co_await parts_.db.transact(newest);
    }
    co_await out.write("retry: 1000\n: the app " + app_.id + "\n\n");
    for (;;) {
      const auto seen = parts_.feed.changes().version();
      co_await tell_progress(out);
      while (co_await tell_events(out)) {
      }
      bool quiet = false;
      try {
        co_await with_deadline(15s, "nothing new", parts_.feed.changes().wait(seen));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::timeout) throw;
        quiet = true;
      }
      if (quiet)
        co_await out.write(": nothing new\n\n");  // proxies close what is silent; and we learn whether the reader left
      if (!co_await may_still_use()) co_return;
    }
  }

 private:
  Task<> tell_progress(http::BodyWriter& out) {
    for (const auto& progress : parts_.feed.progress_since(told_, app_.uuid)) {
      told_ = progress.number;
      co_await out.write("event: progress\ndata: " + print_json(json::object{{"line", progress.line}}) + "\n\n");
    }
  }

  // True when there may be more.
  Task<bool> tell_events(http::BodyWriter& out) {
    auto read = [this](sql::Tx& tx) {
      return rows_json(tx.query(select_events_since, {app_.uuid, *since_}), event_json);
    };
    const auto events = co_await parts_.db.transact(read);
    for (const auto& event : events) {
      since_ = event.at("id").to_number<std::int64_t>();
      co_await out.write("id: " + std::to_string(*since_) + "\nevent: change\ndata: " + print_json(event) + "\n\n");
    }
    co_return events.size() == 100;
  }

  // Whoever loses his access, or the app that is no more, ends the stream.
  Task<bool> may_still_use() {
    auto look = [this](sql::Tx& tx) {
      const auto app = find_app(tx, app_.id);
      const auto user = find_user(tx, user_);
      return app && app->uuid == app_.uuid && user && user->is_active && may_use(tx, *user, *app);
    };
    co_return co_await parts_.db.transact(look);
  }

  Parts& parts_;
  App app_;
  std::string user_;
  std::optional<std::int64_t> since_;
  std::uint64_t told_;
};

Task<http::Response> stream_events(Parts& parts, AppCall& call) {
  const auto last = call.request.headers.find("Last-Event-ID");
  const auto text = last ? last : call.request.query.find("since");
  const auto since = text ? parse_integer(*text) : std::nullopt;
  if (text && (!since || *since < 0)) throw Error(Error::Fields{{"since", {"must be the number of an event"}}});
  auto stream = std::make_shared<Stream>(parts, call.app, call.caller().username, since);
  http::Response response;
  response.headers.set("Content-Type", "text/event-stream");
  response.headers.set("Cache-Control", "no-store");
  response.headers.set("X-Accel-Buffering", "no");  // nginx passes each event on at once
  response.endless = true;
  response.body = http::StreamBody([stream](http::BodyWriter& out) { return stream->run(out); });
  co_return response;
}

}  // namespace

void add_event_routes(Api& api) {
  auto& parts = api.parts();
  api.add(
      "GET", "/v2/events/", Who::admin,
      {"listAllEvents", "Who changed what on the whole platform, newest first", "", {{200, "Event[]"}}},
      [&parts](Call& call) { return list_rows(parts, call, {count_all_events, select_all_events}, {}, event_json); });
  api.add_app("GET", "/events/", Access::use,
              {"listEvents", "Who changed what, newest first; secrets are not told", "", {{200, "Event[]"}}},
              [&parts](AppCall& call) {
                return list_rows(parts, call, {count_events, select_events}, {call.app.uuid}, event_json);
              });
  api.add_app("GET", "/events/stream/", Access::use,
              {"streamEvents",
               "Changes and progress as they happen, as server-sent events",
               "",
               {{200, "stream"}},
               {},
               {"since"}},
              [&parts](AppCall& call) { return stream_events(parts, call); });
  api.add_app(
      "GET", "/jobs/", Access::use, {"listJobs", "Deploys and scalings, newest first", "", {{200, "Job[]"}}},
      [&parts](AppCall& call) { return list_rows(parts, call, {count_jobs, select_jobs}, {call.app.uuid}, job_json); });
  api.add_app("GET", "/jobs/{job}/", Access::use, {"getJob", "One deploy or scaling", "", {{200, "Job"}}},
              [&parts](AppCall& call) { return show_job(parts, call); });
}

}  // namespace workflow::controller
