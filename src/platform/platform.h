// src/platform/platform.h: the platform on one machine: start it, keep it running, stop it, show it.
//   Owns    <state>/settings.json (how it was started) and the keeper processes.
//   Needs   root, the Debian packages that `up` names when one is missing, the images and the manifest.
//   Speaks  Kubernetes API to the engine that it starts.
#pragma once

namespace workflow::platform {

int up_main(int argc, char** argv);
int down_main(int argc, char** argv);
int status_main(int argc, char** argv);
// Restarts the engine when it dies, and is itself replaced by a watching twin: `workflow up` and workflow.service start
// it.
int keeper_main(int argc, char** argv);

}  // namespace workflow::platform
