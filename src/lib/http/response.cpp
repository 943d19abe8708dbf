#include <atomic>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/http/http.h"
#include "lib/http/json_text.h"
#include "lib/http/metrics.h"
#include "lib/http/wire.h"

namespace workflow::http {

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (byte < 0x20 || byte == 0x7f)
      out += "\\u00" + to_hex(std::string_view(&c, 1));
    else
      out += c;
  }
  return out + "\"";
}

Response error_response(int status, std::string_view detail) {
  return Response::json(status, "{\"detail\":" + json_string(detail) + "}");
}

Response Response::text(int status, std::string body, std::string content_type) {
  Response response;
  response.status = status;
  response.headers.add("Content-Type", std::move(content_type));
  response.body = std::move(body);
  return response;
}

Response Response::json(int status, std::string body) { return text(status, std::move(body), "application/json"); }

Response Response::empty(int status) {
  Response response;
  response.status = status;
  return response;
}

namespace {

// What the process holds of bodies that have yet to arrive in full: thousands of clients that each send almost all of
// one would take all memory.
class BodiesUnderWay {
 public:
  BodiesUnderWay() = default;
  BodiesUnderWay(const BodiesUnderWay&) = delete;
  BodiesUnderWay& operator=(const BodiesUnderWay&) = delete;
  ~BodiesUnderWay() { all -= mine_; }
  void add(std::size_t bytes) {
    mine_ += bytes;
    if (all.fetch_add(bytes) + bytes <= most) return;
    throw Error{ErrorKind::unavailable, "too many large requests are on their way; try again in a moment"};
  }

 private:
  static constexpr std::size_t most = 64u << 20;
  static inline std::atomic<std::size_t> all = 0;
  std::size_t mine_ = 0;
};

}  // namespace

Task<std::string> Request::text(std::size_t limit) {
  auto refuse = [limit] {
    throw Error{ErrorKind::too_large, "the request body is larger than " + std::to_string(limit) + " bytes"};
  };
  if (body->length() && *body->length() > limit) refuse();
  BodiesUnderWay share;
  std::string all;
  for (;;) {
    const std::string piece = co_await body->read();
    if (piece.empty()) co_return all;
    if (all.size() + piece.size() > limit) refuse();
    share.add(piece.size());
    all += piece;
  }
}

bool Request::wants_websocket() const {
  return method == "GET" && has_token(headers.get("Upgrade"), "websocket") &&
         has_token(headers.get("Connection"), "upgrade");
}

int status_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid: return 400;
    case ErrorKind::unauthenticated: return 401;
    case ErrorKind::forbidden: return 403;
    case ErrorKind::not_found: return 404;
    case ErrorKind::conflict: return 409;
    case ErrorKind::unprocessable: return 422;
    case ErrorKind::too_large: return 413;
    case ErrorKind::unavailable: return 503;
    case ErrorKind::timeout: return 504;
    case ErrorKind::internal: return 500;
  }
  return 500;
}

namespace {

Response not_allowed(const std::vector<std::string>& allowed) {
  std::string list;
  for (const auto& method : allowed) list += (list.empty() ? "" : ", ") + method;
  auto response = error_response(405, "this method is not allowed here; allowed: " + list);
  response.headers.set("Allow", list);
  return response;
}

Task<Response> dispatch(std::shared_ptr<const Router> router, Request& request) {
  auto match = router->match(request.method, request.raw_path);
  if (match.handler == nullptr && match.allowed.empty()) throw Error{ErrorKind::not_found, "not found"};
  if (match.handler == nullptr) co_return not_allowed(match.allowed);
  request.params = std::move(match.params);
  const auto begin = std::chrono::steady_clock::now();
  auto done = [&](int status) {
    router->metrics().add(match.pattern, request.method, status, std::chrono::steady_clock::now() - begin);
  };
  try {
    auto response = co_await (*match.handler)(request);
    done(response.status);
    co_return response;
  } catch (const Error& error) {
    done(status_of(error.kind()));
    throw;
  } catch (...) {
    done(is_cancelled(std::current_exception()) ? 499 : 500);
    throw;
  }
}

}  // namespace

Handler handler_of(std::shared_ptr<const Router> router) {
  return [router = std::move(router)](Request& request) { return dispatch(router, request); };
}

}  // namespace workflow::http
