// src/controller/certificate.h: the certificate and the key of a request, as its fields.
#pragma once
#include <string>

#include "lib/base/certificate.h"

namespace workflow::controller {

// What the first certificate of the text says. Both throw invalid under "certificate" or "key" with OpenSSL's reason.
CertificateFacts certificate_facts(const std::string& pem);
// Throws invalid when they are not a pair.
void check_key_pair(const std::string& certificate_pem, const std::string& key_pem);

}  // namespace workflow::controller
