// SPDX-License-Identifier: GPL-3.0-or-later
// The desktop program: arguments, theme, window. The engine is another process (luthier-cli); this
// one never links it.

#include "client/cli_locator.h"
#include "client/workbench.h"
#include "frame/main_window.h"
#include "settings/settings.h"
#include "theme/theme.h"

#include <QApplication>
#include <QCommandLineParser>
#include <QElapsedTimer>
#include <QTimer>

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <initializer_list>
#include <string_view>
#include <vector>

using namespace luthier::ui;

namespace {

/// Whether there is a display to open, or a platform plugin was named that needs none.
bool hasScreen() {
    const auto names = [](const char* variable) { return !qEnvironmentVariableIsEmpty(variable); };
    return names("DISPLAY") || names("WAYLAND_DISPLAY") || names("QT_QPA_PLATFORM");
}

/// Waits until the page says that it is settled (at most 20 s), then writes the window as it is and
/// ends the program.
void scheduleScreenshot(QApplication& app, MainWindow& window, PageId page, const QString& file,
                        int extraMs) {
    auto* clock = new QElapsedTimer;
    clock->start();
    auto* timer = new QTimer(&window);
    auto* calm = new int(0);
    QObject::connect(timer, &QTimer::timeout, &window, [=, &app, &window] {
        const bool isSettled = window.page(page)->isSettled();
        *calm = isSettled ? *calm + 1 : 0;
        if (*calm < 4 && clock->elapsed() < 20000) return;
        if (clock->elapsed() < extraMs) return;
        timer->stop();
        const bool ok = window.grab().save(file);
        if (!ok) qCritical("The picture could not be written to %s.", qPrintable(file));
        app.exit(ok ? 0 : 3);
    });
    timer->start(120);
}

}  // namespace

int main(int argc, char** argv) {
    QElapsedTimer sinceStart;
    sinceStart.start();
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    const auto says = [&](std::initializer_list<std::string_view> any) {
        return std::find_first_of(words.begin(), words.end(), any.begin(), any.end()) !=
               words.end();
    };
    if (!hasScreen() && !says({"-platform", "--platform"})) {
        // Qt would abort. Help and version need no screen; anything else is said in a sentence.
        if (!says({"-h", "--help", "--help-all", "-v", "--version"})) {
            fputs(
                "luthier: there is no screen here: neither DISPLAY nor WAYLAND_DISPLAY is set.\n"
                "Start it on a desktop, forward one (ssh -X), or use luthier-cli, which does all "
                "of it in a terminal.\n",
                stderr);
            return 2;
        }
        qputenv("QT_QPA_PLATFORM", "offscreen");
    }
    QApplication::setHighDpiScaleFactorRoundingPolicy(
        Qt::HighDpiScaleFactorRoundingPolicy::PassThrough);
    QApplication app(argc, argv);
    QApplication::setApplicationName("luthier");
    QApplication::setApplicationVersion(QStringLiteral(LUTHIER_VERSION));
    QApplication::setDesktopFileName("luthier");

    QCommandLineParser parser;
    parser.setApplicationDescription(
        "Fits language models to your own work: methods, runs, comparison and export in one "
        "window.");
    parser.addHelpOption();
    parser.addVersionOption();
    parser.addPositionalArgument(
        "WORKSPACE",
        "folder with models, data and runs (default: $LUTHIER_WORKSPACE or ~/.local/share/luthier)",
        "[WORKSPACE]");
    const QCommandLineOption demo("demo", "open with the bundled model and data");
    const QCommandLineOption screenshot(
        "screenshot", "show PAGE, write it to the file that follows, and exit", "PAGE FILE.png");
    const QCommandLineOption size("size", "window size for --screenshot", "WxH", "1440x900");
    const QCommandLineOption theme("theme", "light, dark or contrast, for this start only", "NAME");
    const QCommandLineOption run("run", "the run to show on the Runs page", "ID");
    const QCommandLineOption wait("wait", "for --screenshot: wait at least this long", "MS", "0");
    const QCommandLineOption timing("timing",
                                    "print the milliseconds until the window is visible, and exit");
    parser.addOptions({demo, screenshot, size, theme, run, wait, timing});
    // --screenshot takes two words, which QCommandLineParser cannot say: the second is taken out
    // first.
    QStringList arguments = QApplication::arguments();
    QString file;
    if (const qsizetype at = arguments.indexOf("--screenshot"); at > 0 && at + 2 < arguments.size())
        file = arguments.takeAt(at + 2);
    parser.process(arguments);

    const QStringList positional = parser.positionalArguments();
    PageId page = PageId::Start;
    if (parser.isSet(screenshot)) {
        if (!pageFromKey(parser.value(screenshot), &page) || file.isEmpty()) {
            qCritical(
                "Usage: luthier --screenshot PAGE FILE.png; pages: start library data new-run runs "
                "compare playground export settings");
            return 2;
        }
    }

    Settings::applyAppearance();
    if (parser.isSet(theme))
        Theme::instance().setChoice(parser.value(theme) == "light"      ? ThemeChoice::Light
                                    : parser.value(theme) == "contrast" ? ThemeChoice::HighContrast
                                                                        : ThemeChoice::Dark);
    Theme::instance().install(app);

    const QString remembered = Settings::value("window/workspace").toString();
    const bool isFixed =
        !qEnvironmentVariable("LUTHIER_WORKSPACE").isEmpty() || remembered.isEmpty();
    Workbench bench(positional.isEmpty() ? (isFixed ? defaultWorkspace() : remembered)
                                         : positional.first());
    // The queue's launcher thread exists by now and keeps its priority, so training runs at normal
    // priority and this window below it.
    setpriority(PRIO_PROCESS, 0, 10);

    MainWindow window(bench);
    window.restore();
    if (parser.isSet(screenshot)) {
        const QStringList wh = parser.value(size).split('x');
        window.setMinimumSize(0, 0);
        window.resize(wh.value(0).toInt(), wh.value(1).toInt());
    } else {
        pageFromKey(Settings::value("window/page", "start").toString(), &page);
    }
    if (parser.isSet(run)) bench.openRun(parser.value(run));
    if (parser.isSet(demo)) {
        window.openDemo();
        if (parser.isSet(screenshot)) window.showPage(page);
    } else {
        window.showPage(page);
    }
    window.show();
    if (parser.isSet(timing)) {
        QTimer::singleShot(0, &window, [&] {
            printf("%lld ms\n", static_cast<long long>(sinceStart.elapsed()));
            app.exit(0);
        });
    }
    QTimer::singleShot(0, &bench, [&bench] {
        bench.catalogue.refreshMethods();
        bench.catalogue.refreshModels();
    });
    if (parser.isSet(screenshot))
        scheduleScreenshot(app, window, page, file, parser.value(wait).toInt());
    return QApplication::exec();
}
