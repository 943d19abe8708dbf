#include "cli/render.h"

#include <algorithm>

#include "lib/base/text.h"

namespace workflow::cli {
namespace {

std::string padded(std::string_view text, std::size_t width) {
  std::string out(text);
  if (out.size() < width) out.append(width - out.size(), ' ');
  return out;
}

std::string app_heading(std::string_view app, std::string_view what, std::string_view note = "") {
  return heading(std::string(app) + " " + std::string(what), note);
}

std::string lines(const std::vector<std::string>& all) {
  std::string out;
  for (const auto& line : all) out += line + "\n";
  return out;
}

std::string text_of_value(const json::value& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return std::string(value.get_string());
  return print_json(value);
}

std::vector<std::string> column(const json::array& rows, std::string_view field) {
  std::vector<std::string> out;
  for (const auto& row : rows) out.push_back(text_of(row, field));
  return out;
}

std::string page_lines(std::string_view app, std::string_view what, const Page& page, std::string_view field) {
  return app_heading(app, what, page_note(page.results.size(), page.count)) + lines(column(page.results, field));
}

}  // namespace

std::string render_pairs(const Pairs& pairs, std::size_t gap) {
  std::size_t longest = 0;
  for (const auto& [key, value] : pairs) longest = std::max(longest, key.size());
  std::string out;
  for (const auto& [key, value] : pairs) out += padded(key, longest + gap) + value + "\n";
  return out;
}

std::string render_field(std::string_view label, std::string_view value, std::size_t width) {
  return padded(std::string(label) + ":", width) + std::string(value) + "\n";
}

std::string page_note(std::size_t rows, std::int64_t count) {
  if (static_cast<std::int64_t>(rows) == count) return "";
  return " (" + std::to_string(rows) + " of " + std::to_string(count) + ")";
}

std::string heading(std::string_view what, std::string_view note) {
  return "=== " + std::string(what) + std::string(note) + "\n";
}

std::string text_of(const json::value& object, std::string_view field) {
  const auto* value = find_path(object, {field});
  return value ? text_of_value(*value) : "";
}

std::string number_of(const json::value& object, std::string_view field) {
  const auto text = text_of(object, field);
  return text.empty() ? "0" : text;
}

Pairs pairs_of(const json::value& object, std::string_view field) {
  Pairs out;
  const auto* value = find_path(object, {field});
  if (!value || !value->is_object()) return out;
  for (const auto& [key, element] : value->get_object()) out[std::string(key)] = text_of_value(element);
  return out;
}

std::vector<std::string> strings_of(const json::value& object, std::string_view field) {
  std::vector<std::string> out;
  const auto* value = find_path(object, {field});
  if (!value || !value->is_array()) return out;
  for (const auto& element : value->get_array()) out.push_back(text_of_value(element));
  return out;
}

std::string render_apps(const Page& apps) {
  return heading("Apps", page_note(apps.results.size(), apps.count)) + lines(column(apps.results, "id"));
}

std::string render_app(const json::value& app, std::string_view url) {
  std::string out = app_heading(text_of(app, "id"), "Application");
  for (const std::string_view field : {"updated", "uuid", "created", "url", "owner", "id"}) {
    out += render_field(field, field == "url" ? std::string(url) : text_of(app, field), 10);
  }
  return out;
}

std::string app_url(std::string_view domain, std::string_view controller) {
  if (domain.find('.') != std::string_view::npos) return std::string(domain);
  if (const auto mark = controller.find("://"); mark != std::string_view::npos) controller.remove_prefix(mark + 3);
  controller = controller.substr(0, controller.find('/'));
  const auto rest = controller.find_first_of(".:");
  return std::string(domain) + std::string(rest == std::string_view::npos ? "" : controller.substr(rest));
}

std::string render_domains(std::string_view app, const Page& domains) {
  return page_lines(app, "Domains", domains, "domain");
}

std::string render_processes(std::string_view app, const json::array& pods) {
  std::map<std::string, std::map<std::string, std::string>> types;  // type, pod name, line
  for (const auto& pod : pods) {
    const auto name = text_of(pod, "name");
    types[text_of(pod, "type")][name] = name + " " + text_of(pod, "state") + " (" + text_of(pod, "release") + ")\n";
  }
  std::string out = app_heading(app, "Processes");
  for (const auto& [type, rows] : types) {
    out += "--- " + type + ":\n";
    for (const auto& [name, line] : rows) out += line;
  }
  return out;
}

std::string render_labels(std::string_view app, const json::value& settings) {
  Pairs labels;
  for (const auto& [key, value] : pairs_of(settings, "label")) labels[key + ":"] = value;
  return app_heading(app, "Label") + (labels.empty() ? "No labels found.\n" : render_pairs(labels, 6));
}

std::string render_autoscale(std::string_view app, const json::value& settings) {
  std::string out = app_heading(app, "Autoscale") + "\n";
  const auto* rules = find_path(settings, {"autoscale"});
  std::map<std::string, json::value> sorted;
  if (rules && rules->is_object()) {
    for (const auto& [type, rule] : rules->get_object()) sorted[std::string(type)] = rule;
  }
  if (sorted.empty()) return out + "No autoscale rules found.\n";
  for (const auto& [type, rule] : sorted) {
    out += "--- " + type + ":\nMin Replicas: " + number_of(rule, "min") + "\nMax Replicas: " + number_of(rule, "max") +
           "\nCPU: " + number_of(rule, "cpu_percent") + "%\n";
  }
  return out;
}

std::string render_builds(std::string_view app, const Page& builds) {
  std::string out = app_heading(app, "Builds", page_note(builds.results.size(), builds.count));
  for (const auto& build : builds.results) out += text_of(build, "uuid") + " " + text_of(build, "created") + "\n";
  return out;
}

std::string render_config(std::string_view app, const json::value& config) {
  return app_heading(app, "Config") + render_pairs(pairs_of(config, "values"), 6);
}

std::string render_limits(std::string_view app, const json::value& config) {
  auto part = [&](std::string_view field) {
    const auto limits = pairs_of(config, field);
    return limits.empty() ? "Unlimited\n" : render_pairs(limits, 5);
  };
  return app_heading(app, "Limits") + "\n--- Memory\n" + part("memory") + "\n--- CPU\n" + part("cpu");
}

std::string render_tags(std::string_view app, const json::value& config) {
  return app_heading(app, "Tags") + render_pairs(pairs_of(config, "tags"), 5);
}

std::string render_registry(std::string_view app, const json::value& config, Password password) {
  auto pairs = pairs_of(config, "registry");
  if (const auto found = pairs.find("password"); password == Password::hidden && found != pairs.end()) {
    found->second = "********";
  }
  return app_heading(app, "Registry") + render_pairs(pairs, 5);
}

std::string render_timeouts(std::string_view app, const json::value& config) {
  const auto pairs = pairs_of(config, "termination_grace_period");
  return app_heading(app, "Timeouts (sec)") +
         (pairs.empty() ? "default (30 sec) or controlled by env KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS\n"
                        : render_pairs(pairs, 5));
}

std::string render_services(std::string_view app, const json::value& body) {
  Pairs pairs;
  if (const auto* services = find_path(body, {"services"}); services && services->is_array()) {
    for (const auto& service : services->get_array()) {
      pairs[text_of(service, "procfile_type")] = text_of(service, "path_pattern");
    }
  }
  return app_heading(app, "Services") + render_pairs(pairs, 5);
}

std::string render_whitelist(std::string_view app, const json::value& body) {
  return app_heading(app, "Whitelisted Addresses") + lines(strings_of(body, "addresses"));
}

std::string render_tls(std::string_view app, const json::value& tls) {
  const auto enforced = find_bool(tls, {"https_enforced"});
  // The line of the original alone, unless there is more to say.
  const bool automatic = find_bool(tls, {"certs_auto_enabled"}).value_or(false);
  return app_heading(app, "TLS") + "HTTPS Enforced: " +
         (!enforced   ? "not set"
          : *enforced ? "true"
                      : "false") +
         "\n" + (automatic ? "Certificates Auto: true\n" : "");
}

std::string render_releases(std::string_view app, const Page& releases) {
  std::string out = app_heading(app, "Releases", page_note(releases.results.size(), releases.count));
  for (const auto& release : releases.results) {
    out += "v" + number_of(release, "version") + "\t" + text_of(release, "created") + "\t" +
           text_of(release, "summary") + "\n";
  }
  return out;
}

std::string render_release(std::string_view app, const json::value& release) {
  std::string out = app_heading(app, "Release v" + number_of(release, "version"));
  for (const std::string_view field : {"build", "config", "owner", "created", "summary", "updated", "uuid"}) {
    const auto value = text_of(release, field);
    if (field != "build" || !value.empty()) out += render_field(field, value, 10);
  }
  return out;
}

std::string render_keys(std::string_view username, const Page& keys) {
  std::size_t longest = 0;
  for (const auto& key : keys.results) longest = std::max(longest, text_of(key, "id").size());
  std::string out = app_heading(username, "Keys", page_note(keys.results.size(), keys.count));
  for (const auto& key : keys.results) {
    const auto text = text_of(key, "public");
    const std::string_view material = trim(text);
    const auto shown = material.size() <= 26 ? std::string(material)
                                             : std::string(material.substr(0, 16)) + "..." +
                                                   std::string(material.substr(material.size() - 10));
    out += padded(text_of(key, "id"), longest + 1) + shown + "\n";
  }
  return out;
}

std::string render_users(const Page& users) {
  std::string out = heading("Users (*=admin)", page_note(users.results.size(), users.count));
  for (const auto& user : users.results) {
    out += (find_bool(user, {"is_superuser"}).value_or(false) ? "*" : "") + text_of(user, "username") + "\n";
  }
  return out;
}

std::string render_app_users(std::string_view app, const json::value& body) {
  return heading(std::string(app) + "'s Users") + lines(strings_of(body, "users"));
}

std::string render_administrators(const Page& page) {
  return heading("Administrators", page_note(page.results.size(), page.count)) +
         lines(column(page.results, "username"));
}

std::string render_account(const json::value& user) {
  constexpr std::pair<std::string_view, std::string_view> fields[] = {
      {"Username", "username"},   {"Email", "email"},           {"First Name", "first_name"},
      {"Last Name", "last_name"}, {"Last Login", "last_login"}, {"Is Superuser", "is_superuser"},
      {"Is Staff", "is_staff"},   {"Is Active", "is_active"},   {"Date Joined", "date_joined"}};
  std::string out = "ID: " + std::to_string(find_integer(user, {"id"}).value_or(0)) + "\n";
  for (const auto& [label, field] : fields) out += std::string(label) + ": " + text_of(user, field) + "\n";
  return out;
}

std::string render_coloured_log(std::string_view log) {
  std::string out;
  if (log.ends_with('\n')) log.remove_suffix(1);
  for (const auto& line : split(log, '\n')) {
    // "2021-03-04T05:09:58+00:00 shop[web.k8f3z]: …": the second word names the source.
    const auto first = std::min(line.find(' '), line.size());
    const auto second = std::min(line.find(' ', std::min(first + 1, line.size())), line.size());
    unsigned sum = 0;
    for (std::size_t i = first; i < second; ++i) sum += static_cast<unsigned char>(line[i]);
    const auto colour = sum % 6 + 1;
    out += "\x1b[3" + std::to_string(colour) + "m" + line + "\x1b[0m\n";
  }
  return out;
}

}  // namespace workflow::cli
