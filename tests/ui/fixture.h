// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A window of its own for each test: settings and workspace in a temporary folder,
// tests/ui/fake_cli as the engine.

#include "client/workbench.h"
#include "frame/main_window.h"
#include "theme/theme.h"

#include <QFile>
#include <QJsonDocument>
#include <QJsonObject>
#include <QTemporaryDir>
#include <QtTest>

#include <csignal>
#include <memory>

namespace luthier::ui {

class Fixture final {
public:
    Fixture() {
        qputenv("LUTHIER_CLI", LUTHIER_FAKE_CLI);
        qputenv("FAKE_STEP_SECONDS", "0.01");
        for (const char* name : {"FAKE_DIE", "FAKE_FAIL_AT", "FAKE_SILENT", "FAKE_GARBLE"})
            qunsetenv(name);
        open();
    }
    ~Fixture() {
        close();
        // Detached workers of this workspace outlive the window: that is the point of them, but not
        // of a test.
        for (const QString& run :
             QDir(workspace() + "/runs").entryList(QDir::Dirs | QDir::NoDotAndDotDot))
            if (const qint64 pid = workerOf(run);
                pid > 0 && isWorkerAlive(workspace() + "/runs/" + run))
                ::kill(static_cast<pid_t>(pid), SIGKILL);
    }

    QString workspace() const { return m_folder.path() + "/workspace"; }
    void open() {
        bench = std::make_unique<Workbench>(workspace());
        window = std::make_unique<MainWindow>(*bench);
        window->resize(1440, 900);
        window->show();
    }
    /// The window closes; runs go on.
    void close() {
        window.reset();
        bench.reset();
        QCoreApplication::sendPostedEvents(nullptr,
                                           QEvent::DeferredDelete);  // feeds go a turn later
    }

    static QJsonObject config(const QString& name, int steps, const QString& method = "lora") {
        return {
            {"name", name},
            {"model", QJsonObject{{"path", "/models/story-2m"}}},
            {"method", QJsonObject{{"type", method}}},
            {"train",
             QJsonObject{
                 {"max_steps", steps}, {"eval_every", 10}, {"save_every", 10}, {"batch_size", 4}}}};
    }
    QString start(const QString& name, int steps) {
        QString error;
        const QString id = bench->queue.add(config(name, steps), false, &error);
        if (id.isEmpty()) qFatal("%s", qPrintable(error));
        return id;
    }
    qint64 workerOf(const QString& run) const {
        QFile file(workspace() + "/runs/" + run + "/worker.json");
        return file.open(QIODevice::ReadOnly)
                   ? QJsonDocument::fromJson(file.readAll()).object()["pid"].toInteger()
                   : 0;
    }
    /// Any visible label, button or field of the window that holds these words.
    QWidget* says(const QString& words) const {
        for (QWidget* widget : window->findChildren<QWidget*>()) {
            if (!widget->isVisible()) continue;
            const QVariant text = widget->property("text");
            if (text.toString().contains(words) || widget->accessibleName().contains(words))
                return widget;
        }
        return nullptr;
    }

    std::unique_ptr<Workbench> bench;
    std::unique_ptr<MainWindow> window;

private:
    QTemporaryDir m_folder;
};

/// main() of a test: a private home before the first QSettings, then Qt Test.
template <class Test>
int runTest(int argc, char** argv) {
    QTemporaryDir home;
    qputenv("HOME", home.path().toUtf8());
    qputenv("XDG_CONFIG_HOME", (home.path() + "/config").toUtf8());
    qputenv("XDG_RUNTIME_DIR", home.path().toUtf8());
    QFile::setPermissions(home.path(), QFile::ReadOwner | QFile::WriteOwner | QFile::ExeOwner);
    QApplication app(argc, argv);
    Theme::instance().install(app);
    Test test;
    return QTest::qExec(&test, argc, argv);
}

}  // namespace luthier::ui
