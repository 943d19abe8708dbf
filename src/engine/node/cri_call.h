// src/engine/node/cri_call.h: gRPC calls as coroutines, for the files that make up cri::Client, and grpc_health.cpp.
#pragma once
#include <grpcpp/grpcpp.h>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <memory>

#include "containerd_containers.grpc.pb.h"
#include "containerd_events.grpc.pb.h"
#include "containerd_processes.grpc.pb.h"
#include "cri.grpc.pb.h"
#include "engine/node/cri_client.h"
#include "lib/base/error.h"

namespace workflow::engine::cri {

namespace rt = runtime::v1;
namespace ev = containerd::services::events::v1;
namespace ct = containerd::services::containers::v1;
namespace ts = containerd::services::tasks::v1;

ErrorKind kind_of(grpc::StatusCode code);

template <typename Request, typename Response>
struct Call {
  grpc::ClientContext context;
  Request request;
  Response response;
  grpc::Status status;
};

// One unary call: started by `start(context, request, response, callback)` on gRPC's threads, resumed on ours.
template <typename Response, typename Request, typename Start>
Task<Response> unary(Request request, std::chrono::milliseconds limit, Start start) {
  auto executor = co_await asio::this_coro::executor;
  auto call = std::make_shared<Call<Request, Response>>();
  call->request = std::move(request);
  call->context.set_deadline(std::chrono::system_clock::now() + limit);
  auto initiate = [&](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto slot = asio::get_associated_cancellation_slot(*shared);
    if (slot.is_connected()) slot.assign([call](asio::cancellation_type) { call->context.TryCancel(); });
    // The work guard keeps run() from returning while only gRPC holds the operation.
    auto work = asio::prefer(executor, asio::execution::outstanding_work.tracked);
    start(&call->context, &call->request, &call->response, [call, shared, work](const grpc::Status& status) {
      call->status = status;
      asio::post(work, [shared] {
        auto slot = asio::get_associated_cancellation_slot(*shared);
        if (slot.is_connected()) slot.clear();
        auto resume = std::move(*shared);
        resume();
      });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(initiate, asio::use_awaitable);
  const auto& status = call->status;
  if (status.error_code() == grpc::StatusCode::CANCELLED)
    throw boost::system::system_error(asio::error::operation_aborted);
  if (!status.ok()) throw Error{kind_of(status.error_code()), status.error_message()};
  co_return std::move(call->response);
}

struct Client::State {
  Executor executor;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<rt::RuntimeService::Stub> runtime;
  std::unique_ptr<rt::ImageService::Stub> images;
  std::unique_ptr<ev::Events::Stub> events;
  std::unique_ptr<ct::Containers::Stub> containers;
  std::unique_ptr<ts::Tasks::Stub> tasks;
};

// containerd keeps what CRI makes in a namespace of this name.
inline constexpr auto cri_namespace = "k8s.io";

// `stub` and `method` name the generated call; `state` keeps the stub alive while it runs.
#define WF_CRI_CALL(stub, method, request, limit)                                                               \
  unary<rt::method##Response>(request, limit, [state = state_](auto* context, auto* in, auto* out, auto done) { \
    state->stub->async()->method(context, in, out, std::move(done));                                            \
  })
// The same for containerd's own services.
#define WF_CONTAINERD_CALL(Response, stub, method, request, limit)                                  \
  unary<Response>(request, limit, [state = state_](auto* context, auto* in, auto* out, auto done) { \
    context->AddMetadata("containerd-namespace", cri_namespace);                                    \
    state->stub->async()->method(context, in, out, std::move(done));                                \
  })

}  // namespace workflow::engine::cri
