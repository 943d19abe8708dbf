#include "engine/apiserver/protobuf_body.h"

#include <bit>
#include <cstring>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/decode.h"
#include "engine/fields.h"
#include "lib/base/clock.h"
#include "lib/base/encoding.h"

namespace workflow::engine {

namespace {

using Kind = FieldSchema::Kind;
using Shape = FieldSchema::Shape;
constexpr int deepest = 64;

struct Broken {};

// One field on the wire.
struct Wire {
  int number = 0;
  int type = 0;  // 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32
  std::uint64_t value = 0;
  std::string_view bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  bool more() const { return !bytes_.empty(); }
  Wire next() {
    const auto tag = varint();
    Wire wire{.number = static_cast<int>(tag >> 3), .type = static_cast<int>(tag & 7)};
    switch (wire.type) {
      case 0: wire.value = varint(); break;
      case 1: wire.value = fixed(8); break;
      case 2: wire.bytes = take(varint()); break;
      case 5: wire.value = fixed(4); break;
      default: throw Broken();
    }
    return wire;
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > bytes_.size()) throw Broken();
    const auto part = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return part;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    throw Broken();
  }
  std::uint64_t fixed(std::size_t size) {
    std::uint64_t value = 0;
    const auto part = take(size);
    std::memcpy(&value, part.data(), size);
    return value;
  }
  std::string_view bytes_;
};

std::string_view field_bytes(std::string_view message, int number) {
  std::string_view found;
  for (Reader reader(message); reader.more();) {
    const auto wire = reader.next();
    if (wire.number == number && wire.type == 2) found = wire.bytes;
  }
  return found;
}
std::int64_t field_number(std::string_view message, int number) {
  std::int64_t found = 0;
  for (Reader reader(message); reader.more();) {
    const auto wire = reader.next();
    if (wire.number == number && wire.type == 0) found = static_cast<std::int64_t>(wire.value);
  }
  return found;
}

json::object message(const TypeSchema& type, std::string_view bytes, int depth);

json::value time_value(std::string_view bytes, bool micros) {
  const auto seconds = field_number(bytes, 1);
  if (seconds < -62135596800 || seconds > 9000000000) throw Broken();
  const Time time = Time(std::chrono::seconds(seconds)) + std::chrono::nanoseconds(field_number(bytes, 2) % 1000000000);
  return json::value(micros ? rfc3339_micros(time) : rfc3339(time));
}

json::value single(const FieldSchema& field, const Wire& wire, int depth) {
  const bool is_bytes = wire.type == 2;
  const auto text = [&](std::string_view s) { return json::value(std::string(s)); };
  switch (field.kind) {
    case Kind::text:
      if (!is_bytes) throw Broken();
      return text(wire.bytes);
    case Kind::bytes:
      if (!is_bytes) throw Broken();
      return json::value(to_base64(wire.bytes));
    case Kind::boolean: return wire.value != 0;
    case Kind::int32: return static_cast<std::int32_t>(wire.value);
    case Kind::int64: return static_cast<std::int64_t>(wire.value);
    case Kind::number: return std::bit_cast<double>(wire.value);
    case Kind::time: return time_value(wire.bytes, false);
    case Kind::micro_time: return time_value(wire.bytes, true);
    case Kind::duration: return text(std::to_string(field_number(wire.bytes, 1)) + "ns");
    case Kind::quantity: return text(field_bytes(wire.bytes, 1));
    case Kind::int_or_string:
      if (field_number(wire.bytes, 1) == 1) return text(field_bytes(wire.bytes, 3));
      return static_cast<std::int32_t>(field_number(wire.bytes, 2));
    case Kind::any: {
      auto value = parse_json(field_bytes(wire.bytes, 1));
      return value ? std::move(*value) : json::value();
    }
    case Kind::object:
      if (!is_bytes) throw Broken();
      return message(*field.type, wire.bytes, depth + 1);
  }
  return nullptr;
}

// Go's encoder writes the zero value of every field that is no pointer; JSON leaves most of those out.
bool is_zero(const FieldSchema& field, const Wire& wire, const json::value& value) {
  switch (field.kind) {
    case Kind::text: return field.omit_zero && value.get_string().empty();
    case Kind::time:
    case Kind::micro_time:
    case Kind::duration: return wire.bytes.empty();
    case Kind::boolean:
    case Kind::int32:
    case Kind::int64:
    case Kind::int_or_string: return field.omit_zero && (value == 0 || value == false);
    case Kind::object:
      return value.get_object().empty() &&
             (field.name == "status" || field.name == "strategy" || field.name == "updateStrategy");
    default: return false;
  }
}

json::object message(const TypeSchema& type, std::string_view bytes, int depth) {
  if (depth > deepest) throw Broken();
  json::object result;
  for (Reader reader(bytes); reader.more();) {
    const auto wire = reader.next();
    const FieldSchema* field = nullptr;
    for (const auto& f : type.fields) {
      if (f.number == wire.number) field = &f;
    }
    if (field == nullptr) continue;
    if (field->inlined) {
      for (auto& [name, value] : message(*field->type, wire.bytes, depth + 1)) result[name] = std::move(value);
      continue;
    }
    if (field->shape == Shape::map) {
      const auto name = field_bytes(wire.bytes, 1);
      Wire item{.number = 2, .type = 2, .bytes = field_bytes(wire.bytes, 2)};
      child(result, field->name)[key(name)] = single(*field, item, depth);
      continue;
    }
    auto value = single(*field, wire, depth);
    if (field->shape == Shape::list) {
      list(result, field->name).push_back(std::move(value));
    } else if (!is_zero(*field, wire, value)) {
      result[key(field->name)] = std::move(value);
    }
  }
  return result;
}

}  // namespace

std::optional<json::object> message_from_protobuf(const TypeSchema& type, std::string_view bytes) {
  try {
    return message(type, bytes, 0);
  } catch (const Broken&) {
    return std::nullopt;
  }
}

json::object object_from_protobuf(const TypeSchema& type, std::string_view bytes) {
  constexpr std::string_view magic("k8s\0", 4);
  const auto broken = bad_request("the request body is not a valid Kubernetes protobuf message");
  if (!bytes.starts_with(magic)) throw broken;
  bytes.remove_prefix(magic.size());
  try {
    const auto type_meta = field_bytes(bytes, 1);
    auto object = message(type, field_bytes(bytes, 2), 0);
    object["apiVersion"] = std::string(field_bytes(type_meta, 1));
    object["kind"] = std::string(field_bytes(type_meta, 2));
    return object;
  } catch (const Broken&) {
    throw broken;
  }
}

}  // namespace workflow::engine
