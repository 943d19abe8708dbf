#include "controller/repeats.h"

#include <algorithm>

#include "controller/feed.h"
#include "controller/jobs.h"
#include "lib/base/encoding.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t longest_key = 255;
constexpr sql::Query forget_old_requests{
    "forget_old_requests", "DELETE FROM requests WHERE user_id = $1::bigint AND created < now() - interval '1 day'"};
constexpr sql::Query insert_request{
    "insert_request",
    "INSERT INTO requests (user_id, key, fingerprint, lease_holder, lease_until) VALUES ($1::bigint, $2, $3, $4, "
    "now() + $5::interval) ON CONFLICT DO NOTHING"};
constexpr sql::Query select_request{
    "select_request",
    "SELECT fingerprint, job_id, status, answer, lease_until < now() OR (lease_until < now() + interval '8 seconds' "
    "AND "
    "NOT EXISTS (SELECT 1 FROM pg_stat_activity s WHERE s.application_name = lease_holder)) AS orphaned FROM requests "
    "WHERE user_id = $1::bigint AND key = $2 FOR UPDATE"};
constexpr sql::Query adopt_request{"adopt_request",
                                   "UPDATE requests SET lease_holder = $3, lease_until = now() + $4::interval WHERE "
                                   "user_id = $1::bigint AND key = $2"};
constexpr sql::Query answer_request{
    "answer_request", "UPDATE requests SET status = $3::integer, answer = $4 WHERE user_id = $1::bigint AND key = $2"};
constexpr sql::Query forget_request{"forget_request", "DELETE FROM requests WHERE user_id = $1::bigint AND key = $2"};
constexpr sql::Query insert_request_job{
    "insert_request_job", "UPDATE requests SET job_id = $3::bigint WHERE user_id = $1::bigint AND key = $2"};
constexpr sql::Query renew_requests_query{
    "renew_requests",
    "UPDATE requests SET lease_until = now() + $2::interval WHERE lease_holder = $1 AND status IS NULL"};
constexpr sql::Query release_request_query{"release_request",
                                           "UPDATE requests SET lease_holder = '', lease_until = now() WHERE "
                                           "user_id = $1::bigint AND key = $2 AND status IS NULL"};
constexpr sql::Query release_requests_query{
    "release_requests", "UPDATE requests SET lease_until = now() WHERE lease_holder = $1 AND status IS NULL"};

// What is there under a key.
struct Found {
  bool mine = false;  // nobody works on it: we do
  std::optional<std::int64_t> job;
  std::optional<int> status;
  std::string answer;
};

Found look_up(sql::Tx& tx, const Call& call, const std::string& fingerprint, const std::string& holder) {
  const auto user = call.caller().id;
  tx.execute(forget_old_requests, {user});
  if (tx.execute(insert_request, {user, *call.repeat_key, fingerprint, holder, lease}) > 0) return {.mine = true};
  const auto rows = tx.query(select_request, {user, *call.repeat_key});
  if (rows.empty()) return {};  // forgotten in this moment: look again
  const auto row = rows[0];
  if (row.text("fingerprint") != fingerprint) {
    throw Error(ErrorKind::unprocessable, "This Idempotency-Key was used for another request. Use a new one");
  }
  Found found;
  if (!row.is_null("status")) {
    found.status = static_cast<int>(row.integer("status"));
    found.answer = row.text("answer");
    return found;
  }
  if (!row.boolean("orphaned")) return found;
  tx.execute(adopt_request, {user, *call.repeat_key, holder, lease});
  found.mine = true;
  if (!row.is_null("job_id")) found.job = row.integer("job_id");
  return found;
}

http::Response answer_again(const Found& found) {
  auto response = found.answer.empty() ? nothing(*found.status) : http::Response::json(*found.status, found.answer);
  if (!found.answer.empty()) response.headers.set("Content-Type", "application/json");
  response.headers.set("Idempotency-Replayed", "true");
  return response;
}

Task<> remember_answer(Parts& parts, const Call& call, const http::Response& response) {
  const auto* body = std::get_if<std::string>(&response.body);
  auto store = [&](sql::Tx& tx) {
    if (response.status >= 500 || body == nullptr)
      tx.execute(forget_request, {call.caller().id, *call.repeat_key});
    else
      tx.execute(answer_request, {call.caller().id, *call.repeat_key, response.status, *body});
    tell(tx, {{"request", call.caller().id}});
  };
  co_await parts.db.transact(store);
}

// However the work ends: a request without an answer in the database is given back when the database can be reached.
class UnderWay {
 public:
  UnderWay(Parts& parts, const Call& call) : parts_(parts), request_{call.caller().id, *call.repeat_key} {}
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;
  ~UnderWay() {
    if (!answered_) parts_.unanswered.push_back(std::move(request_));
  }
  void answered() { answered_ = true; }

 private:
  Parts& parts_;
  Unanswered request_;
  bool answered_ = false;
};

Task<http::Response> do_it(Parts& parts, Call& call, const std::function<Task<http::Response>(Call&)>& work) {
  UnderWay under_way(parts, call);
  http::Response response;
  std::optional<Error> failure;
  try {
    response = co_await work(call);
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) response = render_error(call.request, *failure);
  co_await remember_answer(parts, call, response);
  under_way.answered();
  co_return response;
}

}  // namespace

Task<http::Response> done_once(Parts& parts, Call& call, std::function<Task<http::Response>(Call&)> work) {
  const auto key = call.request.headers.find("Idempotency-Key");
  const bool reads = call.request.method == "GET" || call.request.method == "HEAD";
  if (!key || reads || !call.user || call.dry_run()) co_return co_await work(call);
  const bool is_plain = std::ranges::all_of(*key, [](char c) { return c > ' ' && c < 0x7f; });
  if (key->empty() || key->size() > longest_key || !is_plain) {
    throw Error(ErrorKind::invalid, "An Idempotency-Key has 1 to 255 visible ASCII characters");
  }
  call.repeat_key = *key;
  const auto fingerprint = to_hex(sha256(call.request.method + " " + call.request.raw_path + "?" +
                                         call.request.raw_query + "\n" + print_json(call.body)));
  for (;;) {
    const auto seen = parts.feed.changes().version();
    auto read = [&](sql::Tx& tx) { return look_up(tx, call, fingerprint, parts.jobs.holder()); };
    const auto found = co_await parts.db.transact(read);
    if (found.status) co_return answer_again(found);
    if (found.mine) {
      call.begun_job = found.job;
      co_return co_await do_it(parts, call, work);
    }
    try {
      // Told at once of its end; looks again by itself in case its controller has died.
      co_await with_deadline(3s, "still under way", parts.feed.changes().wait(seen));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
  }
}

void remember_job(sql::Tx& tx, const Call& call, std::int64_t job) {
  if (call.repeat_key) tx.execute(insert_request_job, {call.caller().id, *call.repeat_key, job});
}
void renew_requests(sql::Tx& tx, const std::string& holder) { tx.execute(renew_requests_query, {holder, lease}); }
void release_request(sql::Tx& tx, const Unanswered& request) {
  tx.execute(release_request_query, {request.user_id, request.repeat_key});
}
void release_requests(sql::Tx& tx, const std::string& holder) { tx.execute(release_requests_query, {holder}); }

}  // namespace workflow::controller
