#include <cstdint>

#include "lib/base/certificate.h"
#include "lib/base/error.h"

// Whatever the text: what is read can be described, and the reason for what is not says something.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  const std::string_view pem(reinterpret_cast<const char*>(data), size);
  const auto certificates = read_certificates(pem);
  const auto key = read_private_key(pem);
  WF_CHECK(certificates ? !certificates->empty() : !certificates.error().empty());
  WF_CHECK(key ? *key != nullptr : !key.error().empty());
  if (!certificates) return 0;
  for (const auto& certificate : *certificates) WF_CHECK(facts_of(certificate.get()).fingerprint.size() == 95);
  if (key) is_pair(certificates->front().get(), key->get());
  return 0;
}
