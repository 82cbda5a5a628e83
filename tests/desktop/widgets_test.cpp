// SPDX-License-Identifier: GPL-3.0-or-later
// What the pages' own widgets count and decide.
#include "pages/export_detail.h"
#include "pages/export_records.h"
#include "settings/english_plurals.h"
#include "settings/undo.h"
#include "widgets/fact_rows.h"
#include "widgets/heat_text.h"
#include "widgets/length_histogram.h"
#include "widgets/theme_card.h"
#include "widgets/token_view.h"

#include <QJsonDocument>
#include <QJsonObject>
#include <QSignalSpy>
#include <QTemporaryDir>
#include <QTest>

using namespace luthier::ui;

class WidgetsTest final : public QObject {
    Q_OBJECT
private slots:
    void histogramCountsEveryRowBehindTheLimit();
    void histogramMovesWithTheKeyboardAndTellsOnce();
    void histogramLimitFollowsTheMouse();
    void underlineGrowsWithSurprise();
    void tokensReadAsWords();
    void heatTextKeepsItsText();
    void colourVisionKeepsGreyAndWhite();
    void pluralsAreEnglish();
    void undoStepDoesNotRepeatItself();
    void exportsAreReadFromTheirCertificates();
    void certificateIsShownAsItIsApplied();
};

void WidgetsTest::histogramCountsEveryRowBehindTheLimit() {
    LengthHistogram histogram;
    histogram.setLengths({{10, 4}, {20, 5}, {21, 1}});
    QCOMPARE(histogram.rowCount(), 10);
    QCOMPARE(histogram.rowsOver(9), 10);
    QCOMPARE(histogram.rowsOver(10), 6);
    QCOMPARE(histogram.rowsOver(20), 1);
    QCOMPARE(histogram.rowsOver(21), 0);
    QCOMPARE(histogram.tokensAll(), 4 * 10 + 5 * 20 + 21);
    QCOMPARE(histogram.tokensKept(15), 4 * 10 + 6 * 15);
    QCOMPARE(histogram.quantile(0.5), 20);
    QCOMPARE(histogram.quantile(0.4), 10);
    QCOMPARE(histogram.longest(), 21);
}

void WidgetsTest::histogramMovesWithTheKeyboardAndTellsOnce() {
    LengthHistogram histogram;
    histogram.setLengths({{100, 1}});
    histogram.setLimit(50);
    QSignalSpy moved(&histogram, &LengthHistogram::moved),
        chosen(&histogram, &LengthHistogram::chosen);
    QTest::keyPress(&histogram, Qt::Key_Right);
    QTest::keyPress(&histogram, Qt::Key_Right, Qt::ShiftModifier);
    QCOMPARE(moved.size(), 2);
    QCOMPARE(chosen.size(), 0);
    QTest::keyRelease(&histogram, Qt::Key_Right);
    QCOMPARE(chosen.size(), 1);
    QCOMPARE(chosen.first().first().toInt(), 67);
}

void WidgetsTest::histogramLimitFollowsTheMouse() {
    LengthHistogram histogram;
    histogram.resize(400, 196);
    histogram.setLengths({{100, 1}});
    histogram.setLimit(100);
    QSignalSpy chosen(&histogram, &LengthHistogram::chosen);
    QTest::mousePress(&histogram, Qt::LeftButton, {}, {200, 100});
    QTest::mouseRelease(&histogram, Qt::LeftButton, {}, {200, 100});
    QCOMPARE(chosen.size(), 1);
    QVERIFY(histogram.limit() > 35 && histogram.limit() < 65);
}

void WidgetsTest::underlineGrowsWithSurprise() {
    QCOMPARE(heatLevel(0.8).pixels, 0);
    QCOMPARE(heatLevel(-1).pixels, 0);
    QCOMPARE(heatLevel(0.79).pixels, 2);
    QCOMPARE(heatLevel(0.39).pixels, 3);
    QCOMPARE(heatLevel(0.09).pixels, 4);
    QVERIFY(heatLevel(0.7).strength < heatLevel(0.2).strength &&
            heatLevel(0.2).strength < heatLevel(0.01).strength);
}

void WidgetsTest::tokensReadAsWords() {
    bool hasSpace = false;
    QCOMPARE(readableToken(QStringLiteral("Ġthe"), &hasSpace), QStringLiteral("the"));
    QVERIFY(hasSpace);
    QCOMPARE(readableToken(QStringLiteral("▁the"), &hasSpace), QStringLiteral("the"));
    QVERIFY(hasSpace);
    QCOMPARE(readableToken(QStringLiteral("Ċ"), &hasSpace), QStringLiteral("↵"));
    QVERIFY(!hasSpace);
}

void WidgetsTest::heatTextKeepsItsText() {
    HeatText text("text");
    text.resize(200, 200);
    text.append({" Once", 0.5, -1, {}});
    text.append({" upon", 0.9, -1, {}});
    QCOMPARE(text.text(), QStringLiteral(" Once upon"));
    text.setBaseProbabilities({0.1, 0.2, 0.3});
    QCOMPARE(text.tokens()[1].baseProbability, 0.2);
    text.clear();
    QVERIFY(text.text().isEmpty());
}

void WidgetsTest::colourVisionKeepsGreyAndWhite() {
    for (const ColorVision vision : {ColorVision::Full, ColorVision::Deuteranopia,
                                     ColorVision::Protanopia, ColorVision::Tritanopia})
        for (const QColor& color : {QColor(Qt::white), QColor(Qt::black), QColor(128, 128, 128)}) {
            const QColor seen = simulated(color, vision);
            QVERIFY(std::abs(seen.red() - color.red()) <= 1 &&
                    std::abs(seen.green() - color.green()) <= 1 &&
                    std::abs(seen.blue() - color.blue()) <= 1);
        }
    // Red and green come close without the cones that part them.
    const QColor red = simulated(QColor(200, 60, 60), ColorVision::Deuteranopia),
                 green = simulated(QColor(110, 130, 60), ColorVision::Deuteranopia);
    QVERIFY(std::abs(red.red() - green.red()) < 40);
}

void WidgetsTest::pluralsAreEnglish() {
    EnglishPlurals plurals;
    QCoreApplication::installTranslator(&plurals);
    QCOMPARE(tr("%n row(s) cut", nullptr, 1), QStringLiteral("1 row cut"));
    QCOMPARE(tr("%n row(s) cut", nullptr, 3), QStringLiteral("3 rows cut"));
    QCOMPARE(tr("Row %1").arg(4), QStringLiteral("Row 4"));
    QCoreApplication::removeTranslator(&plurals);
}

void WidgetsTest::undoStepDoesNotRepeatItself() {
    QUndoStack stack;
    int value = 2;
    recordStep(stack, "two", [&] { value = 2; }, [&] { value = 1; });
    QCOMPARE(value, 2);
    stack.undo();
    QCOMPARE(value, 1);
    stack.redo();
    QCOMPARE(value, 2);
}

void WidgetsTest::exportsAreReadFromTheirCertificates() {
    QTemporaryDir folder;
    const auto write = [&](const QString& name, const QJsonObject& certificate) {
        QDir(folder.path()).mkpath(name);
        QFile file(folder.filePath(name + "/luthier-export.json"));
        QVERIFY(file.open(QIODevice::WriteOnly));
        file.write(QJsonDocument(certificate).toJson());
    };
    write("good", {{"format", "peft"},
                   {"run", "r1"},
                   {"passed", true},
                   {"files", QJsonArray{QJsonObject{{"name", "a"}, {"bytes", 7}},
                                        QJsonObject{{"name", "b"}, {"bytes", 5}}}}});
    write("bad", {{"format", "merged"}, {"run", "r1"}, {"passed", false}});
    QDir(folder.path()).mkpath("something-else");
    const std::vector<ExportRecord> records = readExports(folder.path());
    QCOMPARE(records.size(), std::size_t{2});
    const ExportRecord& good = records[0].format == "peft" ? records[0] : records[1];
    QVERIFY(good.passed());
    QCOMPARE(good.bytes, 12.0);
    QCOMPARE(good.run, QStringLiteral("r1"));
}

void WidgetsTest::certificateIsShownAsItIsApplied() {
    ExportRecord record;
    record.format = "gguf-merged";
    record.certificate = {{"passed", true},
                          {"max_abs_difference", 0.0122},
                          {"rounding", 0.0119},
                          {"noise", 0.0009},
                          {"tolerance", 0.0128},
                          {"merge_difference", 1.5e-5},
                          {"max_weight_difference", 0},
                          {"weight_tolerance", 1e-6},
                          {"tokens", 10},
                          {"greedy_agreement", 1}};
    const auto shown = [&] {
        ExportDetail detail;
        detail.showRecord("GGUF model", record, 0);
        for (const FactRows* rows : detail.findChildren<FactRows*>())
            if (rows->accessibleName() == "Certificate") return rows->accessibleDescription();
        return QString();
    };
    QVERIFY2(shown().contains("Largest logit difference  0.0122; Allowed  0.0128; Of it by the "
                              "format's rounding  0.0119"),
             qPrintable(shown()));
    QVERIFY(shown().contains("Merging alone, allowed 9.0e-4  1.5e-5") &&
            shown().contains("Weights, allowed 1.0e-6  0"));
    record.certificate["rounding"] = 0.0;
    QVERIFY(shown().contains("none, it keeps every number"));
    record.certificate = {{"passed", true},
                          {"max_abs_difference", 0},
                          {"tolerance", 1e-5}};  // as earlier versions wrote it
    QVERIFY(shown().startsWith("Largest logit difference  0; Allowed  1.0e-5; Mean KL"));
}

QTEST_MAIN(WidgetsTest)
#include "widgets_test.moc"
