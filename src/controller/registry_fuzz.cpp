// What registries send, and names of images that clients send.
#include "controller/registry.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  using namespace workflow::controller;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto registry = *http::Url::parse("http://127.0.0.1:5000");
  const RegistryPlaces places{"localhost:5555", http::Url::parse("http://deis-registry.deis")};
  switch (data[0] % 3) {
    case 0:
      if (const auto image = ImageName::parse(text)) {
        // Both become part of a path: nothing of them may lead elsewhere.
        WF_CHECK(!image->repository.empty() && !image->reference.empty());
        for (const auto& part : {image->repository, image->reference})
          WF_CHECK(part.find_first_of("?#% \r\n") == std::string::npos && part.front() != '.');
        WF_CHECK(places.place_of(image->host).has_value());
      }
      break;
    case 1:
      if (const auto challenge = Challenge::parse(text)) {
        const auto url = token_url(*challenge, registry, "shop");
        WF_CHECK(!url || url->scheme == "https" || url->authority() == registry.authority());
      }
      break;
    default:
      if (const auto config = parse_json(text); config && config->is_object()) {
        for (const int port : exposed_ports(config->get_object())) WF_CHECK(port >= 1 && port <= 65535);
      }
  }
  return 0;
}
