// What a trace keeps, and what it looks like to a viewer.
#include "tenure/trace/trace.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <thread>

namespace tenure {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;

Span span(std::string name, Span::Clock clock, int64_t begin, int64_t duration) {
  return {.name = std::move(name),
          .target = "aten::add.Tensor",
          .kind = Span::Kind::kOperator,
          .clock = clock,
          .run = 3,
          .thread = 1,
          .begin_ns = begin,
          .duration_ns = duration};
}

std::vector<json> of_phase(const json& document, const std::string& phase) {
  std::vector<json> found;
  for (const json& event : document.at("traceEvents"))
    if (event.at("ph") == phase) found.push_back(event);
  return found;
}

TEST(Trace, ChromesFormatHasMicrosecondsATrackForEachThreadAndOneProcessForTheDevice) {
  Trace trace;
  trace.add({span("a", Span::Clock::kHost, 1500, 2000), span("b", Span::Clock::kDevice, 4000, 250)},
            {{.name = "standing bytes", .time_ns = 5000, .value = 64}});
  const json document = json::parse(trace.to_chrome_json());
  const std::vector<json> spans = of_phase(document, "X");
  ASSERT_EQ(spans.size(), 2u);
  EXPECT_EQ(spans[0].at("ts"), 1.5);
  EXPECT_EQ(spans[0].at("dur"), 2.0);
  EXPECT_EQ(spans[0].at("cat"), "operator");
  EXPECT_EQ(spans[0].at("args").at("target"), "aten::add.Tensor");
  EXPECT_EQ(spans[0].at("args").at("run"), 3);
  EXPECT_NE(spans[0].at("pid"), spans[1].at("pid"));
  const std::vector<json> counters = of_phase(document, "C");
  ASSERT_EQ(counters.size(), 1u);
  EXPECT_EQ(counters[0].at("args").at("standing bytes"), 64);
  std::vector<std::string> names;
  for (const json& each : of_phase(document, "M")) names.push_back(each.at("args").at("name"));
  EXPECT_THAT(names, ElementsAre("host", "thread 1", "device", "work of thread 1"));
}

TEST(Trace, ANameThatIsNoUtf8IsStillWritten) {
  Trace trace;
  trace.add({span("\xff", Span::Clock::kHost, 0, 1)}, {});
  EXPECT_EQ(of_phase(json::parse(trace.to_chrome_json()), "X").size(), 1u);
}

TEST(Trace, RunsBeyondItsBoundAreCountedAndNotKept) {
  Trace trace(3);
  const Span one = span("a", Span::Clock::kHost, 0, 1);
  trace.add({one, one}, {});
  trace.add({one, one}, {});
  trace.add({one}, {});
  EXPECT_EQ(trace.spans().size(), 3u);
  EXPECT_EQ(trace.dropped_runs(), 1);
}

TEST(Trace, ThreadsAreNumberedInTheOrderInWhichTheyCome) {
  Trace trace;
  EXPECT_EQ(trace.thread(), 1);
  int64_t other = 0;
  std::thread([&] { other = trace.thread(); }).join();
  EXPECT_EQ(other, 2);
  EXPECT_EQ(trace.thread(), 1);
}

}  // namespace
}  // namespace tenure
