// src/controller/directory.h: signing in through an LDAP directory (RFC 4511).
//   Blocks: call it on the blocking pool. Throws unavailable when the directory cannot be reached or refuses our
//   search.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/domain.h"

namespace workflow::controller {

struct DirectorySettings {
  std::string endpoint;        // LDAP_ENDPOINT: ldap://… or ldaps://…; "" = no directory
  std::string bind_dn;         // LDAP_BIND_DN: who searches; "" = anonymously
  Secret bind_password;        // LDAP_BIND_PASSWORD
  std::string user_base;       // LDAP_USER_BASEDN: users are below it
  std::string user_attribute;  // LDAP_USER_FILTER: the attribute that holds the name to sign in with
  std::string group_base;      // LDAP_GROUP_BASEDN: groups are below it; "" = none are looked up
  std::string group_filter;    // LDAP_GROUP_FILTER: such as objectClass=groupOfNames
};

struct DirectoryUser {
  std::string username, first_name, last_name, email;
  std::vector<std::string> groups;  // names, sorted
};

// The user, when the directory knows exactly one of that name and accepts his password.
std::optional<DirectoryUser> sign_in(const DirectorySettings& settings, const std::string& username,
                                     const std::string& password);

// Text as a value inside a search filter (RFC 4515, section 3): nothing of it is syntax.
std::string filter_value(std::string_view text);

}  // namespace workflow::controller
