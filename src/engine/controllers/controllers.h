// src/engine/controllers/controllers.h: the loops that make the cluster follow what its objects say.
//   Each controller is a pure function from objects and time to actions (its own file, with a table of tests) and a
//   short loop here that reads the store, calls it, and carries the actions out. The store's events wake the loops;
//   nothing polls.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/store.h"
#include "engine/usage.h"

namespace workflow::engine {

struct ControllersConfig {
  std::filesystem::path state;  // claims become folders in <state>/volumes
  std::string node_name;
  std::string root_ca;                     // PEM, published to every namespace
  std::string load_balancer_address;       // what LoadBalancer Services show
  std::vector<std::string> api_addresses;  // endpoints of Service kubernetes
  int api_port = 6443;
  std::function<Task<std::vector<PodUsage>>()> pod_usage;  // for autoscalers; none: nothing is measured
  // Defaults and admission of created objects, as the API server does it.
  std::function<Task<json::object>(const kube::Resource&, json::object)> admit;
};

class Controllers {
 public:
  Controllers(Executor executor, ControllersConfig config, Store& store, Clock& clock);
  ~Controllers();
  Task<> run();                                // until cancelled
  std::optional<std::string> problem() const;  // what keeps failing

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace workflow::engine
