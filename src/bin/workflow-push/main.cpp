// What sshd and git start for the builder: /usr/bin/workflow-push in the platform image.
#include "builder/client.h"

int main(int argc, char** argv) { return workflow::builder::client_main(argc, argv); }
