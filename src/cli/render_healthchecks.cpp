#include <map>

#include "cli/render.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

std::string render_exec(const json::value& probe) {
  const auto* exec = find_path(probe, {"exec"});
  return exec ? "Command=[" + join(strings_of(*exec, "command"), " ") + "]" : "N/A";
}

std::string render_http_get(const json::value& probe) {
  const auto* get = find_path(probe, {"httpGet"});
  if (!get) return "N/A";
  std::vector<std::string> headers;
  if (const auto* all = find_path(*get, {"httpHeaders"}); all && all->is_array()) {
    for (const auto& header : all->get_array())
      headers.push_back(text_of(header, "name") + "=" + text_of(header, "value"));
  }
  return "Path=\"" + text_of(*get, "path") + "\" Port=" + number_of(*get, "port") + " HTTPHeaders=[" +
         join(headers, " ") + "]";
}

std::string render_tcp_socket(const json::value& probe) {
  const auto* socket = find_path(probe, {"tcpSocket"});
  return socket ? "Port=" + number_of(*socket, "port") : "N/A";
}

std::string render_probe(const json::value* checks, std::string_view field, std::string_view none) {
  const auto* probe = checks ? find_path(*checks, {field}) : nullptr;
  if (!probe || !probe->is_object()) return std::string(none) + "\n";
  return "Initial Delay (seconds): " + number_of(*probe, "initialDelaySeconds") +
         "\nTimeout (seconds): " + number_of(*probe, "timeoutSeconds") +
         "\nPeriod (seconds): " + number_of(*probe, "periodSeconds") +
         "\nSuccess Threshold: " + number_of(*probe, "successThreshold") +
         "\nFailure Threshold: " + number_of(*probe, "failureThreshold") + "\nExec Probe: " + render_exec(*probe) +
         "\nHTTP GET Probe: " + render_http_get(*probe) + "\nTCP Socket Probe: " + render_tcp_socket(*probe) + "\n";
}

std::string render_type(const std::string& type, const json::value* checks) {
  return "\n" + type + ":\n--- Liveness\n" + render_probe(checks, "livenessProbe", "No liveness probe configured.") +
         "\n--- Readiness\n" + render_probe(checks, "readinessProbe", "No readiness probe configured.");
}

}  // namespace

std::string render_healthchecks(std::string_view app, const json::value& config,
                                const std::optional<std::string>& type) {
  std::map<std::string, const json::value*> types;
  if (const auto* all = find_path(config, {"healthcheck"}); all && all->is_object()) {
    for (const auto& [name, checks] : all->get_object()) types[std::string(name)] = &checks;
  }
  std::string out = heading(std::string(app) + " Healthchecks");
  if (type) {
    const auto found = types.find(*type);
    return out + render_type(*type, found == types.end() ? nullptr : found->second);
  }
  if (types.empty()) return out + "No health checks configured.\n";
  for (const auto& [name, checks] : types) out += render_type(name, checks);
  return out;
}

}  // namespace workflow::cli
