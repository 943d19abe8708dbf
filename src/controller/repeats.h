// src/controller/repeats.h: a request that carries an Idempotency-Key is done once, however often it is sent.
#pragma once
#include <functional>

#include "controller/api.h"

namespace workflow::controller {

// Runs `work` unless the call's key was used before: then the first answer is given again, and an answer that is still
// being worked on is waited for. What a controller that died had begun is taken up (Call::begun_job). Throws
// unprocessable when the key was used for another request. A key is remembered for a day. Answers of 500 and above are
// not: sending again tries again.
Task<http::Response> done_once(Parts& parts, Call& call, std::function<Task<http::Response>(Call&)> work);

// In the transaction that begins the work of a call: whoever sends the request again waits for this job.
void remember_job(sql::Tx& tx, const Call& call, std::int64_t job);
// Keeps the leases on requests that `holder` works on, or gives them back. An unanswered one is free for whoever sends
// it.
void renew_requests(sql::Tx& tx, const std::string& holder);
void release_request(sql::Tx& tx, const Unanswered& request);
void release_requests(sql::Tx& tx, const std::string& holder);

}  // namespace workflow::controller
