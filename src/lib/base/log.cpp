#include "lib/base/log.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <utility>

#include "lib/base/clock.h"

namespace workflow::log {

namespace {
// Written once by `configure`, before threads exist; read by all.
std::string component_name;  // NOLINT(cert-err58-cpp)
std::atomic<Level> threshold_level{Level::info};
std::atomic<Format> line_format{Format::logfmt};
thread_local std::string request_id;

std::string_view name_of(Level level) {
  switch (level) {
    case Level::debug: return "debug";
    case Level::info: return "info";
    case Level::warn: return "warn";
    case Level::error: return "error";
  }
  return "error";
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          std::array<char, 8> code;
          std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
          out += code.data();
        } else {
          out += c;
        }
    }
  }
}

bool needs_quotes(std::string_view value) {
  if (value.empty()) return true;
  for (const char c : value) {
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '"' || c == '=' || c == '\\') return true;
  }
  return false;
}

class Line {
 public:
  Line(Format format, std::string& out) : format_(format), out_(out) {
    if (format_ == Format::json) out_ += '{';
  }
  void field(std::string_view key, std::string_view value) {
    if (format_ == Format::json) {
      if (!first_) out_ += ',';
      out_ += '"';
      append_escaped(out_, key);
      out_ += "\":\"";
      append_escaped(out_, value);
      out_ += '"';
    } else {
      if (!first_) out_ += ' ';
      out_ += key;
      out_ += '=';
      if (needs_quotes(value)) {
        out_ += '"';
        append_escaped(out_, value);
        out_ += '"';
      } else {
        out_ += value;
      }
    }
    first_ = false;
  }
  void end() {
    if (format_ == Format::json) out_ += '}';
  }

 private:
  Format format_;
  std::string& out_;
  bool first_ = true;
};

std::string line_of(Format format, std::string_view ts, Level level, std::string_view component,
                    std::string_view request, std::string_view message, std::initializer_list<Field> fields) {
  std::string text;
  text.reserve(160);
  Line line(format, text);
  if (!ts.empty()) line.field("ts", ts);
  line.field("level", name_of(level));
  if (!component.empty()) line.field("component", component);
  if (!request.empty()) line.field("request", request);
  line.field("msg", message);
  for (const auto& field : fields) line.field(field.key, field.value);
  line.end();
  return text;
}
}  // namespace

void configure(std::string component, Level threshold, Format format) {
  component_name = std::move(component);
  threshold_level = threshold;
  line_format = format;
}

bool enabled(Level level) { return level >= threshold_level.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message, std::initializer_list<Field> fields) {
  if (!enabled(level)) return;
  auto line = line_of(line_format.load(std::memory_order_relaxed), rfc3339_micros(SystemClock().now()), level,
                      component_name, request_id, message, fields);
  line += '\n';
  // One write per line, so that lines of several threads and processes do not mix. A log that cannot be written is
  // lost.
  for (std::string_view rest = line; !rest.empty();) {
    const auto written = ::write(STDOUT_FILENO, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string render(Format format, Level level, std::string_view component, std::string_view request,
                   std::string_view message, std::initializer_list<Field> fields) {
  return line_of(format, "", level, component, request, message, fields);
}

const std::string& current_request() { return request_id; }

RequestScope::RequestScope(std::string id) : previous_(std::exchange(request_id, std::move(id))) {}
RequestScope::~RequestScope() { request_id = std::move(previous_); }

}  // namespace workflow::log
