// SPDX-License-Identifier: GPL-3.0-or-later
// 100 runs of 100,000 points each in Compare: how long until the window answers and the curves are
// there, for a workspace never seen and for one that the index knows, and how fast they pan. Ten
// different logs, each linked into ten run folders: the disk is spared, every log is still read and
// folded a hundred times.
#include "bench.h"

#include "client/workbench.h"
#include "contract/events.h"
#include "frame/main_window.h"
#include "plots/plot.h"
#include "theme/theme.h"

#include <qcustomplot.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include <sys/resource.h>

using namespace luthier;
using namespace luthier::ui;
using namespace luthier::bench;

namespace {

void writeRuns(const QString& workspace, int runs, int points) {
    namespace fs = std::filesystem;
    const fs::path root(workspace.toStdString());
    std::vector<fs::path> logs;
    for (int run = 0; run < runs; ++run) {
        const fs::path folder =
            root / "runs" /
            ("20261124-10" + std::to_string(1000 + run) + "-bench-" + std::to_string(run));
        fs::create_directories(folder);
        std::ofstream(folder / "run.json") << Json{
            {"name", "bench-" + std::to_string(run)},
            {"group", "bench"},
            {"method", {{"type", "lora"}, {"r", run % 16 + 1}}},
            {"model", {{"path", "/models/bench"}}},
            {"train", {{"max_steps", points}}}}.dump();
        if (run >= 10) {
            fs::create_hard_link(logs[static_cast<std::size_t>(run % 10)], folder / "events.jsonl");
            continue;
        }
        logs.push_back(folder / "events.jsonl");
        std::ofstream log(logs.back());
        std::mt19937 random(static_cast<unsigned>(run));
        std::normal_distribution<double> noise(0, 0.08);
        StepFacts facts;
        for (int step = 1; step <= points; ++step) {
            facts.step = step;
            facts.loss = (1.2 + 0.1 * run + 3 * std::exp(-step / 9000.0)) * (1 + noise(random));
            facts.learningRate = 2e-4 * (1 - static_cast<double>(step) / points);
            facts.gradNorm = 0.8 + noise(random);
            facts.tokens = 4096;
            facts.supervisedTokens = 3000;
            facts.tokensPerSecond = 40000 + 1000 * noise(random);
            facts.stepSeconds = 0.1;
            facts.memory.hostBytes = 400'000'000;
            log << eventLine(event::step(facts), "bench", 1764000000.0 + 0.1 * step) << '\n';
            if (step % 10000 == 0)
                log << eventLine(event::eval(step, facts.loss, {}, 4, 4), "bench",
                                 1764000000.0 + 0.1 * step)
                    << '\n';
        }
        log << eventLine(Json{{"type", "finished"}, {"summary", {{"status", "finished"}}}}, "bench",
                         1764000000.0 + 0.1 * points)
            << '\n';
    }
}

/// Stamps the moments at which the plot was painted.
class PaintWatch final : public QObject {
public:
    bool eventFilter(QObject*, QEvent* event) override {
        if (event->type() == QEvent::Paint) {
            if (m_clock.isValid()) frames.add(static_cast<double>(m_clock.nsecsElapsed()) / 1e6);
            m_clock.start();
        }
        return false;
    }
    Samples frames;

private:
    QElapsedTimer m_clock;
};

void open(const QString& workspace, const char* what, bool pans) {
    GapWatch watch;
    QElapsedTimer clock;
    clock.start();
    Workbench bench(workspace);
    MainWindow window(bench);
    window.resize(1440, 900);
    window.showPage(PageId::Compare);
    window.show();
    watch.start();
    const bool isListed = runUntil([&] { return bench.runs.isLoaded(); }, 300000);
    std::printf("%-52s %8.2f s\n", (std::string(what) + ": runs listed").c_str(),
                static_cast<double>(clock.elapsed()) / 1000);
    const bool isDrawn = isListed && runUntil(
                                         [&] {
                                             return window.page(PageId::Compare)->isSettled() &&
                                                    !window.findChild<Plot*>()->curves.empty();
                                         },
                                         300000);
    runFor(300);
    std::printf("%-52s %8.2f s\n", (std::string(what) + ": all curves drawn").c_str(),
                static_cast<double>(clock.elapsed()) / 1000);
    watch.stop();
    watch.gaps.print((std::string(what) + ": gaps of the event loop").c_str(), "ms");
    if (!isDrawn) std::printf("%s: THE CURVES NEVER CAME\n", what);
    if (!pans || !isDrawn) return;

    Plot* plot = window.findChild<Plot*>();
    auto* canvas = plot->findChild<QCustomPlot*>();
    std::printf("%-52s %8zu\n", "curves in the plot", plot->curves.size());
    const QPoint centre = canvas->rect().center();
    const auto send = [&](QEvent::Type type, QPoint at, Qt::MouseButton button,
                          Qt::MouseButtons buttons) {
        QMouseEvent event(type, at, canvas->mapToGlobal(at), button, buttons, Qt::NoModifier);
        QCoreApplication::sendEvent(canvas, &event);
    };
    for (int i = 0; i < 8; ++i) {  // a fifth of the range in view, as after zooming with the wheel
        QWheelEvent wheel(centre, canvas->mapToGlobal(centre), {}, {0, 120}, Qt::NoButton,
                          Qt::ControlModifier, Qt::NoScrollPhase, false);
        QCoreApplication::sendEvent(canvas, &wheel);
    }
    runFor(300);
    for (const char* size : {"1440x900", "2560x1440"}) {
        const QStringList wh = QString(size).split('x');
        window.resize(wh[0].toInt(), wh[1].toInt());
        runFor(500);
        PaintWatch paints;
        Samples drawing;
        canvas->installEventFilter(&paints);
        send(QEvent::MouseButtonPress, centre, Qt::MiddleButton, Qt::MiddleButton);
        QTimer mouse;  // a mouse that reports 125 times a second
        mouse.setTimerType(Qt::PreciseTimer);
        int tick = 0;
        QObject::connect(&mouse, &QTimer::timeout, canvas, [&] {
            ++tick;
            drawing.add(plot->lastDrawMs());
            send(QEvent::MouseMove,
                 centre + QPoint(static_cast<int>(150 * std::sin(tick / 40.0)), 0), Qt::NoButton,
                 Qt::MiddleButton);
        });
        mouse.start(8);
        runFor(5000);
        mouse.stop();
        send(QEvent::MouseButtonRelease, centre, Qt::MiddleButton, Qt::NoButton);
        canvas->removeEventFilter(&paints);
        drawing.print((std::string("pan ") + size + ": drawing the plot").c_str(), "ms");
        paints.frames.print((std::string("pan ") + size + ": from frame to frame").c_str(), "ms");
        std::printf(
            "%-52s %8.1f frames/s at the median, %.1f at the 99th percentile (wanted: 30)\n",
            (std::string("pan ") + size).c_str(), 1000 / paints.frames.quantile(0.5),
            1000 / paints.frames.quantile(0.99));
        // The crosshair goes over the same curves.
        PaintWatch hover;
        canvas->installEventFilter(&hover);
        QTimer over;
        QObject::connect(&over, &QTimer::timeout, canvas, [&] {
            ++tick;
            send(QEvent::MouseMove,
                 centre + QPoint(static_cast<int>(200 * std::sin(tick / 40.0)), 0), Qt::NoButton,
                 Qt::NoButton);
        });
        over.start(8);
        runFor(3000);
        over.stop();
        canvas->removeEventFilter(&hover);
        hover.frames.print((std::string("crosshair ") + size + ": from frame to frame").c_str(),
                           "ms");
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%-52s %8.0f MiB\n", "peak memory of the window",
                static_cast<double>(usage.ru_maxrss) / 1024);
}

}  // namespace

int main(int argc, char** argv) {
    const Home home;
    QApplication app(argc, argv);
    Theme::instance().install(app);
    const int runs = argc > 1 ? std::atoi(argv[1]) : 100,
              points = argc > 2 ? std::atoi(argv[2]) : 100000;
    std::printf("Compare with %d runs of %d points\n", runs, points);
    writeRuns(home.workspace(), runs, points);
    open(home.workspace(), "first open", false);
    open(home.workspace(), "second open", true);
}
