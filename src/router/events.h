// src/router/events.h: what an annotation asked for and did not get, as an Event on its object.
#pragma once
#include "lib/kube/client.h"
#include "router/model.h"

namespace workflow::router {

// The Event of a problem. Its name follows from the problem: replicas that see the same make one Event.
json::object event_for(const Problem& problem, Time now);
// Never fails: an Event is not worth a failure. What the API says is logged.
Task<> record(kube::Client& client, std::vector<Problem> problems, Time now);

}  // namespace workflow::router
