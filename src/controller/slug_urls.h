// src/controller/slug_urls.h: containers that start later find their slug, too.
#pragma once
#include "controller/api.h"

namespace workflow::controller {

// Renews the signed URLs of all apps, at the start and twice a day; until cancelled.
Task<> renew_slug_urls(const Parts& parts);

}  // namespace workflow::controller
