// src/router/settings.h: annotations as settings. A value that cannot be read keeps its default, and is told as a
// problem.
#pragma once
#include <functional>

#include "router/model.h"

namespace workflow::router {

// Reads the annotations of one object under "router.deis.io/" + prefix.
class AnnotationReader {
 public:
  AnnotationReader(const Annotations& annotations, std::string prefix, std::string service,
                   std::vector<Problem>& problems);

  const std::string* find(std::string_view key) const;
  void problem(std::string_view key, std::string what) const;
  void read(std::string_view key, bool& into) const;
  void read(std::string_view key, std::chrono::milliseconds& into) const;
  void read_size(std::string_view key, std::int64_t& into, std::int64_t min = 1) const;
  void read_count(std::string_view key, std::int64_t& into, std::int64_t min, std::int64_t max) const;
  // One of `words`, exactly.
  void read_word(std::string_view key, std::string& into, std::initializer_list<std::string_view> words) const;
  // Words between blanks, each accepted by `accepts`.
  void read_words(std::string_view key, std::string& into, const std::function<bool(std::string_view)>& accepts) const;
  // Ranges of addresses. The good ones of a list with a bad one are kept; nullopt when the key is absent or empty.
  std::optional<std::vector<std::string>> cidrs(std::string_view key) const;
  Buffers buffers(std::string_view group, Buffers defaults) const;

 private:
  const Annotations& annotations_;
  std::string prefix_, service_;
  std::vector<Problem>& problems_;
};

RouterSettings router_settings(const Annotations& annotations, const std::string& service,
                               const std::string& platform_domain, std::vector<Problem>& problems);
void read_hsts(const AnnotationReader& reader, Hsts& into);
std::string hsts_text(const Hsts& hsts);  // the header
void read_referrer_policy(const AnnotationReader& reader, std::string& into);

}  // namespace workflow::router
