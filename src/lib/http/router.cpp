#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/http/http.h"
#include "lib/http/metrics.h"

namespace workflow::http {

// A tree of path segments: literal children first, then the one parameter, then the rest.
struct Router::Node {
  struct Endpoint {
    std::string method, pattern;
    std::vector<std::string> names;  // of its parameters, in order
    Handler handler;
  };
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter, rest;
  std::vector<Endpoint> endpoints;

  const Endpoint* find(std::string_view method) const {
    auto is = [method](const Endpoint& e) { return e.method == method; };
    auto found = std::ranges::find_if(endpoints, is);
    return found == endpoints.end() ? nullptr : &*found;
  }
};

namespace {

std::vector<std::string> segments_of(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  std::vector<std::string> parts;
  for (;;) {
    const auto slash = path.find('/');
    parts.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    path.remove_prefix(slash + 1);
  }
}

bool is_parameter(std::string_view segment) { return segment.starts_with('{') && segment.ends_with('}'); }

}  // namespace

Router::Router() : root_(std::make_unique<Node>()), metrics_(std::make_unique<RequestMetrics>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

void Router::add(std::string method, std::string pattern, Handler handler) {
  WF_CHECK(pattern.starts_with('/'));
  Node* node = root_.get();
  std::vector<std::string> names;
  const auto segments = segments_of(pattern);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const auto& segment = segments[i];
    auto* next = &node->parameter;
    if (!is_parameter(segment)) {
      next = &node->literals[segment];
    } else if (segment.ends_with("...}")) {
      WF_CHECK(i + 1 == segments.size());
      next = &node->rest;
      names.push_back(segment.substr(1, segment.size() - 5));
    } else {
      names.push_back(segment.substr(1, segment.size() - 2));
    }
    if (!*next) *next = std::make_unique<Node>();
    node = next->get();
  }
  WF_CHECK(node->find(method) == nullptr);  // the same route twice
  node->endpoints.push_back({std::move(method), std::move(pattern), std::move(names), std::move(handler)});
}

namespace {

// Depth first, most literal first. A path that exists without the method is remembered, and the search goes on: a less
// literal pattern may know the method.
template <typename Node>
struct Search {
  std::string_view method;
  const std::vector<std::string>& segments;
  std::vector<std::string> captured{};
  std::vector<std::string> allowed{};

  const typename Node::Endpoint* at(const Node& node) {
    if (const auto* found = node.find(method)) return found;
    if (method == "HEAD") {
      if (const auto* found = node.find("GET")) return found;
    }
    for (const auto& endpoint : node.endpoints) allowed.push_back(endpoint.method);
    return nullptr;
  }

  const typename Node::Endpoint* under(const Node& node, std::size_t i) {
    if (i == segments.size()) return at(node);
    const auto& segment = segments[i];
    if (auto literal = node.literals.find(segment); literal != node.literals.end()) {
      if (const auto* found = under(*literal->second, i + 1)) return found;
    }
    if (node.parameter && !segment.empty()) {
      captured.push_back(segment);
      if (const auto* found = under(*node.parameter, i + 1)) return found;
      captured.pop_back();
    }
    if (node.rest) {
      captured.push_back(join({segments.begin() + static_cast<std::ptrdiff_t>(i), segments.end()}, "/"));
      if (const auto* found = at(*node.rest)) return found;
      captured.pop_back();
    }
    return nullptr;
  }
};

}  // namespace

Router::Match Router::match(std::string_view method, std::string_view raw_path) const {
  Match result;
  if (!raw_path.starts_with('/')) return result;
  auto segments = segments_of(raw_path);
  for (auto& segment : segments) {
    if (segment.find('%') == std::string::npos) continue;
    auto decoded = percent_decode(segment);
    if (!decoded) return result;
    segment = std::move(*decoded);
  }
  Search<Node> search{method, segments};
  if (const auto* found = search.under(*root_, 0)) {
    result.handler = &found->handler;
    result.pattern = found->pattern;
    for (std::size_t i = 0; i < found->names.size(); ++i) {
      result.params.emplace(found->names[i], std::move(search.captured[i]));
    }
    return result;
  }
  result.allowed = std::move(search.allowed);
  if (std::ranges::count(result.allowed, "GET") > 0) result.allowed.emplace_back("HEAD");
  std::ranges::sort(result.allowed);
  const auto repeats = std::ranges::unique(result.allowed);
  result.allowed.erase(repeats.begin(), repeats.end());
  return result;
}

}  // namespace workflow::http
