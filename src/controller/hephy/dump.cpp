#include "controller/hephy/dump.h"

#include <cstddef>
#include <utility>

#include "lib/base/utf8.h"

namespace workflow::controller::hephy {
namespace {

// The next line, without its end; `text` goes on behind it.
std::string_view take_line(std::string_view& text) {
  const auto end = text.find('\n');
  const auto line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

// An identifier at the beginning of `text`, which goes on behind it: plain, or "quoted" with "" for a quote.
std::optional<std::string> take_identifier(std::string_view& text) {
  std::string name;
  if (text.starts_with('"')) {
    for (std::size_t at = 1; at < text.size(); ++at) {
      if (text[at] != '"') {
        name += text[at];
      } else if (text.substr(at + 1).starts_with('"')) {
        name += text[at++];
      } else {
        text.remove_prefix(at + 1);
        return name;
      }
    }
    return std::nullopt;
  }
  const auto end = text.find_first_of(" .,()\"");
  name = text.substr(0, end);
  text.remove_prefix(name.size());
  if (name.empty()) return std::nullopt;
  return name;
}

bool take(std::string_view& text, std::string_view what) {
  if (!text.starts_with(what)) return false;
  text.remove_prefix(what.size());
  return true;
}

struct Heading {
  std::string table;
  std::vector<std::string> columns;
};
// COPY [schema.]table (column, …) FROM stdin;
std::optional<Heading> heading_of(std::string_view line) {
  if (!take(line, "COPY ")) return std::nullopt;
  Heading heading;
  auto name = take_identifier(line);
  if (name && take(line, ".")) name = take_identifier(line);
  if (!name || !take(line, " (")) return std::nullopt;
  heading.table = *std::move(name);
  do {
    auto column = take_identifier(line);
    if (!column) return std::nullopt;
    heading.columns.push_back(*std::move(column));
  } while (take(line, ", "));
  if (line != ") FROM stdin;") return std::nullopt;
  return heading;
}

// PostgreSQL's documentation of COPY, "Text Format".
std::string unescaped(std::string_view cell) {
  std::string out;
  out.reserve(cell.size());
  for (std::size_t at = 0; at < cell.size(); ++at) {
    if (cell[at] != '\\' || at + 1 == cell.size()) {
      out += cell[at];
      continue;
    }
    switch (const char c = cell[++at]) {
      case 'b': out += '\b'; break;
      case 'f': out += '\f'; break;
      case 'n': out += '\n'; break;
      case 'r': out += '\r'; break;
      case 't': out += '\t'; break;
      case 'v': out += '\v'; break;
      default: out += c;
    }
  }
  return out;
}

std::vector<std::optional<std::string>> cells_of(std::string_view line) {
  std::vector<std::optional<std::string>> cells;
  for (;;) {
    const auto end = line.find('\t');
    const auto cell = line.substr(0, end);
    cells.push_back(cell == "\\N" ? std::nullopt : std::optional(unescaped(cell)));
    if (end == std::string_view::npos) return cells;
    line.remove_prefix(end + 1);
  }
}

}  // namespace

std::expected<Dump, std::string> read_dump(std::string_view text, const std::set<std::string, std::less<>>& wanted) {
  if (text.starts_with("PGDMP")) {
    return std::unexpected("it is in pg_dump's own format; make text of it: pg_restore -f dump.sql <file>");
  }
  Dump dump;
  std::size_t number = 0;
  auto problem = [&](std::string what) { return std::unexpected("line " + std::to_string(number) + ": " + what); };
  while (!text.empty()) {
    ++number;
    auto heading = heading_of(take_line(text));
    if (!heading) continue;
    const bool is_wanted = wanted.contains(heading->table);
    Table table{.columns = std::move(heading->columns), .rows = {}};
    for (;;) {
      if (text.empty()) return problem("the dump ends within table " + heading->table);
      ++number;
      const auto line = take_line(text);
      if (line == "\\.") break;
      if (!is_wanted) continue;
      if (!is_valid_utf8(line) || line.contains('\0')) return problem("not UTF-8");
      auto cells = cells_of(line);
      if (cells.size() != table.columns.size()) {
        return problem("table " + heading->table + " has " + std::to_string(table.columns.size()) +
                       " columns, this row " + std::to_string(cells.size()));
      }
      table.rows.push_back(std::move(cells));
    }
    if (is_wanted && !dump.emplace(heading->table, std::move(table)).second) {
      return problem("table " + heading->table + " is there twice");
    }
  }
  return dump;
}

}  // namespace workflow::controller::hephy
