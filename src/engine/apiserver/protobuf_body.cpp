#include "engine/apiserver/protobuf_body.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <array>
#include <bit>
#include <chrono>
#include <cstdio>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/decode.h"
#include "engine/fields.h"
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

// The fields of a message, one after the other; what they mean is the schema's.
class Reader {
 public:
  explicit Reader(std::string_view bytes)
      : bytes_(bytes), in_(reinterpret_cast<const std::uint8_t*>(bytes.data()), static_cast<int>(bytes.size())) {}
  bool more() { return at() < bytes_.size(); }
  Wire next() {
    const auto tag = in_.ReadTag();
    if (tag == 0) throw Broken();
    Wire wire{.number = Lite::GetTagFieldNumber(tag), .type = static_cast<int>(Lite::GetTagWireType(tag))};
    bool read = false;
    switch (Lite::GetTagWireType(tag)) {
      case Lite::WIRETYPE_VARINT: read = in_.ReadVarint64(&wire.value); break;
      case Lite::WIRETYPE_FIXED64: read = in_.ReadLittleEndian64(&wire.value); break;
      case Lite::WIRETYPE_FIXED32: {
        std::uint32_t half = 0;
        read = in_.ReadLittleEndian32(&half);
        wire.value = half;
        break;
      }
      case Lite::WIRETYPE_LENGTH_DELIMITED: {
        std::uint32_t size = 0;
        read = in_.ReadVarint32(&size) && size <= bytes_.size() - at();
        if (!read) break;
        wire.bytes = bytes_.substr(at(), size);
        read = in_.Skip(static_cast<int>(size));
        break;
      }
      default: break;  // groups are of proto1
    }
    if (!read) throw Broken();
    return wire;
  }

 private:
  using Lite = google::protobuf::internal::WireFormatLite;
  std::size_t at() const { return static_cast<std::size_t>(in_.CurrentPosition()); }
  std::string_view bytes_;
  google::protobuf::io::CodedInputStream in_;
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

// Times of the years 1 to 9999, far more than the clock's own type can hold.
json::value time_value(std::string_view bytes, FieldSchema::Kind kind) {
  const auto seconds = field_number(bytes, 1), nanos = field_number(bytes, 2);
  if (seconds < -62135596800 || seconds > 253402300799 || nanos < 0 || nanos > 999'999'999) throw Broken();
  const std::chrono::sys_seconds time{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(time - day);
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  std::array<char, 8> fraction{};
  if (kind == FieldSchema::Kind::micro_time) {
    std::snprintf(fraction.data(), fraction.size(), ".%06d", static_cast<int>(nanos / 1000));
  }
  return json::value(std::string(text.data()) + fraction.data() + "Z");
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
    case Kind::time: return time_value(wire.bytes, field.kind);
    case Kind::micro_time: return time_value(wire.bytes, field.kind);
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
