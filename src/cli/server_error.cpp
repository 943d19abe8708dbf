#include "cli/server_error.h"

#include "lib/base/text.h"
#include "lib/json/json.h"

namespace workflow::cli {
namespace {

constexpr std::string_view blank = "This field may not be blank.";
constexpr std::string_view bad_username =
    "Enter a valid username. This value may contain only letters, numbers and @/./+/-/_ characters.";
constexpr std::string_view bad_app = "App name can only contain a-z (lowercase), 0-9 and hyphens";
constexpr std::string_view bad_name = "Name can only contain a-z (lowercase), 0-9 and hyphens";

constexpr std::string_view too_large = "This is more than the platform takes in one request";

enum class Match { equal, part };
struct Rule {
  std::string_view field;
  std::string_view text;  // what the server says
  std::string_view message;
  Match match = Match::equal;
};

// Status 400, first match wins.
constexpr Rule rules[] = {
    {"username", blank, bad_username},
    {"username", bad_username, bad_username},
    {"username", "A user with that username already exists.", "A user with that username already exists."},
    {"password", blank, "A Password is required"},
    {"non_field_errors", "Unable to log in with provided credentials.", "Unable to log in with provided credentials."},
    {"id", bad_app, bad_app},
    {"id", "Application with this id already exists.", "Application with this id already exists."},
    {"key", blank, "A key is required"},
    {"key", "Public Key is already in use", "Public Key is already in use"},
    {"public", blank, "A key is required"},
    {"public", "Key contains invalid base64 chars", "A key is required"},
    {"public", "Public Key is already in use", "Public Key is already in use"},
    {"certificate", blank, "Could not load certificate"},
    {"certificate", "Could not load certificate", "Could not load certificate", Match::part},
    {"name", blank, bad_name},
    {"name", "Can only contain a-z (lowercase), 0-9 and hyphens", bad_name},
    {"domain", "Hostname does not look valid.", "Hostname does not look valid."},
    {"domain", "Domain is already in use by another application", "Domain is already in use by another application"},
    {"image", blank, "The given image is invalid"},
    {"id", blank, "An id is required"},
    {"id", "SSH Key with this id already exists.",
     "There is a key of this name already. Give this one a name of its own: keys:add <name> <file>"},
    {"email", "Enter a valid email address.", "Enter a valid email address."},
    {"detail", "does not exist in application", "Pod not found in application", Match::part},
    {"detail", "version cannot be below 0", "The given version is invalid", Match::part},
    {"detail", "No nodes matched the provided labels", "No nodes matched the provided labels", Match::part},
};

bool says(const json::value& body, const Rule& rule) {
  const auto* value = find_path(body, {rule.field});
  auto matches = [&](const json::value& said) {
    if (!said.is_string()) return false;
    const std::string_view text = said.get_string();
    return rule.match == Match::equal ? text == rule.text : text.find(rule.text) != std::string_view::npos;
  };
  if (!value) return false;
  if (value->is_array()) {
    for (const auto& element : value->get_array()) {
      if (matches(element)) return true;
    }
    return false;
  }
  return rule.field == "detail" && matches(*value);
}

std::string unknown(int status, std::string_view body) {
  return "Unknown Error (" + std::to_string(status) + "): " + replace_all(std::string(body), "\\n", "\n");
}

}  // namespace

std::string message_of_stranger(int status, std::string_view url) {
  const auto number = " (" + std::to_string(status) + ")";
  if (status == 413)
    return std::string(too_large) + number + ": put big values into a file of the app, or send less at a time";
  if (status == 502 || status == 503 || status == 504) {
    return "the controller behind " + std::string(url) + " does not answer" + number +
           ". Try again in a moment; `workflow status` on its machine says more.";
  }
  return std::string(url) + " answers" + number +
         ", but not as a controller does: another server, or a proxy, is in its place. Check the address, and "
         "http_proxy.";
}

std::string message_of(int status, std::string_view body) {
  if (status == 401) return "Unauthorized: Missing or Invalid Token";
  if (status == 403) return "You do not have permission to perform this action.";
  if (status == 404) return body.empty() ? "Not Found" : std::string(body);
  if (status == 405) return "Method Not Allowed";
  if (status == 500) return "Internal Server Error";
  const auto value = parse_json(body);
  if (status != 400 && status != 409 && status != 422) {
    const auto detail = value ? find_string(*value, {"detail"}) : std::nullopt;
    // The original's server never said these, so that nobody compares their words.
    if (status == 413) return std::string(too_large) + (detail ? ": " + *detail : "");
    if ((status == 429 || status == 503) && detail) return *detail;
    return unknown(status, body);
  }
  if (!value) {
    return unknown(status, "error decoding json response (" +
                               std::string(body.empty() ? "it is empty" : "it is not JSON") +
                               "): " + std::string(body));
  }
  if (status == 400) {
    for (const auto& rule : rules) {
      if (says(*value, rule)) return std::string(rule.message);
    }
  }
  constexpr Rule assigned{"detail", "still has applications assigned. Delete or transfer ownership", "", Match::part};
  if (status == 409 && says(*value, assigned)) {
    return "Failed to delete user because the user still has applications assigned. Delete or transfer ownership.";
  }
  if (const auto detail = find_string(*value, {"detail"}); status == 422 && detail) {
    return "Unable to process your request: " + *detail;
  }
  return unknown(status, body);
}

}  // namespace workflow::cli
