#include "engine/node/pod_volumes.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/node/volumes.h"
#include "lib/base/error.h"

namespace workflow::engine {

Task<> PodVolumes::write() {
  const auto wanted = ++asked_;
  struct Turn {
    PodVolumes& its;
    explicit Turn(PodVolumes& volumes) : its(volumes) { its.writing_ = true; }
    ~Turn() {
      its.writing_ = false;
      its.changes_.notify_all();
    }
  };
  while (written_ < wanted) {
    if (writing_) {
      co_await changes_.wait(changes_.version());
      continue;
    }
    const Turn turn(*this);
    const auto round = asked_;
    co_await write_all();
    written_ = round;
  }
}

// Tokens are issued before files are written; renewed at four fifths of their life.
Task<> PodVolumes::issue_tokens() {
  const auto held = view_.object;  // what is looked at below
  for (const auto& volume : array_at(*held, {"spec", "volumes"})) {
    for (const auto& source : array_at(volume.as_object(), {"projected", "sources"})) {
      const auto* wanted = value_at(source.as_object(), {"serviceAccountToken"});
      if (!wanted) continue;
      const auto audience = text_at(wanted->as_object(), {"audience"});
      const auto lifetime = std::chrono::seconds(
          std::max<std::int64_t>(600, integer_at(wanted->as_object(), {"expirationSeconds"}).value_or(3600)));
      const auto renewal = renewals_.find(audience);
      if (renewal != renewals_.end() && renewal->second > parts_.clock.now()) continue;
      auto account = text_at(view_.spec(), {"serviceAccountName"});
      TokenRequest request{view_.ns, account.empty() ? "default" : account, {}, lifetime, view_.name, view_.uid};
      if (!audience.empty()) request.audiences.push_back(audience);
      auto issued = co_await parts_.tokens(std::move(request));
      renewals_[audience] = issued.expires - lifetime / 5;
      tokens_[audience] = std::move(issued);
    }
  }
}

std::optional<Time> PodVolumes::renewal() const {
  std::optional<Time> first;
  for (const auto& [audience, time] : renewals_) first = std::min(first.value_or(time), time);
  return first;
}

Task<> PodVolumes::write_all() {
  co_await issue_tokens();
  struct Work {
    json::object volume;
    std::optional<VolumeFiles> files;
  };
  std::vector<Work> work;
  const auto sources = volume_sources(view_, tokens_);
  for (const auto& item : array_at(view_.spec(), {"volumes"})) {
    const auto& volume = item.as_object();
    const auto claim = text_at(volume, {"persistentVolumeClaim", "claimName"});
    if (!claim.empty() && !parts_.store.find(kube::resources::persistent_volume_claims, view_.ns, claim)) {
      throw Error(ErrorKind::not_found, "persistentvolumeclaim \"" + claim + "\" not found");
    }
    work.push_back({volume, volume_files(volume, sources)});
  }
  co_await offload(
      [work = std::move(work), ns = view_.ns, readers = volume_readers(view_), places = volume_places(view_)] {
        for (const auto& [volume, files] : work) {
          const auto folder = prepare_volume(volume, ns, places, readers);
          if (files) write_volume(folder, *files, readers);
        }
      });
}

bool PodVolumes::mount(const std::string& name) const {
  if (!view_.object) return false;
  // A cheap, generous test: the name anywhere in the volumes.
  const auto* volumes = value_at(*view_.object, {"spec", "volumes"});
  return volumes && json::serialize(*volumes).find("\"" + name + "\"") != std::string::npos;
}

}  // namespace workflow::engine
