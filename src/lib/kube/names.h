// src/lib/kube/names.h: what Kubernetes accepts as a name, a label key, a label value.
#pragma once
#include <string_view>

namespace workflow::kube {

bool is_dns_label(std::string_view text);         // RFC 1123: a-z 0-9 -, at most 63
bool is_dns_subdomain(std::string_view text);     // labels joined by dots, at most 253
bool is_service_name(std::string_view text);      // RFC 1035: a DNS label that starts with a letter
bool is_label_key(std::string_view text);         // [subdomain/]name; also annotation keys and taints
bool is_label_value(std::string_view text);       // "" or at most 63 of A-Z a-z 0-9 - _ ., alphanumeric at both ends
bool is_data_key(std::string_view text);          // keys of ConfigMaps and Secrets
bool is_environment_name(std::string_view text);  // printable ASCII but "=": RelaxedEnvironmentVariableValidation

// The sentences of Kubernetes' own refusals.
inline constexpr std::string_view dns_label_rule =
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
inline constexpr std::string_view dns_subdomain_rule =
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
inline constexpr std::string_view service_name_rule =
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and "
    "end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')";
inline constexpr std::string_view label_key_rule =
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
inline constexpr std::string_view label_value_rule =
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end "
    "with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
inline constexpr std::string_view data_key_rule =
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

}  // namespace workflow::kube
