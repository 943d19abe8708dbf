// What clients send and we take apart ourselves: domains, addresses, keys, config changes.
#include "controller/certificate.h"
#include "controller/rules.h"

namespace {

template <typename F>
void expect_only_errors_of_ours(F work) {
  try {
    work();
  } catch (const workflow::Error& error) {
    WF_CHECK(error.kind() == workflow::ErrorKind::invalid || error.kind() == workflow::ErrorKind::unprocessable);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::controller;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      expect_only_errors_of_ours([&] {
        const auto domain = checked_domain(text);
        WF_CHECK(checked_domain(domain) == domain);
      });
      break;
    case 1: is_network(text); break;
    case 2:
      if (const auto key = parse_public_key(text)) WF_CHECK(key->md5.size() == 47 && key->sha256.size() == 50);
      break;
    case 3: expect_only_errors_of_ours([&] { certificate_facts(text); }); break;
    default: {
      const auto body = workflow::parse_json(text);
      if (!body || !body->is_object()) break;
      expect_only_errors_of_ours([&] {
        Fields fields(body->get_object());
        Config config;
        for (const auto& [name, map] : config_maps()) {
          auto change = config_change(fields, name);
          fields.done();
          if (name == "healthcheck")
            config.healthcheck = merge_healthcheck({}, change);
          else
            config.*map = merge_map({}, change, name);
        }
        migrate_healthcheck_values(config);
        change_summary("bob", {}, config);
      });
    }
  }
  return 0;
}
