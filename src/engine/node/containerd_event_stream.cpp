// What containerd tells by itself.
#include "engine/node/cri_call.h"
#include "engine/node/cri_mapping.h"

namespace workflow::engine::cri {

using namespace std::chrono_literals;

namespace {

constexpr auto hello_topic = "/workflow/subscribed";

// Reads the event stream on gRPC's threads and hands each event to the loop. Keeps itself alive until the call is done.
struct EventStream : grpc::ClientReadReactor<ev::Envelope> {
  grpc::ClientContext context;
  ev::SubscribeRequest request;
  ev::Envelope envelope;
  Executor executor;
  std::function<void()> hello;
  std::function<void(const Event&)> told;
  std::function<void()> ended;
  bool stopped = false;  // on the loop only: the owner has gone
  std::shared_ptr<EventStream> self;

  void OnReadDone(bool ok) override {  // NOLINT(parameters): gRPC's own
    if (!ok) return;
    if (envelope.topic() == hello_topic)
      asio::post(executor, [me = self] {
        if (!me->stopped) me->hello();
      });
    if (auto event = event_from(envelope))
      asio::post(executor, [me = self, e = *event] {
        if (!me->stopped) me->told(e);
      });
    StartRead(&envelope);
  }
  void OnDone(const grpc::Status&) override {
    asio::post(executor, [me = self] {
      me->stopped = true;
      if (auto end = std::exchange(me->ended, nullptr)) end();
    });
    self.reset();
  }
};

}  // namespace

Task<> Client::events(std::function<void()> on_open, std::function<void(const Event&)> on_event) {
  auto executor = co_await asio::this_coro::executor;
  auto stream = std::make_shared<EventStream>();
  stream->executor = asio::prefer(executor, asio::execution::outstanding_work.tracked);
  auto open = std::make_shared<bool>(false);
  stream->hello = [open, on_open = std::move(on_open)] {
    if (!std::exchange(*open, true)) on_open();
  };
  stream->told = std::move(on_event);
  stream->context.AddMetadata("containerd-namespace", cri_namespace);
  stream->request.add_filters(R"(topic~="^/tasks/(exit|oom)$")");
  stream->request.add_filters(R"(topic~="^/images/")");
  stream->request.add_filters(std::string("topic==\"") + hello_topic + "\"");
  stream->self = stream;

  // containerd says nothing until there is an event, so we publish one of our own until it comes back.
  TaskGroup greeter(executor);
  auto greet = [](std::shared_ptr<State> state, std::shared_ptr<bool> heard) -> Task<> {
    for (auto pause = 5ms; !*heard; pause = std::min<std::chrono::milliseconds>(pause * 2, 500ms)) {
      ev::PublishRequest request;
      request.set_topic(hello_topic);
      request.mutable_event()->set_type_url("types.workflow.dev/subscribed");
      try {
        co_await unary<ev::PublishResponse>(request, 5s, [state](auto* context, auto* in, auto* out, auto done) {
          context->AddMetadata("containerd-namespace", cri_namespace);
          state->events->async()->Publish(context, in, out, std::move(done));
        });
      } catch (const Error&) {
        // Not there yet or gone again: the stream itself will say so.
      }
      co_await sleep_for(pause);
    }
  };
  greeter.spawn("containerd events", greet(state_, open));

  auto initiate = [&](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto slot = asio::get_associated_cancellation_slot(*shared);
    if (slot.is_connected()) slot.assign([stream](asio::cancellation_type) { stream->context.TryCancel(); });
    stream->ended = [shared] {
      auto own_slot = asio::get_associated_cancellation_slot(*shared);
      if (own_slot.is_connected()) own_slot.clear();
      auto resume = std::move(*shared);
      resume();
    };
    state_->events->async()->Subscribe(&stream->context, &stream->request, stream.get());
    stream->StartRead(&stream->envelope);
    stream->StartCall();
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(initiate, asio::use_awaitable);
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await keep_waiting();
  co_await greeter.stop();
  co_await asio::this_coro::throw_if_cancelled(throws);
  const auto state = co_await asio::this_coro::cancellation_state;
  if (state.cancelled() != asio::cancellation_type::none)
    throw boost::system::system_error(asio::error::operation_aborted);
}

}  // namespace workflow::engine::cri
