// Turns an app's source into a slug: /builder/build in the stack image.
#include "slugbuilder/slugbuilder.h"

int main(int argc, char** argv) { return workflow::slugbuilder::slugbuilder_main(argc, argv); }
