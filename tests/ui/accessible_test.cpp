// SPDX-License-Identifier: GPL-3.0-or-later
// What a screen reader meets.
#include "fixture.h"

#include "plots/plot.h"
#include "widgets/model_map.h"

#include <QAbstractItemView>
#include <QAbstractScrollArea>
#include <QAbstractSlider>
#include <QAccessible>

#include <cmath>

using namespace luthier::ui;

class AccessibleTest final : public QObject {
    Q_OBJECT
private slots:
    void aPlotSpeaksOneSentenceAndHasATableOfItsNumbers() {
        PlotGroup group;
        Plot plot(group, Plot::YRule::Loss, "Loss");
        QCOMPARE(plot.summary(), QString("Loss: no points yet."));
        std::vector<float> x, first, second;
        for (int i = 1; i <= 1000; ++i) {
            x.push_back(static_cast<float>(i));
            first.push_back(4.0f - static_cast<float>(i) * 0.003f);
            second.push_back(i == 1000 ? std::nanf("") : 2.0f);
        }
        for (const auto& [name, values] : {std::pair{"poems", &first}, {"stories", &second}}) {
            PlotCurve* curve = plot.addCurve();
            curve->x = &x;
            curve->y = values;
            curve->label = name;
        }
        group.setExtent(0, 1000);
        QAccessibleInterface* reader = QAccessible::queryAccessibleInterface(&plot);
        QVERIFY(reader);
        QCOMPARE(reader->role(), QAccessible::Chart);
        QCOMPARE(reader->text(QAccessible::Name), QString("Loss"));
        const QString sentence = reader->text(QAccessible::Description);
        QVERIFY2(sentence.contains("poems 3.997 at the start, 1.000 at the end, 1,000 points"),
                 qPrintable(sentence));
        QAccessibleTableInterface* table = reader->tableInterface();
        QVERIFY(table);
        QCOMPARE(table->columnCount(), 3);
        QCOMPARE(table->rowCount(), 60);
        QCOMPARE(table->columnDescription(1), QString("poems"));
        QCOMPARE(table->cellAt(0, 0)->text(QAccessible::Name), QString("1"));
        QCOMPARE(table->cellAt(59, 0)->text(QAccessible::Name), QString("1,000"));
        QCOMPARE(table->cellAt(59, 1)->text(QAccessible::Name), QString("1.000"));
        QCOMPARE(table->cellAt(59, 2)->text(QAccessible::Name), QString("–"));
        QCOMPARE(table->cellAt(60, 0), nullptr);
        QCOMPARE(table->cellAt(0, 1)->tableCellInterface()->columnIndex(), 1);
        group.setRange(100, 110);  // the table holds what is in view
        QCOMPARE(table->rowCount(), 11);
        QCOMPARE(reader->childCount(), 33);
        QVERIFY(!reader->child(32)->text(QAccessible::Name).isEmpty());
    }

    void theTermsOfALossAreLinesOfTheirOwnWhereARunTellsThem() {
        Fixture f;
        QJsonObject config = Fixture::config("terms", 40);
        QJsonObject train = config["train"].toObject();
        train["loss"] = QJsonObject{{"unlikelihood", 1.0}};
        config["train"] = train;
        const QString with = f.bench->queue.add(config, false, nullptr),
                      without = f.start("plain", 40);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(without)->record().status(), QString("finished"),
                                  40000);
        const auto lossPlot = [&](const QString& id) -> Plot* {
            f.bench->openRun(id);
            QTest::qWait(300);
            for (Plot* plot : f.window->findChildren<Plot*>())
                if (plot->isVisible() && plot->accessibleName() == "Loss" &&
                    plot->numbers().rows.size() == 40)
                    return plot;
            return nullptr;
        };
        Plot* plot = nullptr;
        QTRY_VERIFY_WITH_TIMEOUT(plot = lossPlot(with), 20000);
        QCOMPARE(plot->numbers().columns,
                 (QStringList{"step", "raw", "Loss", "L_LM, right answer", "L_UL, wrong answers",
                              "L_LN, right above wrong"}));
        QCOMPARE(plot->numbers().rows[39][4], QString("0.300"));  // smoothing a constant leaves it
        QVERIFY2(plot->summary().contains(
                     "L_UL, wrong answers 0.300 at the start, 0.300 at the end, 40 points"),
                 qPrintable(plot->summary()));
        QVERIFY(plot->showEndLabels);
        bool isTold = false;
        for (const LogLine& line : f.bench->feed(with)->record().log)
            isTold = isTold || line.words().contains("rank accuracy 62.5 %");
        QVERIFY(isTold);
        QTRY_VERIFY_WITH_TIMEOUT(plot = lossPlot(without), 20000);
        QCOMPARE(plot->numbers().columns, (QStringList{"step", "raw", "Loss"}));
        QVERIFY(!plot->showEndLabels);
    }

    void theMapHasACheckBoxForEachPart() {
        Fixture f;
        bool isThere = false;
        f.bench->catalogue.inspect("/models/story-2m", f.window.get(),
                                   [&](const QJsonObject&) { isThere = true; });
        QTRY_VERIFY_WITH_TIMEOUT(isThere, 20000);
        ModelMap map;
        map.resize(900, 300);
        map.setModel(f.bench->catalogue.knownInspect("/models/story-2m"));
        map.setTrained({}, {"q_proj"}, {}, {{"q_proj", 18432}});
        map.setEditable(true, true);
        QAccessibleInterface* reader = QAccessible::queryAccessibleInterface(&map);
        QCOMPARE(reader->childCount(), 9);
        QCOMPARE(reader->text(QAccessible::Description),
                 QString("1 of 9 parts train, in 6 of 6 layers."));
        QAccessibleInterface* query = reader->child(1);
        QCOMPARE(query->role(), QAccessible::CheckBox);
        QCOMPARE(query->text(QAccessible::Name), QString("q_proj, trained, 3,072 per layer"));
        QVERIFY(query->state().checked);
        QAccessibleInterface* gate = reader->child(5);
        QCOMPARE(gate->text(QAccessible::Name), QString("gate_proj, frozen, 98,304 parameters"));
        QVERIFY(!gate->state().checked && !gate->rect().isEmpty());
        QSignalSpy toggled(&map, &ModelMap::partToggled);
        gate->actionInterface()->doAction(QAccessibleActionInterface::toggleAction());
        QCOMPARE(toggled.count(), 1);
        QCOMPARE(toggled[0][0].toString(), QString("gate_proj"));
        QCOMPARE(toggled[0][1].toBool(), true);
        QAccessibleInterface* embedding = reader->child(0);
        QVERIFY(embedding->state().disabled);  // no method of the form trains it by a click
        map.setModel({});
        QVERIFY(!gate->isValid());
    }

    void everyControlThatTakesTheKeyboardHasAName() {
        Fixture f;
        f.bench->catalogue.refreshMethods();
        const QString id = f.start("named", 40);
        QTRY_COMPARE_WITH_TIMEOUT(f.bench->feed(id)->record().status(), QString("finished"), 40000);
        QTRY_VERIFY_WITH_TIMEOUT(f.bench->runs.find(id) && f.bench->catalogue.methodsLoaded(),
                                 20000);
        f.bench->editAsNewRun(Fixture::config("named", 40), "a test");
        QStringList nameless;
        for (const PageId page : {PageId::NewRun, PageId::Runs, PageId::Compare}) {
            f.window->showPage(page);
            QTRY_VERIFY_WITH_TIMEOUT(f.window->page(page)->isSettled(), 20000);
            QTest::qWait(300);
            for (QWidget* widget : f.window->page(page)->findChildren<QWidget*>()) {
                const bool isPane = qobject_cast<QAbstractScrollArea*>(widget) &&
                                    !qobject_cast<QAbstractItemView*>(widget) &&
                                    widget->accessibleName().isEmpty();
                if (!widget->isVisible() || !(widget->focusPolicy() & Qt::TabFocus) || isPane)
                    continue;
                QAccessibleInterface* reader = QAccessible::queryAccessibleInterface(widget);
                if (reader && !reader->text(QAccessible::Name).isEmpty()) continue;
                QStringList path;
                for (QWidget* at = widget; at && at != f.window.get() && path.size() < 4;
                     at = at->parentWidget())
                    path << at->metaObject()->className();
                nameless << pageKey(page) + ": " + path.join(" in ");
            }
        }
        QVERIFY2(nameless.isEmpty(), qPrintable(nameless.join("\n")));
    }
};

int main(int argc, char** argv) { return runTest<AccessibleTest>(argc, argv); }
#include "accessible_test.moc"
