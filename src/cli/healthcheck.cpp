#include "cli/healthcheck.h"

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

std::int64_t port_of(const std::string& text) {
  const auto port = parse_integer(text);
  if (!port) throw Error(ErrorKind::invalid, "could not parse port: \"" + text + "\" is not a number");
  return *port;
}

json::array headers_of(const std::string& text) {
  json::array headers;
  for (const auto& header : split(text, ',')) {
    const auto colon = header.find(':');
    if (colon == std::string::npos) {
      throw Error(ErrorKind::invalid, "could not parse headers: could not find separator in header (" + header + ")");
    }
    const std::string_view all = header;
    headers.push_back({{"name", trim(all.substr(0, colon))}, {"value", trim(all.substr(colon + 1))}});
  }
  return headers;
}

}  // namespace

json::object probe_from(const std::string& kind, const std::vector<std::string>& words, const ProbeOptions& options) {
  json::object probe{{"initialDelaySeconds", options.initial_delay},
                     {"timeoutSeconds", options.timeout},
                     {"periodSeconds", options.period},
                     {"successThreshold", options.success_threshold},
                     {"failureThreshold", options.failure_threshold}};
  if (kind == "httpGet") {
    json::object get{{"path", options.path}, {"port", port_of(words.at(0))}};
    if (auto headers = headers_of(options.headers); !headers.empty()) get["httpHeaders"] = std::move(headers);
    probe["httpGet"] = std::move(get);
  } else if (kind == "tcpSocket") {
    probe["tcpSocket"] = {{"port", port_of(words.at(0))}};
  } else if (kind == "exec") {
    probe["exec"] = {{"command", json::array(words.begin(), words.end())}};
  } else {
    throw Error(ErrorKind::invalid, "Invalid probe type. Must be one of: \"httpGet\", \"tcpSocket\", \"exec\"");
  }
  return probe;
}

}  // namespace workflow::cli
