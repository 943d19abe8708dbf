// src/engine/apiserver/pki.h: the engine's own certificate authority, certificates and token key, kept in <state>/pki.
//   Files that are there and still good are used; others are made anew. Blocking.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/domain.h"

namespace workflow::engine {

struct Pki {
  std::string ca_certificate;  // PEM, all of these
  std::string server_certificate;
  Secret server_key;
  std::string admin_certificate;  // CN kubernetes-admin, O system:masters
  Secret admin_key;
  Secret token_key;  // EC P-256: signs service account tokens
};
// `names` and `addresses` go into the server certificate. Throws Error when the folder cannot be written.
Pki open_pki(const std::filesystem::path& folder, const std::vector<std::string>& names,
             const std::vector<std::string>& addresses, const Clock& clock);

// For kubectl and every client: credentials of the administrator.
std::string kubeconfig(const Pki& pki, const std::string& server);

}  // namespace workflow::engine
