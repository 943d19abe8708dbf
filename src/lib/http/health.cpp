#include "lib/http/health.h"

#include "lib/async/supervisor.h"
#include "lib/http/metrics.h"

namespace workflow::http {

void add_health(Router& router, Health health) {
  router.add("GET", "/healthz", [](Request&) -> Task<Response> { co_return Response::text(200, "ok\n"); });
  router.add("GET", "/readiness", [health](Request&) -> Task<Response> {
    auto why = health.supervisor.problem();
    if (!why && health.why_not_ready) why = co_await health.why_not_ready();
    co_return why ? Response::text(503, *why + "\n") : Response::text(200, "ready\n");
  });
  router.add("GET", "/metrics", [&requests = router.metrics(), health](Request&) -> Task<Response> {
    auto text = (health.metrics ? health.metrics() : "") + health.supervisor.metrics() + requests.text();
    co_return Response::text(200, std::move(text), "text/plain; version=0.0.4; charset=utf-8");
  });
}

std::function<Task<std::optional<std::string>>()> at_once(std::function<std::optional<std::string>()> why_not_ready) {
  auto answer = [](std::optional<std::string> why) -> Task<std::optional<std::string>> { co_return why; };
  return [why_not_ready = std::move(why_not_ready), answer] { return answer(why_not_ready()); };
}

Server health_server(Executor executor, std::uint16_t port, std::shared_ptr<const Router> router) {
  return Server(std::move(executor), {.port = port, .drain_timeout = std::chrono::seconds(1)},
                handler_of(std::move(router)));
}

}  // namespace workflow::http
