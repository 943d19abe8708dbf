// src/router/certificate.h: certificates are tried with OpenSSL before nginx sees them.
#pragma once
#include <optional>
#include <string>

#include "router/model.h"

namespace workflow::router {

// The pair as it can be used, or why not.
ObservedSecret check_certificate(const std::string& certificate_pem, const std::string& key_pem);
bool is_dhparam(const std::string& pem);

// For hosts that nobody has a certificate for, so that a handshake succeeds and can be answered with 404.
Certificate make_self_signed_certificate();

}  // namespace workflow::router
