#include "controller/certificate.h"

#include "lib/base/error.h"

namespace workflow::controller {

CertificateFacts certificate_facts(const std::string& pem) {
  const auto chain = read_certificates(pem);
  if (!chain) throw Error(Error::Fields{{"certificate", {"Could not load certificate: " + chain.error()}}});
  return facts_of(chain->front().get());
}

void check_key_pair(const std::string& certificate_pem, const std::string& key_pem) {
  Error::Fields problems;
  const auto chain = read_certificates(certificate_pem);
  const auto key = read_private_key(key_pem);
  if (!chain) problems.insert({"certificate", {"Could not load certificate: " + chain.error()}});
  if (!key) problems.insert({"key", {"Could not load private key: " + key.error()}});
  if (chain && key && !is_pair(chain->front().get(), key->get()))
    problems.insert({"key", {"Certificate and private key do not match!"}});
  if (!problems.empty()) throw Error(std::move(problems));
}

}  // namespace workflow::controller
