// src/platform/secrets.h: the platform's own passwords and keys, made once.
#pragma once
#include "lib/kube/client.h"

namespace workflow::platform {

constexpr const char* platform_namespace = "deis";

// Creates the namespace and every secret that is not there yet; never changes one that is.
Task<> ensure_secrets(kube::Client& client);
// The certificate authorities that this machine trusts beyond Debian's own, for build pods; removed when there are
// none.
Task<> publish_certificate_authorities(kube::Client& client);

}  // namespace workflow::platform
