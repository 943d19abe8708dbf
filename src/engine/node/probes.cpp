#include "engine/node/probes.h"

#include <boost/asio/ip/tcp.hpp>
#include <map>
#include <utility>

#include "engine/fields.h"
#include "engine/node/container_config.h"
#include "engine/node/grpc_health.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

// A port by number or by the name that the container gives it.
std::optional<std::uint16_t> port_of(const json::object& handler, const json::object* container) {
  const auto* port = handler.if_contains("port");
  if (!port) return std::nullopt;
  std::optional<std::int64_t> number;
  if (port->is_number()) number = find_integer(handler, {"port"});
  if (const auto* name = port->if_string()) {
    number = parse_integer(*name);
    const auto* ports = container ? find_path(*container, {"ports"}) : nullptr;
    if (!number && ports && ports->is_array()) {
      for (const auto& item : ports->get_array()) {
        if (find_string(item, {"name"}) == std::string_view(*name)) number = find_integer(item, {"containerPort"});
      }
    }
  }
  if (!number || *number < 1 || *number > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

Task<> connect(std::string host, std::uint16_t port) {
  asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
  co_await socket.async_connect({asio::ip::make_address(host), port}, asio::use_awaitable);
}

ProbeAnswer well() { return {ProbeAnswer::Verdict::well, ""}; }
ProbeAnswer unwell(std::string why) { return {ProbeAnswer::Verdict::unwell, std::move(why)}; }

Task<ProbeAnswer> ask_http(http::Client& client, json::object handler, ProbeTarget target,
                           std::chrono::milliseconds timeout) {
  const auto port = port_of(handler, target.container);
  if (!port) co_return unwell("the probe's port is not one of the container's");
  http::Url url;
  url.scheme = lower(find_string(handler, {"scheme"}).value_or("HTTP"));
  url.host = find_string(handler, {"host"}).value_or(target.pod_ip);
  url.port = *port;
  const auto path = find_string(handler, {"path"}).value_or("/");
  const auto question = path.find('?');
  url.path = path.substr(0, question);
  if (!url.path.starts_with('/')) url.path = "/" + url.path;
  if (question != std::string::npos) url.query = path.substr(question + 1);
  http::ClientRequest request{.url = url, .timeout = timeout};
  request.headers.set("User-Agent", "kube-probe/1.32");
  request.headers.set("Connection", "close");
  if (const auto* headers = find_path(handler, {"httpHeaders"}); headers && headers->is_array()) {
    for (const auto& header : headers->get_array()) {
      request.headers.set(find_string(header, {"name"}).value_or(""), find_string(header, {"value"}).value_or(""));
    }
  }
  auto response = co_await client.send(std::move(request));
  // The status is the answer; some of the text is read, so that its writer meets no closed connection.
  constexpr std::size_t read_at_most = 10u << 10;
  for (std::size_t got = 0; got < read_at_most;) {
    const auto piece = co_await response.body->read();
    if (piece.empty()) break;
    got += piece.size();
  }
  if (response.status >= 200 && response.status < 400) co_return well();
  co_return unwell("HTTP probe failed with statuscode: " + std::to_string(response.status));
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_interval(std::string_view text) {
  const bool in_ms = text.ends_with("ms");
  if (!in_ms && !text.ends_with("s")) return std::nullopt;
  const auto number = parse_integer(text.substr(0, text.size() - (in_ms ? 2 : 1)));
  if (!number || *number < 0 || *number > 600'000) return std::nullopt;
  const auto value = in_ms ? std::chrono::milliseconds(*number) : std::chrono::milliseconds(*number * 1000);
  if (value < 10ms || value > 10min) return std::nullopt;
  return value;
}

ProbeTiming timing_of(const json::object& probe, std::string_view interval) {
  auto seconds = [&](std::string_view name, std::int64_t fallback) {
    return std::chrono::milliseconds(
        1000 * std::clamp<std::int64_t>(find_integer(probe, {name}).value_or(fallback), 0, 86'400));
  };
  ProbeTiming timing;
  timing.initial_delay = seconds("initialDelaySeconds", 0);
  timing.period = std::max<std::chrono::milliseconds>(seconds("periodSeconds", 10), 1s);
  timing.timeout = std::max<std::chrono::milliseconds>(seconds("timeoutSeconds", 1), 1s);
  timing.successes = static_cast<int>(std::max<std::int64_t>(1, find_integer(probe, {"successThreshold"}).value_or(1)));
  timing.failures = static_cast<int>(std::max<std::int64_t>(1, find_integer(probe, {"failureThreshold"}).value_or(3)));
  timing.eager = std::min(timing.period, parse_interval(interval).value_or(timing.period));
  return timing;
}

std::vector<std::string> exec_command(const json::array& words, const json::object& container) {
  std::map<std::string, std::string> values;
  for (const auto& item : array_at(container, {"env"}))
    values[find_string(item, {"name"}).value_or("")] = find_string(item, {"value"}).value_or("");
  std::vector<std::string> command;
  for (const auto& word : words) command.push_back(expand_variables(std::string(word.as_string()), values));
  return command;
}

Task<ProbeAnswer> ask(cri::Client& runtime, http::Client& client, json::object probe, ProbeTarget target,
                      std::chrono::milliseconds timeout) {
  try {
    if (const auto* handler = find_path(probe, {"httpGet"})) {
      auto asking = ask_http(client, handler->as_object(), target, timeout);
      co_return co_await with_deadline(timeout, "HTTP probe timed out", std::move(asking));
    }
    if (const auto* handler = find_path(probe, {"tcpSocket"})) {
      const auto port = port_of(handler->as_object(), target.container);
      if (!port) co_return unwell("the probe's port is not one of the container's");
      const auto host = find_string(*handler, {"host"}).value_or(target.pod_ip);
      co_await with_deadline(timeout, "dial tcp " + host + ":" + std::to_string(*port) + ": i/o timeout",
                             connect(host, *port));
      co_return well();
    }
    if (const auto* handler = find_path(probe, {"grpc"})) {
      const auto port = port_of(handler->as_object(), nullptr);
      if (!port) co_return unwell("the probe's port is no port number");
      auto asking = grpc_health(target.pod_ip + ":" + std::to_string(*port),
                                find_string(*handler, {"service"}).value_or(""), timeout);
      auto why = co_await with_deadline(timeout, "gRPC probe timed out", std::move(asking));
      if (why.empty()) co_return well();
      co_return unwell(valid_utf8(why.substr(0, 1024)));
    }
    if (const auto* command = find_path(probe, {"exec", "command"})) {
      auto words = exec_command(command->as_array(), *target.container);
      const auto limit = std::chrono::ceil<std::chrono::seconds>(timeout);
      const auto done = co_await runtime.exec_sync(target.container_id, std::move(words), limit);
      if (done.exit_code == 0) co_return well();
      co_return unwell(valid_utf8(std::string(trim(done.out + done.err)).substr(0, 1024)));
    }
  } catch (const Error& error) {
    // A runtime that restarts, or that does not know the container, says nothing about it.
    const bool silent =
        probe.contains("exec") && (error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::not_found);
    co_return ProbeAnswer{silent ? ProbeAnswer::Verdict::unknown : ProbeAnswer::Verdict::unwell, error.message()};
  } catch (const boost::system::system_error& error) {
    if (error.code() == asio::error::operation_aborted) throw;
    co_return unwell(error.code().message());
  }
  co_return well();
}

bool ProbeCount::note(ProbeAnswer::Verdict verdict) {
  if (verdict == ProbeAnswer::Verdict::unknown) return false;
  if (verdict == ProbeAnswer::Verdict::well) {
    bad_ = 0;
    if (++good_ < timing_.successes || well_) return false;
    told_unwell_ = false;
    return well_ = true;
  }
  good_ = 0;
  const std::int64_t limit = timing_.failures * (well_ ? 1 : std::int64_t{timing_.period / timing_.eager});
  if (++bad_ < limit || told_unwell_) return false;
  well_ = false;
  return told_unwell_ = true;
}

Task<> watch_probe(cri::Client& runtime, http::Client& client, json::object probe, ProbeTarget target,
                   ProbeTiming timing, bool initially_well, std::function<void(bool, const std::string&)> on_change) {
  if (timing.initial_delay > 0ms) co_await sleep_for(timing.initial_delay);
  ProbeCount count(timing, initially_well);
  for (;;) {
    const auto answer = co_await ask(runtime, client, probe, target, timing.timeout);
    if (count.note(answer.verdict)) on_change(count.is_well(), answer.why);
    if (count.is_well() && timing.until_well) co_return;
    co_await sleep_for(count.is_well() ? timing.period : timing.eager);
  }
}

}  // namespace workflow::engine
