#include "controller/words.h"

#include <array>
#include <string_view>

#include "lib/base/encoding.h"

namespace workflow::controller {
namespace {

// Six letters and eight, so that every name is as long as the next.
constexpr std::array<std::string_view, 64> adjectives = {
    "active", "amused", "august", "azured", "benign", "bolder", "breezy", "bright", "candid", "casual", "cheery",
    "chosen", "clever", "cosmic", "cuddly", "dainty", "decent", "devout", "direct", "divine", "double", "earthy",
    "elated", "exotic", "facile", "famous", "fluent", "frosty", "gentle", "genial", "golden", "hearty", "hybrid",
    "iconic", "jaunty", "jovial", "joyful", "kindly", "lively", "lovely", "lucent", "mellow", "modest", "native",
    "nimble", "ornate", "placid", "poetic", "polite", "proven", "rising", "robust", "rugged", "serene", "silver",
    "simple", "smooth", "steady", "starry", "sturdy", "subtle", "superb", "tender", "upbeat"};
constexpr std::array<std::string_view, 64> nouns = {
    "acoustic", "airplane", "alphabet", "antelope", "aqueduct", "aquarium", "backpack", "bagpipes",
    "ballpark", "baritone", "bluebird", "boundary", "buttress", "calendar", "campfire", "capybara",
    "cardinal", "carousel", "cashmere", "cathedra", "chestnut", "children", "clarinet", "compound",
    "daffodil", "dinosaur", "doorbell", "dovetail", "elephant", "fairways", "farmland", "festival",
    "firewood", "flagpole", "flamingo", "fountain", "gardener", "gazelles", "goldfish", "harmonic",
    "headland", "hedgehog", "horizons", "keyboard", "kingbird", "ladybird", "lakeside", "landmark",
    "lemonade", "mandolin", "meridian", "moonbeam", "mountain", "notebook", "overture", "pavilion",
    "penguins", "rainbows", "sapphire", "snowfall", "starfish", "sunlight", "tapestry", "windmill"};

std::string_view pick(const std::array<std::string_view, 64>& words) {
  return words[static_cast<unsigned char>(random_bytes(1)[0]) % words.size()];
}

}  // namespace

std::string random_app_name() { return std::string(pick(adjectives)) + "-" + std::string(pick(nouns)); }

}  // namespace workflow::controller
