// SPDX-License-Identifier: GPL-3.0-or-later
// Runs as the window lives with them: queue, a worker that dies, a window that closes and comes
// back, a fast stream.
#include "fixture.h"

#include "pages/compare_methods.h"
#include "pages/failed_view.h"
#include "pages/live_page.h"
#include "pages/queue_pane.h"
#include "pages/run_header.h"
#include "pages/run_plots.h"
#include "widgets/controls.h"

#include <QAbstractButton>
#include <QAbstractEventDispatcher>
#include <QCheckBox>
#include <QJsonArray>
#include <QLineEdit>
#include <QMouseEvent>
#include <QPushButton>

#include <cmath>
#include <ctime>
#include <memory>

using namespace luthier::ui;

class RunTest final : public QObject {
    Q_OBJECT
private slots:
    void theQueueKeepsItsOrder() {
        Fixture f;
        f.bench->queue.setHeld(true);
        const QString a = f.start("a", 5), b = f.start("b", 5), c = f.start("c", 5);
        f.bench->queue.move(c, 0);
        f.bench->queue.remove(b);
        QCOMPARE(f.bench->queue.waiting().size(), std::size_t(2));
        QSignalSpy started(&f.bench->queue, &RunQueue::started);
        f.bench->queue.setHeld(false);
        QTRY_COMPARE_WITH_TIMEOUT(started.count(), 2, 40000);
        QCOMPARE(started[0][0].toString(), c);
        QCOMPARE(started[1][0].toString(), a);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(a)->record().status(), QString("finished"), 20000);
    }

    void atMostOneRunTrainsAtATime() {
        Fixture f;
        const QString a = f.start("a", 60), b = f.start("b", 5);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->queue.activeId(), b, 40000);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(a)->record().status(), QString("finished"), 60000);
    }

    void theQueueGoesOnAfterAFailureAndTheRunCanBeTriedAgain() {
        Fixture f;
        qputenv("FAKE_FAIL_AT", "3");
        f.bench->queue.setHeld(true);
        const QString bad = f.start("bad", 20);
        f.bench->queue.setHeld(false);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(bad)->record().status(), QString("failed"), 30000);
        qunsetenv("FAKE_FAIL_AT");
        const QString good = f.start("good", 5);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(good)->record().status(), QString("finished"),
                                  30000);
        f.bench->openRun(bad);
        QTRY_VERIFY_WITH_TIMEOUT(f.says("ran out of memory at step 3"), 20000);
        QTRY_VERIFY_WITH_TIMEOUT(f.says("Batch 2, accumulate 2"), 10000);
        auto* again = qobject_cast<QAbstractButton*>(f.says("Apply and start again"));
        QVERIFY(again);
        QSignalSpy started(&f.bench->queue, &RunQueue::started);
        again->click();
        QTRY_COMPARE_WITH_TIMEOUT(started.count(), 1, 30000);
        const QString second = started[0][0].toString();
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(second)->record().status(), QString("finished"),
                                  30000);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->runs.find(second), 20000);
        QCOMPARE(f.bench->runs.find(second)->config["train"].toObject()["batch_size"].toInt(), 2);
        QCOMPARE(f.bench->runs.find(second)
                     ->config["train"]
                     .toObject()["gradient_accumulation_steps"]
                     .toInt(),
                 2);
    }

    void aWaitingRunIsDraggedByItsGrip() {
        Fixture f;
        f.bench->queue.setHeld(true);
        const QString a = f.start("a", 5), b = f.start("b", 5), c = f.start("c", 5);
        f.window->showPage(PageId::Runs);
        const auto rowOf = [&](const QString& id) -> QueueRow* {
            for (QueueRow* row : f.window->findChildren<QueueRow*>())
                if (row->id() == id && row->isVisible()) return row;
            return nullptr;
        };
        QTRY_VERIFY(rowOf(c));
        QueueRow* row = rowOf(c);
        const QPoint grip(row->width() - 15, row->height() / 2);
        QTest::mousePress(row, Qt::LeftButton, {}, grip);
        const QPointF to(grip.x(), grip.y() - 2 * row->height());
        QMouseEvent moved(QEvent::MouseMove, to, row->mapToGlobal(to), Qt::NoButton, Qt::LeftButton,
                          {});
        QCoreApplication::sendEvent(row, &moved);
        QMouseEvent released(QEvent::MouseButtonRelease, grip, row->mapToGlobal(grip),
                             Qt::LeftButton, {}, {});
        QCoreApplication::sendEvent(row, &released);
        QCOMPARE(f.bench->queue.waiting()[0].id, c);
        QCOMPARE(f.bench->queue.waiting()[1].id, a);
        QCOMPARE(f.bench->queue.waiting()[2].id, b);
    }

    void comparingMethodsGivesOneConfigurationAMethodAndSeed() {
        Fixture f;
        f.bench->catalogue.refreshMethods();
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->catalogue.methodsLoaded(), 20000);
        CompareMethods dialog(
            *f.bench, Fixture::config("base", 100),
            {{"ia3", QJsonObject{{"feedforward_modules", QJsonArray{"down_proj"}}}}},
            f.window.get());
        dialog.show();
        QCOMPARE(dialog.configs().size(), std::size_t(1));
        const auto box = [&](const QString& name) {
            for (QCheckBox* check : dialog.findChildren<QCheckBox*>())
                if (check->accessibleName() == name) return check;
            return static_cast<QCheckBox*>(nullptr);
        };
        box("IA³")->setChecked(true);
        const auto choice = [&](const QString& name) {
            for (SegmentedControl* control : dialog.findChildren<SegmentedControl*>())
                if (control->accessibleName() == name) return control;
            return static_cast<SegmentedControl*>(nullptr);
        };
        QTest::keyClick(choice("Seeds"), Qt::Key_Right);
        const auto configs = dialog.configs();
        QCOMPARE(configs.size(), std::size_t(6));
        QSet<QString> names;
        for (const QJsonObject& config : configs) {
            names << config["name"].toString();
            QCOMPARE(config["group"].toString(), QString("methods"));
            QCOMPARE(config["train"].toObject()["max_steps"].toInt(), 100);
        }
        QCOMPARE(names.size(), 6);
        QCOMPARE(configs[3]["method"].toObject()["type"].toString(), QString("ia3"));
        QCOMPARE(configs[3]["method"].toObject()["feedforward_modules"].toArray().size(), 1);
        QCOMPARE(configs[3]["train"].toObject()["seed"].toInt(), 42);
        QCOMPARE(configs[5]["train"].toObject()["seed"].toInt(), 44);
        QCOMPARE(configs[3]["train"].toObject()["learning_rate"].toDouble(),
                 3e-3);  // fifteen times LoRA's 2e-4
        auto* rate = [&] {
            for (QLineEdit* edit : dialog.findChildren<QLineEdit*>())
                if (edit->accessibleName() == "Learning rate of IA³") return edit;
            return static_cast<QLineEdit*>(nullptr);
        }();
        rate->setText("fast");
        QPushButton* queue = nullptr;
        for (QPushButton* button : dialog.findChildren<QPushButton*>())
            if (button->accessibleName().startsWith("Queue ")) queue = button;
        QVERIFY(queue && !queue->isEnabled());
        rate->setText("1e-3");
        QVERIFY(queue->isEnabled());

        QTest::keyClick(choice("Learning rates"),
                        Qt::Key_Right);  // a third, itself and three times
        const auto tried = dialog.configs();
        QCOMPARE(tried.size(), std::size_t(18));
        QSet<double> rates;
        for (const QJsonObject& config : tried)
            if (config["method"].toObject()["type"] == "ia3")
                rates << config["train"].toObject()["learning_rate"].toDouble();
        QCOMPARE(rates, (QSet<double>{3.3e-4, 1e-3, 3e-3}));

        QTest::keyClick(
            choice("Same for every run"),
            Qt::Key_Right);  // the same time: steps follow from a pace that is measured first
        QVERIFY(!queue->isEnabled());
        for (QPushButton* button : dialog.findChildren<QPushButton*>())
            if (button->text() == "Measure times") button->click();
        QTRY_VERIFY_WITH_TIMEOUT(queue->isEnabled(), 20000);
        const auto timed = dialog.configs();
        QCOMPARE(timed.front()["train"].toObject()["max_steps"].toInt(),
                 60 * 4);  // a quarter of a second a step, measured for every method alike
        QCOMPARE(timed.back()["train"].toObject()["max_steps"].toInt(), 60 * 4);
    }

    /// Its plots read the record in place, so the feed of what is shown must outlive the queue
    /// behind it; run under ASan too.
    void aShownRunStaysWholeWhileOthersComeAndGo() {
        Fixture f;
        qputenv("FAKE_STEP_SECONDS", "0.005");
        f.bench->queue.setHeld(true);
        QStringList ids;
        for (const char* name : {"stopped", "failed", "interrupted", "finished", "fifth", "sixth"})
            ids << f.start(name, qstrcmp(name, "finished") == 0 ? 40 : 100000);
        f.window->showPage(PageId::Runs);
        auto* page = f.window->findChild<LivePage*>();
        auto* plots = page->findChild<RunPlots*>();
        const auto shownSteps = [&]() -> std::size_t {  // what is drawn, checked number by number
            for (const Plot* plot : plots->findChildren<Plot*>())
                for (const auto& curve : plot->curves) {
                    if (!curve->y) continue;
                    for (const float value : *curve->y)
                        if (std::isfinite(value) && (value < 0 || value > 1e9F)) return 0;
                }
            const auto& curve = plots->findChildren<Plot*>().first()->curves.front();
            return curve->y ? curve->y->size() : 0;
        };
        f.bench->queue.setHeld(false);
        const QStringList ends = {"stopped", "failed", "interrupted", "finished"};
        for (int i = 0; i < 4; ++i) {
            const auto feed = f.bench->feed(ids[i]);
            QTRY_VERIFY_WITH_TIMEOUT(feed->record().lastStep() > 12, 60000);
            f.bench->openRun(ids[i]);
            if (i % 2 == 0)
                QTRY_VERIFY_WITH_TIMEOUT(shownSteps() > 12,
                                         60000);  // the others may have ended by now
            if (i == 0) feed->sendCommand({{"command", "stop"}});
            if (i == 2) QCOMPARE(::kill(static_cast<pid_t>(f.workerOf(ids[i])), SIGKILL), 0);
            QTRY_VERIFY_WITH_TIMEOUT(f.bench->queue.activeId() != ids[i], 60000);
        }
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->queue.activeId(), ids[4],
                                  60000);  // the fifth trains on, the sixth waits
        for (int i = 0; i < 4; ++i) {
            QTRY_VERIFY_WITH_TIMEOUT(
                f.bench->runs.find(ids[i]) && f.bench->runs.find(ids[i])->status == ends[i], 60000);
            f.bench->openRun(ids[i]);
            const std::weak_ptr<RunFeed> shown = f.bench->feed(ids[i]);
            QTRY_VERIFY_WITH_TIMEOUT(shown.lock()->isCaughtUp(), 60000);
            emit page->findChild<RunHeader*>()->curvesToggled(true);  // of a failed one too
            QTRY_VERIFY_WITH_TIMEOUT(shownSteps() > 12, 20000);
            const std::size_t steps = shownSteps();
            for (const QString& other :
                 ids) {  // others are looked at, as the queue and the pill do
                f.bench->feed(other);
                QCoreApplication::sendPostedEvents(nullptr, QEvent::DeferredDelete);
                f.window->grab();
                QVERIFY(!shown.expired());
                QCOMPARE(shownSteps(), steps);
            }
        }
        const std::weak_ptr<RunFeed> left = f.bench->feed(ids[3]);
        f.bench->openRun(ids[4]);
        for (int i = 0; i < 3; ++i) f.bench->feed(ids[i]);
        QCOMPARE(left.use_count(), 0L);  // what nobody shows is let go
        f.bench->feed(ids[4])->sendCommand({{"command", "stop"}});
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->queue.activeId(), ids[5], 60000);
        f.window->grab();
    }

    void theQueueSurvivesARestartOfTheWindow() {
        Fixture f;
        f.bench->queue.setHeld(true);
        const QString a = f.start("a", 5), b = f.start("b", 5);
        f.bench->queue.move(b, 0);
        f.close();
        qputenv("LUTHIER_CLI", "/nowhere/luthier-cli");  // nothing may start before we looked
        f.open();
        QCOMPARE(f.bench->queue.waiting().size(), std::size_t(2));
        QCOMPARE(f.bench->queue.waiting()[0].id, b);
        QCOMPARE(f.bench->queue.waiting()[0].name, QString("b"));
        QCOMPARE(f.bench->queue.waiting()[1].id, a);
    }

    void aKilledWorkerLeavesAPageWithCauseAndRemedyAndTheWindowLives() {
        Fixture f;
        const QString id = f.start("doomed", 100000);
        f.bench->openRun(id);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->feed(id)->record().lastStep() > 25, 30000);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->feed(id)->isWorkerAlive(), 10000);
        QCOMPARE(::kill(static_cast<pid_t>(f.workerOf(id)), SIGKILL), 0);
        QTRY_VERIFY_WITH_TIMEOUT(f.says("The training process ended at step"), 20000);
        QVERIFY2(f.says("ended from outside"), "the cause is missing");
        auto* go = qobject_cast<QAbstractButton*>(f.says("Continue from step"));
        QVERIFY2(go && go->isEnabled(), "the remedy is missing");
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->queue.activeId(), QString(), 20000);
        QTRY_VERIFY_WITH_TIMEOUT(
            f.bench->runs.find(id) && f.bench->runs.find(id)->status == "interrupted", 20000);
        // The window lives: it trains the next one.
        const QString next = f.start("next", 5);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(next)->record().status(), QString("finished"),
                                  30000);
    }

    void aRunGoesOnWithoutTheWindowAndIsFoundAgain() {
        Fixture f;
        const QString id = f.start("lasting", 100000);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->feed(id)->record().lastStep() > 10, 30000);
        f.close();
        const auto size = [&] {
            return QFileInfo(f.workspace() + "/runs/" + id + "/events.jsonl").size();
        };
        const qint64 before = size();
        QTRY_VERIFY_WITH_TIMEOUT(size() > before, 10000);
        QVERIFY(isWorkerAlive(f.workspace() + "/runs/" + id));
        f.open();
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->queue.activeId(), id, 20000);
        f.bench->openRun(id);
        QTRY_VERIFY_WITH_TIMEOUT(
            f.bench->feed(id)->isCaughtUp() && f.bench->feed(id)->record().lastStep() > 20, 20000);
        QCOMPARE(f.bench->feed(id)->record().curves.step.front(), 1.0f);  // all of it, from the log
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->feed(id)->isWorkerAlive(), 10000);
        f.bench->feed(id)->sendCommand({{"command", "stop"}});
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(id)->record().status(), QString("stopped"), 20000);
    }

    void pausingAndChangingTheRateShowInTheRecord() {
        Fixture f;
        const QString id = f.start("held", 100000);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->feed(id)->record().lastStep() > 5, 30000);
        f.bench->feed(id)->sendCommand({{"command", "pause"}});
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(id)->record().status(), QString("paused"), 20000);
        f.bench->feed(id)->sendCommand({{"command", "resume"}});
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(id)->record().status(), QString("running"), 20000);
        QVERIFY(f.bench->feed(id)->record().curves.size() ==
                f.bench->feed(id)->record().snapshot.steps.size());
    }

    /// Processor time of one turn of the event loop, not wall time: a busy machine must not fail
    /// this. The wall figures are printed by tests/bench/window.
    void noTurnOfTheEventLoopWorksLongerThan50MsWhileARunStreams200EventsASecond() {
        Fixture f;
        qputenv("FAKE_STEP_SECONDS", "0.005");
        const QString id = f.start("stream", 1000000);
        f.bench->openRun(id);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->feed(id)->record().lastStep() > 200, 30000);
        const auto cpuMs = [] {
            timespec now{};
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
            return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
        };
        // From one wait to the next: waiting itself costs no processor time.
        double longest = 0, last = cpuMs();
        const auto block = connect(QAbstractEventDispatcher::instance(),
                                   &QAbstractEventDispatcher::aboutToBlock, this, [&] {
                                       const double now = cpuMs();
                                       longest = std::max(longest, now - last);
                                       last = now;
                                   });
        // Other programs that crowd the memory make single turns longer, ours makes all tries so.
        long long steps = 0;
        for (int i = 0; i < 3 && (i == 0 || longest >= 50); ++i) {
            longest = 0;
            const auto before = f.bench->feed(id)->record().lastStep();
            QEventLoop loop;  // QTest::qWait() never waits inside the dispatcher
            QTimer::singleShot(4000, &loop, &QEventLoop::quit);
            loop.exec();
            steps = f.bench->feed(id)->record().lastStep() - before;
            qInfo("%lld steps in 4 s, longest turn %.1f ms of processor time", steps, longest);
        }
        disconnect(block);
        QVERIFY2(steps > 200, "the stream was too slow to mean anything");
        QVERIFY2(longest > 0.5, "nothing was measured");
        QVERIFY2(longest < 50, qPrintable(QString::number(longest)));
    }
};

int main(int argc, char** argv) { return runTest<RunTest>(argc, argv); }
#include "run_test.moc"
