// What comes from outside in a push: the command of who logged in, the lines of the hook, keys, calls.
#include <cstddef>
#include <cstdint>

#include "builder/cleaner.h"
#include "builder/client.h"
#include "builder/command.h"
#include "builder/keys.h"
#include "builder/packets.h"
#include "builder/refs.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow;
  using namespace workflow::builder;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 6) {
    case 0: {
      const auto command = parse_command(text);
      if (const auto* push = std::get_if<ReceivePack>(&command)) WF_CHECK(AppName::parse(push->app.text()));
      break;
    }
    case 1:
      if (const auto updates = parse_ref_updates(text)) {
        std::string again;
        for (const auto& update : *updates)
          again += update.before.text() + " " + update.after.text() + " " + update.ref + "\n";
        WF_CHECK(again == text);
        const auto plan = plan_push(*updates, deploy_branches(""));
        WF_CHECK(!plan.refusal || !plan.build);
      }
      break;
    case 2: {
      const auto space = text.find(' ');
      if (space == std::string::npos) break;
      const auto fingerprint = fingerprint_of(text.substr(0, space), text.substr(space + 1));
      if (fingerprint) WF_CHECK(fingerprint->size() == 47);
      break;
    }
    case 3: {
      const auto fields = parse_call(text);
      if (!fields.empty()) WF_CHECK(print_call(fields) == text);
      break;
    }
    case 4: {
      // Whatever pieces it comes in, a stream means the same.
      PacketReader whole, pieces;
      PushRequest request, slow;
      whole.skip(text);
      request.feed(text);
      for (const char& c : text) {
        pieces.skip({&c, 1});
        slow.feed({&c, 1});
      }
      WF_CHECK(whole.at_boundary() == pieces.at_boundary());
      WF_CHECK(request.can("atomic") == slow.can("atomic"));
      parse_transaction(text);
      break;
    }
    default: app_of_key(text);
  }
  return 0;
}
