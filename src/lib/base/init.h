// src/lib/base/init.h: what the first process of a PID namespace owes to the others, as in a pod.
//   PID 1 inherits every process whose parent has ended, and what it does not wait for stays as a zombie; signals that
//   it does not handle are ignored. So the program itself is a child, and the first process reaps, passes every signal
//   on, and ends as the program ends (128 + n when signal n ended it, as a shell would say it).
#pragma once
#include <signal.h>
#include <sys/types.h>

namespace workflow {

// `program` in a child when we are PID 1, else in this process. Call it first in main, before there is a thread.
int run_program(int (*program)(int argc, char** argv), int argc, char** argv);

// The same for a program that was started otherwise. Signals wait for us from `block_signals` on, which comes before
// the child, so that none is lost; the set before is returned.
sigset_t block_signals();
enum class PassSignalsTo { process, group };
int attend(pid_t program, PassSignalsTo to);  // until it has ended; its status

}  // namespace workflow
