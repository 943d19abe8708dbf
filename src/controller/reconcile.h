// src/controller/reconcile.h: at its start a controller brings the cluster to what the database says.
#pragma once
#include "controller/api.h"

namespace workflow::controller {

// What is right already is not touched. Returns when every app was looked at.
Task<> reconcile(const Parts& parts);

}  // namespace workflow::controller
