#include "controller/cluster/apply.h"

#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

namespace {
// Runs `write`; nullopt when it meets an error of `kind`.
Task<std::optional<json::object>> unless(ErrorKind kind, Task<json::object> write) {
  try {
    co_return co_await std::move(write);
  } catch (const Error& error) {
    if (error.kind() != kind) throw;
  }
  co_return std::nullopt;
}
}  // namespace

Task<json::object> put(kube::Client& client, const kube::Resource& r, std::string ns, json::object object) {
  const auto name = kube::name_of(object);
  if (auto replaced = co_await unless(ErrorKind::not_found, client.replace(r, ns, name, object))) co_return std::move(*replaced);
  if (auto created = co_await unless(ErrorKind::conflict, client.create(r, ns, object))) co_return std::move(*created);
  co_return co_await client.replace(r, ns, name, object);  // somebody was faster
}

Task<json::object> patch_or_create(kube::Client& client, const kube::Resource& r, std::string ns, json::object patch,
                                   json::object fresh) {
  const auto name = kube::name_of(fresh);
  const auto write = [&] { return client.patch(r, ns, name, kube::PatchType::merge, patch); };
  if (auto patched = co_await unless(ErrorKind::not_found, write())) co_return std::move(*patched);
  if (auto created = co_await unless(ErrorKind::conflict, client.create(r, ns, fresh))) co_return std::move(*created);
  co_return co_await write();
}

}  // namespace workflow::controller::cluster
