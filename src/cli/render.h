// src/cli/render.h: what commands print, as functions of the controller's JSON. Scripts read these lines.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/controller.h"
#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::cli {

using Pairs = std::map<std::string, std::string>;

// "key   value" lines: values begin `gap` columns after the longest key.
std::string render_pairs(const Pairs& pairs, std::size_t gap);
// Labelled lines: "owner:    maya", values in column `width`.
std::string render_field(std::string_view label, std::string_view value, std::size_t width);
std::string page_note(std::size_t rows, std::int64_t count);             // " (2 of 3)" unless all is shown
std::string heading(std::string_view what, std::string_view note = "");  // "=== Apps (2 of 3)\n"

// A string, number or bool as text; null and absent are "".
std::string text_of(const json::value& object, std::string_view field);
std::string number_of(const json::value& object, std::string_view field);  // absent is "0", as in the original
Pairs pairs_of(const json::value& object, std::string_view field);  // values that are no strings are printed as JSON
std::vector<std::string> strings_of(const json::value& object, std::string_view field);

std::string render_apps(const Page& apps);
std::string render_app(const json::value& app, std::string_view url);
// "paper-lantern" → "paper-lantern.apps.example.net:8080", as seen from the controller's URL.
std::string app_url(std::string_view domain, std::string_view controller);
std::string render_domains(std::string_view app, const Page& domains);
std::string render_processes(std::string_view app, const json::array& pods);
std::string render_labels(std::string_view app, const json::value& settings);
std::string render_autoscale(std::string_view app, const json::value& settings);
std::string render_builds(std::string_view app, const Page& builds);
std::string render_config(std::string_view app, const json::value& config);
std::string render_limits(std::string_view app, const json::value& config);
std::string render_tags(std::string_view app, const json::value& config);
enum class Password { hidden, shown };
std::string render_registry(std::string_view app, const json::value& config, Password password);
std::string render_timeouts(std::string_view app, const json::value& config);
std::string render_services(std::string_view app, const json::value& body);
std::string render_whitelist(std::string_view app, const json::value& body);
std::string render_tls(std::string_view app, const json::value& tls);
std::string render_releases(std::string_view app, const Page& releases);
std::string render_release(std::string_view app, const json::value& release);
std::string render_keys(std::string_view username, const Page& keys);
std::string render_users(const Page& users);
std::string render_app_users(std::string_view app, const json::value& body);
std::string render_administrators(const Page& page);
std::string render_account(const json::value& user);
std::string render_certificates(const json::array& certificates, Time now);
std::string render_certificate(const json::value& certificate);

// `type`: only this one, also when it has no checks.
std::string render_healthchecks(std::string_view app, const json::value& config,
                                const std::optional<std::string>& type);

// The log as a terminal shows it: each line in the colour of its source.
std::string render_coloured_log(std::string_view log);

}  // namespace workflow::cli
