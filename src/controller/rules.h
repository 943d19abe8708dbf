// src/controller/rules.h: what a request may say, in the words that clients of the original know.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "controller/model.h"
#include "lib/base/error.h"
#include "lib/json/json.h"

namespace workflow::controller {

// Reads a request's body field by field and collects every problem; done() throws one `invalid` that lists them all.
class Fields {
 public:
  explicit Fields(const json::object& body) : body_(body) {}
  struct Text {
    bool required = true, blank_allowed = false;
    bool stripped = true;  // of surrounding blanks
    std::size_t max = 0;   // characters; 0: any
  };
  std::optional<std::string> text(std::string_view name, Text rule);
  std::optional<bool> boolean(std::string_view name);      // null and absent: nullopt
  std::optional<json::object> map(std::string_view name);  // an object, or JSON text of one
  bool has(std::string_view name) const { return body_.contains(name); }
  bool is_null(std::string_view name) const;
  void problem(std::string_view name, std::string what) { problems_[std::string(name)].push_back(std::move(what)); }
  void done() const;

 private:
  const json::object& body_;
  Error::Fields problems_;
};

std::size_t characters(std::string_view utf8);
std::vector<std::string> app_name_problems(const std::string& name, const std::set<std::string>& reserved);
bool is_email(std::string_view text);
bool is_process_type(std::string_view text);
// The part of an image's name that the platform keeps for itself: `deis/router`; "" when it is free.
std::string reserved_repository(const std::string& image);

// Adds the problems of a config change to `fields`, by map, and returns the change itself (nulls kept).
json::object config_change(Fields& fields, std::string_view map_name);

// What is too large for a process' environment, or for what carries it there.
Error::Fields problems_of_sizes(const json::object& values);

// A domain as it is stored: ASCII form, no trailing dot. Throws invalid under "domain".
std::string checked_domain(const std::string& text);
// The host that it becomes: names without a dot are below the platform's domain ("": it is not known).
std::string host_of_domain(const std::string& domain, const std::string& platform_domain);
// Names at and below `<label>.<platform domain>` belong to the app `<label>` alone: that label; "" is the platform's,
// nullopt anybody's.
std::optional<std::string> owning_label(const std::string& domain, const std::string& platform_domain);

// "1.2.3.4", "10.0.0.0/8", "2001:db8::/32".
bool is_network(const std::string& text);

struct PublicKey {
  std::string md5;     // 54:6d:…
  std::string sha256;  // SHA256:… as OpenSSH prints it
};
std::optional<PublicKey> parse_public_key(std::string_view text);  // "ssh-ed25519 AAAA… comment"

// A count of processes: a whole number, or text of one. Throws invalid, as the scale route says it.
std::int64_t scale_count(const json::value& value);

}  // namespace workflow::controller
