// src/router/router.h: the edge: nginx, told by tables in shared memory what the Kubernetes API says, and kept running.
//   Owns    ROUTER_STATE_DIR: the routing tables, certificates in use, nginx's configuration.
//   Needs   nginx; the Kubernetes API (while it is away, nginx goes on with the last good table).
//   Speaks  HTTP, HTTPS and the builder's TCP to everybody; nginx's status on ROUTER_STATUS_PORT, ours on
//   ROUTER_HEALTH_PORT.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "lib/async/task.h"
#include "lib/base/settings.h"
#include "router/acme/acme.h"

namespace workflow::router {

struct Config {
  std::string ns;               // POD_NAMESPACE: ours, default deis
  std::string platform_domain;  // PLATFORM_DOMAIN: the annotation nginx.platformDomain of deis-router wins
  std::string folder;           // ROUTER_STATE_DIR: default /var/lib/workflow/router
  std::string nginx;            // ROUTER_NGINX: default /usr/sbin/nginx
  std::string router_module;    // ROUTER_MODULE: default /usr/lib/nginx/modules/ngx_http_router_module.so
  std::string stream_module;    // ROUTER_STREAM_MODULE: default /usr/lib/nginx/modules/ngx_stream_module.so
  std::uint16_t http_port, https_port,
      builder_port;                      // ROUTER_HTTP_PORT 8080, ROUTER_HTTPS_PORT 6443, ROUTER_BUILDER_PORT 2222
  std::uint16_t status_port;             // ROUTER_STATUS_PORT: nginx's own /healthz, default 9090
  std::uint16_t health_port;             // ROUTER_HEALTH_PORT: /readiness and /metrics, default 9091
  std::chrono::milliseconds stop_delay;  // ROUTER_STOP_DELAY: how long we serve after SIGTERM, default 2s
  acme::Config acme;                     // ROUTER_ACME_…
  std::map<std::string, std::string> environment;  // KUBECONFIG or the service account
  static Config from(Env& env);
};

Task<> serve(Executor executor, Config config);  // until cancelled
int router_main(int argc, char** argv);

}  // namespace workflow::router
