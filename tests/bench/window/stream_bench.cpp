// SPDX-License-Identifier: GPL-3.0-or-later
// A run streams 200 events a second into the Runs page: gaps of the window's event loop. The stream
// comes from tests/ui/fake_cli.
#include "bench.h"

#include "client/workbench.h"
#include "frame/main_window.h"
#include "theme/theme.h"

#include <QJsonObject>

#include <csignal>

using namespace luthier::ui;
using namespace luthier::bench;

int main(int argc, char** argv) {
    const Home home;
    qputenv("LUTHIER_CLI", LUTHIER_FAKE_CLI);
    qputenv("FAKE_STEP_SECONDS", "0.005");
    QApplication app(argc, argv);
    Theme::instance().install(app);
    const int seconds = argc > 1 ? std::atoi(argv[1]) : 20;
    Workbench bench(home.workspace());
    MainWindow window(bench);
    window.resize(1440, 900);
    window.showPage(PageId::Runs);
    window.show();
    QString error;
    const QString id = bench.queue.add(
        {{"name", "stream"},
         {"model", QJsonObject{{"path", "/m"}}},
         {"method", QJsonObject{{"type", "lora"}}},
         {"train", QJsonObject{{"max_steps", 1000000}, {"eval_every", 400}, {"save_every", 1000}}}},
        true, &error);
    bench.openRun(id);
    if (!runUntil([&] { return bench.feed(id)->record().lastStep() > 100; }, 30000)) {
        std::printf("the stream never began: %s\n", qPrintable(error));
        return 1;
    }
    for (const auto& [page, name] : {std::pair{PageId::Runs, "Runs"},
                                     {PageId::Compare, "Compare"},
                                     {PageId::NewRun, "New run"}}) {
        window.showPage(page);
        runFor(1500);  // building a page is not streaming
        GapWatch watch;
        const auto before = bench.feed(id)->record().lastStep();
        watch.start();
        runFor(seconds * 1000);
        watch.stop();
        const auto after = bench.feed(id)->record().lastStep();
        std::printf("%-52s %8.0f events/s\n", name, static_cast<double>(after - before) / seconds);
        watch.gaps.print(
            (std::string(name) + ": gaps of the event loop (wanted: under 50)").c_str(), "ms");
    }
    bench.feed(id)->sendCommand({{"command", "stop"}});
    runUntil([&] { return bench.feed(id)->record().isOver(); }, 10000);
}
