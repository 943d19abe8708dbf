// Who may make a request, and where a canary gets one: limits of rate, passwords, headers and cookies.
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "router/module/module.h"
#include "router/table/limits.h"

namespace workflow::router::module {
namespace {

void* limits_memory = nullptr;

std::uint64_t hash_of_client(ngx_http_request_t* request, std::string_view label) {
  const auto address = address_of(request->connection->sockaddr);
  return table::hash_of({reinterpret_cast<const char*>(address.data()), address.size()}, table::hash_of(label, 0));
}

// "always" and "never", or something else.
enum class Wish { none, canary, other };
Wish wish_of(std::string_view text) {
  if (text == "always") return Wish::canary;
  return text == "never" ? Wish::other : Wish::none;
}

}  // namespace

// Shared by all workers, also those of a configuration that comes later.
bool make_limits() {
  if (limits_memory) return true;
  void* memory = ::mmap(nullptr, table::RateLimits::size, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  limits_memory = memory;
  return true;
}

std::uint64_t microseconds_to_wait(ngx_http_request_t* request, const table::Table& table, const table::App& app) {
  if (app.rate == 0 || !limits_memory) return 0;
  return table::RateLimits(limits_memory)
      .take(std::max<std::uint64_t>(hash_of_client(request, table.text(app.label)), 1),
            {.per_second = app.rate, .burst = app.burst}, ngx_current_msec * 1000);
}

bool is_user(ngx_http_request_t* request, const table::Table& table, const table::App& app) {
  const auto* header = request->headers_in.authorization;
  static constexpr std::string_view scheme = "basic ";
  if (!header || header->value.len <= scheme.size() || header->value.len > 4096 ||
      !equal_ignoring_case(view(header->value).substr(0, scheme.size()), scheme))
    return false;
  auto encoded = copy(request->pool, view(header->value).substr(scheme.size()));
  ngx_str_t credential{0, static_cast<u_char*>(ngx_pnalloc(request->pool, ngx_base64_decoded_length(encoded.len) + 1))};
  if (!encoded.data || !credential.data || ngx_decode_base64(&credential, &encoded) != NGX_OK) return false;
  const auto seed = table.seed_of(app.users);
  std::string salted(reinterpret_cast<const char*>(&seed), sizeof seed);
  salted += view(credential);
  table::Digest digest;
  SHA256(reinterpret_cast<const unsigned char*>(salted.data()), salted.size(), digest.bytes);
  bool known = false;
  for (const auto& user : table.list(app.users))
    known |= CRYPTO_memcmp(user.bytes, digest.bytes, sizeof digest.bytes) == 0;
  return known;
}

// A client stays with the version that it met: its share is one of clients, by their addresses.
const table::Backend* find_canary(ngx_http_request_t* request, const table::Table& table, const table::App& app) {
  if (app.canary.size == 0) return nullptr;
  const auto* canary = table.find_backend(table.text(app.canary));
  if (!canary || table.list(canary->endpoints).empty()) return nullptr;
  auto wish = Wish::none;
  if (app.canary_header.size != 0) wish = wish_of(find_header(request, table.text(app.canary_header)));
  if (wish == Wish::none && app.canary_cookie.size != 0)
    wish = wish_of(find_cookie(request, table.text(app.canary_cookie)));
  if (wish == Wish::none && hash_of_client(request, table.text(app.label)) % 100 < app.canary_percent)
    wish = Wish::canary;
  return wish == Wish::canary ? canary : nullptr;
}

}  // namespace workflow::router::module
