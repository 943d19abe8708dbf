#include "controller/cluster/apply.h"

#include "controller/cluster/cluster.h"
#include "controller/cluster/release_objects.h"
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
  auto replace = client.replace(r, ns, kube::name_of(object), object);
  if (auto replaced = co_await unless(ErrorKind::not_found, std::move(replace))) co_return std::move(*replaced);
  co_return co_await put_new(client, r, std::move(ns), std::move(object));
}

Task<json::object> put_new(kube::Client& client, const kube::Resource& r, std::string ns, json::object object) {
  auto create = client.create(r, ns, object);
  if (auto created = co_await unless(ErrorKind::conflict, std::move(create))) co_return std::move(*created);
  const auto name = kube::name_of(object);
  co_return co_await client.replace(r, std::move(ns), name, std::move(object));
}

Task<json::object> patch_or_create(kube::Client& client, const kube::Resource& r, std::string ns, json::object patch,
                                   json::object fresh) {
  const auto name = kube::name_of(fresh);
  const auto write = [&] { return client.patch(r, ns, name, kube::PatchType::merge, patch); };
  if (auto patched = co_await unless(ErrorKind::not_found, write())) co_return std::move(*patched);
  if (auto created = co_await unless(ErrorKind::conflict, client.create(r, ns, fresh))) co_return std::move(*created);
  co_return co_await write();
}

Task<> write_secrets(kube::Client& client, const ReleaseSpec& release) {
  const auto ns = release.app.text();
  co_await put_new(client, kube::resources::secrets, ns, env_secret_for(release));
  if (release.slug_url) co_await renew_slug_urls(client, release.app, {{release.version, *release.slug_url}});
  if (auto pull = pull_secret_for(release)) co_await put_new(client, kube::resources::secrets, ns, std::move(*pull));
}

}  // namespace workflow::controller::cluster
