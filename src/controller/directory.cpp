#include "controller/directory.h"

#include <ldap.h>

#include <algorithm>
#include <memory>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr timeval patience{10, 0};

struct Unbind {
  void operator()(LDAP* ldap) const { ldap_unbind_ext_s(ldap, nullptr, nullptr); }
};
using Connection = std::unique_ptr<LDAP, Unbind>;
struct FreeMessage {
  void operator()(LDAPMessage* message) const { ldap_msgfree(message); }
};
using Message = std::unique_ptr<LDAPMessage, FreeMessage>;

[[noreturn]] void fail(const std::string& what, int code) {
  throw Error(ErrorKind::unavailable, "the directory: " + what + ": " + ldap_err2string(code));
}

Connection connect(const DirectorySettings& settings) {
  LDAP* raw = nullptr;
  if (const int code = ldap_initialize(&raw, settings.endpoint.c_str()); code != LDAP_SUCCESS)
    fail("LDAP_ENDPOINT", code);
  Connection connection(raw);
  const int version = LDAP_VERSION3, no_check = LDAP_OPT_X_TLS_NEVER, fresh_context = 0;
  ldap_set_option(raw, LDAP_OPT_PROTOCOL_VERSION, &version);
  ldap_set_option(raw, LDAP_OPT_NETWORK_TIMEOUT, &patience);
  ldap_set_option(raw, LDAP_OPT_TIMEOUT, &patience);
  ldap_set_option(raw, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
  ldap_set_option(raw, LDAP_OPT_X_TLS_REQUIRE_CERT,
                  &no_check);  // as the original: directories have their own authorities
  ldap_set_option(raw, LDAP_OPT_X_TLS_NEWCTX, &fresh_context);
  return connection;
}

int bind(LDAP* ldap, const std::string& dn, const std::string& password) {
  std::string secret = password;  // the library's type is not const
  berval credentials{secret.size(), secret.data()};
  return ldap_sasl_bind_s(ldap, dn.c_str(), LDAP_SASL_SIMPLE, &credentials, nullptr, nullptr, nullptr);
}

Message search(LDAP* ldap, const std::string& base, const std::string& filter, int limit) {
  LDAPMessage* raw = nullptr;
  timeval timeout = patience;
  const int code = ldap_search_ext_s(ldap, base.c_str(), LDAP_SCOPE_SUBTREE, filter.c_str(), nullptr, 0, nullptr,
                                     nullptr, &timeout, limit, &raw);
  Message message(raw);
  if (code != LDAP_SUCCESS && code != LDAP_SIZELIMIT_EXCEEDED && code != LDAP_NO_SUCH_OBJECT)
    fail("search below " + base, code);
  return message;
}

std::string attribute(LDAP* ldap, LDAPMessage* entry, const std::string& name) {
  berval** values = ldap_get_values_len(ldap, entry, name.c_str());
  if (values == nullptr) return "";
  std::string first = values[0] ? std::string(values[0]->bv_val, values[0]->bv_len) : "";
  ldap_value_free_len(values);
  return first;
}

std::string name_of(LDAP* ldap, LDAPMessage* entry) {
  char* raw = ldap_get_dn(ldap, entry);
  std::string dn = raw ? raw : "";
  ldap_memfree(raw);
  return dn;
}

std::vector<std::string> groups_of(LDAP* ldap, const DirectorySettings& settings, const std::string& dn) {
  std::vector<std::string> groups;
  if (settings.group_base.empty()) return groups;
  const auto kind = settings.group_filter.empty() ? "objectClass=groupOfNames" : settings.group_filter;
  const auto found = search(ldap, settings.group_base, "(&(" + kind + ")(member=" + filter_value(dn) + "))", 1000);
  for (auto* entry = ldap_first_entry(ldap, found.get()); entry != nullptr; entry = ldap_next_entry(ldap, entry)) {
    if (auto name = attribute(ldap, entry, "cn"); !name.empty()) groups.push_back(std::move(name));
  }
  std::ranges::sort(groups);
  return groups;
}

}  // namespace

std::string filter_value(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool is_syntax = c == '*' || c == '(' || c == ')' || c == '\\' || c == '\0';
    if (is_syntax)
      out += "\\" + to_hex(std::string_view(&c, 1));
    else
      out += c;
  }
  return out;
}

std::optional<DirectoryUser> sign_in(const DirectorySettings& settings, const std::string& username,
                                     const std::string& password) {
  // RFC 4513, section 5.1.2: a bind without a password succeeds as nobody in particular.
  if (password.empty() || username.empty()) return std::nullopt;
  const auto searcher = connect(settings);
  if (const int code = bind(searcher.get(), settings.bind_dn, settings.bind_password.reveal()); code != LDAP_SUCCESS)
    fail("LDAP_BIND_DN", code);
  const auto found =
      search(searcher.get(), settings.user_base, "(" + settings.user_attribute + "=" + filter_value(username) + ")", 2);
  if (ldap_count_entries(searcher.get(), found.get()) != 1) return std::nullopt;
  auto* entry = ldap_first_entry(searcher.get(), found.get());
  const auto dn = name_of(searcher.get(), entry);
  const auto as_user = connect(settings);
  const int code = bind(as_user.get(), dn, password);
  if (code == LDAP_INVALID_CREDENTIALS || code == LDAP_UNWILLING_TO_PERFORM || code == LDAP_INAPPROPRIATE_AUTH)
    return std::nullopt;
  if (code != LDAP_SUCCESS) fail("signing in", code);
  return DirectoryUser{.username = attribute(searcher.get(), entry, settings.user_attribute),
                       .first_name = attribute(searcher.get(), entry, "givenName"),
                       .last_name = attribute(searcher.get(), entry, "sn"),
                       .email = attribute(searcher.get(), entry, "mail"),
                       .groups = groups_of(searcher.get(), settings, dn)};
}

}  // namespace workflow::controller
