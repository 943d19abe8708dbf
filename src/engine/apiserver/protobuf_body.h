// src/engine/apiserver/protobuf_body.h: bodies in Kubernetes' protobuf form, which kubectl 1.32 and newer send for some
//   commands. Decoded by the schema's field numbers; answers are always JSON.
#pragma once
#include <optional>
#include <string_view>

#include "engine/apiserver/schema.h"
#include "lib/json/json.h"

namespace workflow::engine {

// "k8s\0" and a runtime.Unknown around the message. Throws ApiError 400 when it is broken.
json::object object_from_protobuf(const TypeSchema& type, std::string_view bytes);
// The message alone; nullopt when it is broken.
std::optional<json::object> message_from_protobuf(const TypeSchema& type, std::string_view bytes);

}  // namespace workflow::engine
