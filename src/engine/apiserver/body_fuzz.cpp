#include <cstdint>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/decode.h"
#include "engine/apiserver/printers.h"
#include "engine/apiserver/protobuf_body.h"
#include "lib/base/error.h"

namespace workflow::engine {
namespace {

// What a request's object goes through before it is stored, and how it is shown.
void admit(const ResourceType& type, json::object object) {
  std::vector<std::string> unknown;
  auto checked = checked_against(*type.schema, object, unknown);
  unknown.clear();
  WF_CHECK(checked_against(*type.schema, checked, unknown) == checked && unknown.empty());
  checked["apiVersion"] = type.api_version();
  checked["kind"] = type.kind();
  auto next = checked;
  set_defaults(type, checked, nullptr);
  auto again = checked;
  set_defaults(type, again, &checked);
  WF_CHECK(again == checked);
  if (problems_of(type, checked, nullptr).empty()) {
    warnings_about(type, checked);
    problems_of(type, next, &checked);
  }
  cells_of(type, checked, Time{});
}

}  // namespace
}  // namespace workflow::engine

// A byte that chooses the type, then the body: JSON, or protobuf when it begins like one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  using namespace workflow::engine;
  if (size == 0) return 0;
  const auto& types = resource_types();
  const auto& type = types[data[0] % types.size()];
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (body.starts_with(std::string_view("k8s\0", 4))) {
      admit(type, object_from_protobuf(*type.schema, body));
    } else if (auto value = parse_json(body); value && value->is_object()) {
      duplicate_fields(body);
      admit(type, std::move(value->get_object()));
    }
  } catch (const ApiError& error) {
    WF_CHECK(error.code() >= 400 && error.code() < 500);
  }
  return 0;
}
