// src/controller/hephy/import.h: `workflow import hephy`: a platform of Deis or Hephy Workflow v2 becomes one of ours.
//   Needs   the controller's settings: run it in a controller's pod. The platform must be new: without users.
#pragma once

namespace workflow::controller::hephy {

int import_main(int argc, char** argv);

}  // namespace workflow::controller::hephy
