// src/engine/apiserver/apiserver.h: the Kubernetes API over HTTPS.
//   Owns    <state>/pki (its CA, certificates, token key), <state>/kubeconfig, <state>/audit. Objects live in the
//   store. Needs   the store; of the node agent only the functions of PodAccess. Used by kubectl and every component;
//   engine.cpp runs it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/node/node.h"
#include "engine/store.h"

namespace workflow::engine {

struct ApiServerConfig {
  std::filesystem::path state;
  std::uint16_t port = 6443;
  std::vector<std::string> addresses{"127.0.0.1"};  // listens on each
  Cidr service_cidr;
  std::string node_name;              // every pod is bound to it
  std::string load_balancer_address;  // what LoadBalancer Services show; "" while unknown
};

// What only the node agent can do. A function that is not set answers 503.
struct PodAccess {
  std::function<Task<http::StreamBody>(std::string ns, std::string pod, PodLogOptions)> logs;
  std::function<Task<http::Response>(const http::Request&, std::string ns, std::string pod, ExecOptions)> exec, attach;
  std::function<Task<http::Response>(const http::Request&, std::string ns, std::string pod)> forward;
  std::function<Task<std::vector<PodUsage>>()> pod_usage;
  std::function<Task<Usage>()> node_usage;
};

class ApiServer {
 public:
  // Makes the PKI and writes the kubeconfig. Listens from here on; throws unavailable when the port is taken.
  ApiServer(Executor executor, ApiServerConfig config, Store& store, Clock& clock);
  ~ApiServer();
  // Creates what every cluster has: namespaces, roles, Service kubernetes. Before run().
  Task<> prepare();
  Task<> run();  // answers until cancelled
  void connect(PodAccess access);
  // GET /readyz: once it is set, while `why` names nothing that keeps failing.
  void set_ready(bool ready);
  void unready_while(std::function<std::optional<std::string>()> why);

  const std::string& ca_certificate() const;
  // Defaults, checks and admission of an object that a controller makes. Throws ApiError.
  Task<json::object> admit(const kube::Resource& r, json::object object) const;
  // For the automatic volumes of pods. Throws not_found when the account is absent.
  Task<IssuedToken> issue_token(TokenRequest request);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace workflow::engine
