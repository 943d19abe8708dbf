// The first process of a buildpack app's container: /runner/init in the stack image.
#include "slugrunner/slugrunner.h"

int main(int argc, char** argv) { return workflow::slugrunner::slugrunner_main(argc, argv); }
