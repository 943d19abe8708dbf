#include <algorithm>
#include <array>
#include <chrono>

#include "cli/render.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

using Day = std::chrono::year_month_day;

// RFC 3339, and what older servers send: "2016-06-09T00:00:00UTC" and a time without zone.
std::optional<Time> certificate_time(std::string text) {
  if (text.ends_with("UTC")) text.replace(text.size() - 3, 3, "Z");
  if (auto time = parse_rfc3339(text)) return time;
  return parse_rfc3339(text + "Z");
}

Day day_of(Time time) { return Day(std::chrono::floor<std::chrono::days>(time)); }

std::string render_day(Day day) {
  constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return std::to_string(static_cast<unsigned>(day.day())) + " " +
         std::string(months[static_cast<unsigned>(day.month()) - 1]) + " " +
         std::to_string(static_cast<int>(day.year()));
}

std::string render_time(const json::value& certificate, std::string_view field) {
  const auto time = certificate_time(text_of(certificate, field));
  return time ? render_day(day_of(*time)) : "unknown";
}

std::string counted(long number, std::string_view unit) {
  return "in " + std::to_string(number) + " " + std::string(unit) + (number == 1 ? "" : "s");
}

// " (in 5 years)": whole years, else whole months, else days.
std::string until(Time expires, Time now) {
  if (expires < now) return " (expired)";
  const Day to = day_of(expires), from = day_of(now);
  auto months = (to.year() - from.year()).count() * 12 + static_cast<int>(static_cast<unsigned>(to.month())) -
                static_cast<int>(static_cast<unsigned>(from.month()));
  if (to.day() < from.day()) --months;
  if (months >= 12) return " (" + counted(months / 12, "year") + ")";
  if (months > 0) return " (" + counted(months, "month") + ")";
  const auto days = (std::chrono::sys_days(to) - std::chrono::sys_days(from)).count();
  return days > 0 ? " (" + counted(days, "day") + ")" : " (in)";
}

// The number of columns of UTF-8 text, one per code point.
std::size_t columns(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Words on lines of at most `width` columns; a longer word has a line of its own.
std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> wrapped;
  for (const auto& word : split(text, ' ')) {
    if (word.empty()) continue;
    if (wrapped.empty() || columns(wrapped.back()) + 1 + columns(word) > width)
      wrapped.push_back(word);
    else
      wrapped.back() += " " + word;
  }
  if (wrapped.empty()) wrapped.emplace_back();
  return wrapped;
}

using Row = std::vector<std::string>;
constexpr std::size_t widest_cell = 30;

std::string render_table(const Row& header, const std::vector<Row>& rows) {
  std::vector<std::vector<std::vector<std::string>>> cells;  // row, column, line
  std::vector<std::size_t> widths;
  for (const auto& title : header) widths.push_back(columns(title));
  for (const auto& row : rows) {
    auto& wrapped = cells.emplace_back();
    for (std::size_t c = 0; c < row.size(); ++c) {
      wrapped.push_back(wrap(row[c], widest_cell));
      widths[c] = std::max(widths[c], std::min(columns(row[c]), widest_cell));  // as wide as allowed, once it must wrap
      for (const auto& line : wrapped.back()) widths[c] = std::max(widths[c], columns(line));
    }
  }
  std::string out, rule;
  for (std::size_t c = 0; c < header.size(); ++c) {
    const auto space = widths[c] - columns(header[c]);
    out += (c == 0 ? "  " : "| ") + std::string(space / 2, ' ') + header[c] + std::string(space - space / 2, ' ') + " ";
    rule += "+" + std::string(widths[c] + 2, '-');
  }
  out += " \n" + rule + "+\n";
  for (const auto& row : cells) {
    std::size_t height = 0;
    for (const auto& cell : row) height = std::max(height, cell.size());
    for (std::size_t line = 0; line < height; ++line) {
      for (std::size_t c = 0; c < row.size(); ++c) {
        const auto text = line < row[c].size() ? row[c][line] : "";
        out += (c == 0 ? "  " : "| ") + text + std::string(widths[c] - columns(text), ' ') + " ";
      }
      out += " \n";
    }
  }
  return out;
}

std::string short_fingerprint(const std::string& text) {
  return text.size() <= 4
             ? text
             : text.substr(0, 5) + "[...]" + text.substr(text.size() - std::min<std::size_t>(5, text.size()));
}

std::string or_else(std::string text, std::string_view fallback) { return text.empty() ? std::string(fallback) : text; }

}  // namespace

std::string render_certificates(const json::array& certificates, Time now) {
  if (certificates.empty()) return "No certs\n";
  std::vector<Row> rows;
  for (const auto& certificate : certificates) {
    const auto expires = certificate_time(text_of(certificate, "expires"));
    rows.push_back(
        {text_of(certificate, "name"), text_of(certificate, "common_name"), join(strings_of(certificate, "san"), ","),
         expires ? render_day(day_of(*expires)) + until(*expires, now) : "unknown",
         short_fingerprint(text_of(certificate, "fingerprint")), join(strings_of(certificate, "domains"), ","),
         render_time(certificate, "updated"), render_time(certificate, "created")});
  }
  return render_table(
      {"Name", "Common Name", "SubjectAltName", "Expires", "Fingerprint", "Domains", "Updated", "Created"}, rows);
}

std::string render_certificate(const json::value& certificate) {
  constexpr std::size_t width = 20;
  return heading(text_of(certificate, "name") + " Certificate") +
         render_field("Common Name(s)", text_of(certificate, "common_name"), width) +
         render_field("Expires At", render_time(certificate, "expires"), width) +
         render_field("Starts At", render_time(certificate, "starts"), width) +
         render_field("Fingerprint", text_of(certificate, "fingerprint"), width) +
         render_field("Subject Alt Name", or_else(join(strings_of(certificate, "san"), ","), "N/A"), width) +
         render_field("Issuer", text_of(certificate, "issuer"), width) +
         render_field("Subject", text_of(certificate, "subject"), width) + "\n" +
         render_field("Connected Domains",
                      or_else(join(strings_of(certificate, "domains"), ","), "No connected domains"), width) +
         render_field("Owner", text_of(certificate, "owner"), width) +
         render_field("Created", render_time(certificate, "created"), width) +
         render_field("Updated", render_time(certificate, "updated"), width);
}

}  // namespace workflow::cli
