// SPDX-License-Identifier: GPL-3.0-or-later
// The pages driven as a user would, on the demo model and with the real engine as their child.
#include "client/cli_locator.h"
#include "client/workbench.h"
#include "pages/data_page.h"
#include "pages/export_card.h"
#include "pages/export_detail.h"
#include "pages/export_page.h"
#include "pages/library_page.h"
#include "pages/playground_column.h"
#include "pages/playground_page.h"
#include "pages/settings_page.h"
#include "pages/start_page.h"
#include "settings/settings.h"
#include "widgets/heat_text.h"
#include "widgets/length_histogram.h"
#include "widgets/run_list.h"
#include "widgets/simple_table.h"
#include "widgets/token_view.h"

#include <QAccessible>
#include <QComboBox>
#include <QDragEnterEvent>
#include <QLabel>
#include <QLineEdit>
#include <QMimeData>
#include <QPlainTextEdit>
#include <QProcess>
#include <QPushButton>
#include <QScrollArea>
#include <QSignalSpy>
#include <QStandardPaths>
#include <QTemporaryDir>
#include <QTest>

using namespace luthier::ui;

class PagesTest final : public QObject {
    Q_OBJECT
private slots:
    void initTestCase();
    void cleanupTestCase() { m_bench.reset(); }
    void playgroundWritesAllColumnsTogether();
    void playgroundNamesABadSeed();
    void draggingTheLimitCutsRowsAndUndoRestoresThem();
    void aBrokenFileIsToldInThePage();
    void exportIsVerifiedAndListed();
    void ggufExportsSayWhatLoadsThem();
    void libraryShowsWhyAModelCannotBeTrained();
    void droppedFilesAreListedAndUndone();
    void aDroppedPickleIsRefusedInOneSentence();
    void aDroppedGgufModelBecomesAFolder();
    void aLargeFileShowsItsFirstRowsBeforeAllAreCounted();
    void settingsAreUndone();
    void everyControlHasAName();

private:
    static void drop(QWidget& page, const QString& path);
    QPushButton* button(QWidget& page, const QString& name);
    QTemporaryDir m_folder;
    std::unique_ptr<Workbench> m_bench;
};

void PagesTest::initTestCase() {
    QVERIFY(!cliPath().isEmpty() && !demoFolder().isEmpty());
    qputenv("XDG_CONFIG_HOME", m_folder.filePath("config").toUtf8());
    QSettings::setPath(QSettings::IniFormat, QSettings::UserScope, m_folder.filePath("config"));
    QDir(m_folder.path()).mkpath("workspace/models/strange");
    QFile strange(m_folder.filePath("workspace/models/strange/config.json"));
    QVERIFY(strange.open(QIODevice::WriteOnly));
    strange.write(R"({"model_type": "strange-family", "architectures": ["StrangeModel"]})");
    strange.close();
    QProcess train;
    train.start(cliPath(),
                {"train", demoFolder() + "/poems-lora.json", "--set", "train.max_steps=3", "--set",
                 "train.eval_every=3", "--set", "train.sample_prompts=[]", "--workspace",
                 m_folder.filePath("workspace")});
    QVERIFY(train.waitForFinished(240000));
    QCOMPARE(train.exitCode(), 0);
    m_bench = std::make_unique<Workbench>(m_folder.filePath("workspace"));
    m_bench->catalogue.refreshMethods();
    m_bench->catalogue.refreshModels();
    QTRY_VERIFY_WITH_TIMEOUT(m_bench->catalogue.modelsLoaded() &&
                                 m_bench->catalogue.methodsLoaded() && m_bench->runs.isLoaded(),
                             30000);
    QCOMPARE(m_bench->runs.runs().size(), std::size_t{1});
}

QPushButton* PagesTest::button(QWidget& page, const QString& name) {
    for (QPushButton* each : page.findChildren<QPushButton*>())
        if ((each->text().trimmed() == name || each->accessibleName() == name) && !each->isHidden())
            return each;
    return nullptr;
}

void PagesTest::playgroundWritesAllColumnsTogether() {
    PlaygroundPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    page.open(demoFolder() + "/story-2m", m_bench->runs.runs().front().folder + "/adapter");
    const auto columns = page.findChildren<PlaygroundColumn*>();
    QCOMPARE(columns.size(), 2);
    QVERIFY(columns[0]->isBase() != columns[1]->isBase());
    QTest::mouseClick(button(page, "Generate"), Qt::LeftButton);
    QTRY_VERIFY_WITH_TIMEOUT(
        !columns[0]->text()->tokens().empty() && !columns[1]->text()->tokens().empty(), 60000);
    QTRY_VERIFY_WITH_TIMEOUT(page.isSettled(), 60000);
    for (PlaygroundColumn* column : columns) {
        QVERIFY(column->text()->text().size() > 20);
        for (const HeatToken& token : column->text()->tokens()) {
            QVERIFY(token.probability > 0 && token.probability <= 1);
            QCOMPARE(token.alternatives.size(), std::size_t{5});
        }
        QCOMPARE(column->text()->tokens().front().baseProbability >= 0, !column->isBase());
    }
}

void PagesTest::playgroundNamesABadSeed() {
    PlaygroundPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    for (QLineEdit* field : page.findChildren<QLineEdit*>())
        if (field->accessibleName().startsWith("Seed")) field->setText("seven");
    QTest::mouseClick(button(page, "Generate"), Qt::LeftButton);
    bool isTold = false;
    for (const QLabel* label : page.findChildren<QLabel*>())
        isTold = isTold || (label->text().contains("\"seven\"") && label->isVisible());
    QVERIFY(isTold);
}

void PagesTest::draggingTheLimitCutsRowsAndUndoRestoresThem() {
    DataPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    page.open(demoFolder() + "/poems.jsonl");
    auto* rows = page.findChild<TokenView*>();
    auto* histogram = page.findChild<LengthHistogram*>();
    QTRY_VERIFY_WITH_TIMEOUT(!rows->rows().empty(), 30000);
    QCOMPARE(histogram->rowCount(), 480);
    QCOMPARE(histogram->rowsOver(512), 0);
    const int longest = histogram->longest();
    emit histogram->chosen(50);
    QTRY_VERIFY_WITH_TIMEOUT(rows->rows().front().cutTokens > 0, 30000);
    const TokenRow& row = rows->rows().front();
    const auto isCut = [](const TokenChip& chip) { return chip.state == TokenState::Cut; };
    QCOMPARE(std::count_if(row.tokens.begin(), row.tokens.end(), isCut), row.cutTokens);
    QCOMPARE(static_cast<std::int64_t>(row.tokens.size()) - row.cutTokens, 50);
    QCOMPARE(histogram->longest(), longest);
    m_bench->undo.undo();
    QTRY_VERIFY_WITH_TIMEOUT(rows->rows().front().cutTokens == 0, 30000);
}

void PagesTest::aBrokenFileIsToldInThePage() {
    const QString path = m_folder.filePath("broken.jsonl");
    QFile file(path);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": oops}\n");
    file.close();
    DataPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    page.open(path);
    const auto isTold = [&] {
        for (const QLabel* label : page.findChildren<QLabel*>())
            if (label->isVisible() && label->text().contains("broken.jsonl") &&
                label->text().contains("row 2"))
                return true;
        return false;
    };
    QTRY_VERIFY_WITH_TIMEOUT(isTold(), 30000);
}

void PagesTest::exportIsVerifiedAndListed() {
    ExportPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    page.enter();
    QTRY_VERIFY_WITH_TIMEOUT(page.isSettled() && page.findChildren<ExportCard*>().size() >= 3,
                             30000);
    ExportCard *peft = nullptr, *merged = nullptr;
    for (ExportCard* card : page.findChildren<ExportCard*>()) {
        if (card->format() == "peft") peft = card;
        if (card->format() == "merged") merged = card;
    }
    QVERIFY(peft != nullptr && merged != nullptr && peft->state() == ExportCard::State::Ready);
    emit peft->exportWanted();
    emit merged->exportWanted();  // waits for the first
    QCOMPARE(peft->state(), ExportCard::State::Writing);
    QCOMPARE(merged->state(), ExportCard::State::Writing);
    QTRY_COMPARE_WITH_TIMEOUT(peft->state(), ExportCard::State::Verified, 60000);
    QTRY_COMPARE_WITH_TIMEOUT(merged->state(), ExportCard::State::Verified, 60000);
    QVERIFY(QFileInfo::exists(
        m_folder.filePath("workspace/exports/poems-lora-peft/adapter_model.safetensors")));
    QCOMPARE(page.findChild<SimpleTable*>()->rows()->rowCount(), 2);
}

/// Every line that is shown works: files exist, our own program is run, the others' commands name
/// what they read.
void PagesTest::ggufExportsSayWhatLoadsThem() {
    ExportPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    page.enter();
    QTRY_VERIFY_WITH_TIMEOUT(page.isSettled() && page.findChildren<ExportCard*>().size() >= 5,
                             30000);
    const auto cardOf = [&](const QString& format) {
        for (ExportCard* card : page.findChildren<ExportCard*>())
            if (card->format() == format) return card;
        return static_cast<ExportCard*>(nullptr);
    };
    const auto* detail = page.findChild<ExportDetail*>();
    const auto isShown = [&](const QString& words) {
        for (const QWidget* each : detail->findChildren<QWidget*>())
            if (!each->isHidden() && each->property("text").toString().trimmed() == words)
                return true;
        return false;
    };
    const QString base = demoFolder() + "/story-2m";
    for (const QString format : {"gguf", "gguf-merged"}) {
        ExportCard* card = cardOf(format);
        QVERIFY(card != nullptr && card->state() == ExportCard::State::Ready);
        emit card->exportWanted();
        QTRY_COMPARE_WITH_TIMEOUT(card->state(), ExportCard::State::Verified, 120000);
        const QString folder = m_folder.filePath("workspace/exports/poems-lora-" + format),
                      file = folder + (format == "gguf" ? "/adapter.gguf" : "/model.gguf");
        QVERIFY(QFileInfo::exists(file));
        QTRY_COMPARE_WITH_TIMEOUT(detail->path(), folder, 10000);
        QVERIFY(isShown("Verified by reloading"));
        QCOMPARE(isShown("Try it"), format == "gguf");  // the playground takes no GGUF model
        const Elsewhere told = elsewhere(
            {format == "gguf" ? "gguf-adapter" : "gguf-model", "gguf-merged"}, folder, base);
        QStringList tools;
        for (const Snippet& snippet : told.snippets) {
            tools << snippet.tool;
            QVERIFY2(snippet.text.contains(file), qPrintable(snippet.text));
            QVERIFY2(!snippet.text.contains("from peft"), qPrintable(snippet.text));
        }
        QCOMPARE(tools, format == "gguf" ? (QStringList{"llama.cpp", "Ollama", "luthier-cli"})
                                         : (QStringList{"llama.cpp", "Ollama", "LM Studio"}));
        QVERIFY(detail->findChild<QPlainTextEdit*>()->toPlainText().contains(file));
        if (format == "gguf-merged") continue;
        // Our own lines are run as they stand, by a shell.
        for (const Snippet& snippet : told.snippets) {
            QStringList own;
            for (const QString& line : QString(snippet.text).replace("\\\n", " ").split('\n'))
                if (line.startsWith("luthier-cli")) own << line;
            QProcess shell;
            QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
            environment.insert(
                "PATH", QFileInfo(cliPath()).absolutePath() + ":" + environment.value("PATH"));
            shell.setProcessEnvironment(environment);
            shell.start("sh", {"-ec", own.join('\n')});
            QVERIFY(shell.waitForFinished(120000));
            QVERIFY2(shell.exitCode() == 0, shell.readAllStandardError().constData());
            QFile::remove(QFileInfo(folder).absolutePath() + "/story-2m.gguf");
        }
        QSignalSpy tried(m_bench.get(), &Workbench::playgroundWanted);
        QTest::mouseClick(button(page, "Try it"), Qt::LeftButton);
        QCOMPARE(tried.count(), 1);
        PlaygroundPage playground(*m_bench);
        playground.resize(1200, 720);
        playground.show();
        playground.open(tried[0][0].toString(), tried[0][1].toString());
        QTest::mouseClick(button(playground, "Generate"), Qt::LeftButton);
        const auto columns = playground.findChildren<PlaygroundColumn*>();
        QVERIFY(columns.size() >= 2);
        const auto hasWritten = [](PlaygroundColumn* column) {
            return !column->text()->tokens().empty();
        };
        QTRY_VERIFY_WITH_TIMEOUT(
            std::all_of(columns.begin(), columns.end(), hasWritten) && playground.isSettled(),
            60000);
    }
}

void PagesTest::libraryShowsWhyAModelCannotBeTrained() {
    LibraryPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    auto* models = page.findChild<SimpleTable*>();
    const QString path =
        QFileInfo(m_folder.filePath("workspace/models/strange")).absoluteFilePath();
    QTRY_VERIFY(models->rows()->find(path) >= 0);
    emit models->selected(path);
    const auto isTold = [&] {
        for (const QLabel* label : page.findChildren<QLabel*>())
            if (label->text().contains("strange-family") && !label->isHidden()) return true;
        return false;
    };
    QVERIFY(isTold());
}

void PagesTest::drop(QWidget& page, const QString& path) {
    QMimeData mime;
    mime.setUrls({QUrl::fromLocalFile(path)});
    QDragEnterEvent enter({300, 300}, Qt::CopyAction, &mime, Qt::LeftButton, {});
    QCoreApplication::sendEvent(&page, &enter);
    QVERIFY(enter.isAccepted());
    QDropEvent event({300, 300}, Qt::CopyAction, &mime, Qt::LeftButton, {});
    QCoreApplication::sendEvent(&page, &event);
}

void PagesTest::droppedFilesAreListedAndUndone() {
    const QString path = m_folder.filePath("dropped.jsonl");
    QFile file(path);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    file.close();
    LibraryPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    drop(page, path);
    const auto isListed = [&] {
        for (const QJsonObject& dataset : m_bench->catalogue.datasets())
            if (dataset["path"].toString() == path) return true;
        return false;
    };
    QTRY_VERIFY_WITH_TIMEOUT(isListed(), 30000);
    m_bench->undo.undo();
    QTRY_VERIFY_WITH_TIMEOUT(!isListed(), 30000);
}

void PagesTest::aDroppedPickleIsRefusedInOneSentence() {
    const QString path = m_folder.filePath("pytorch_model.bin");
    QFile file(path);
    QVERIFY(file.open(QIODevice::WriteOnly));
    file.write("\x80\x02}q\x00.");
    file.close();
    LibraryPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    drop(page, path);
    const auto isTold = [&] {
        for (const QLabel* label : page.findChildren<QLabel*>())
            if (label->isVisible() && label->text().contains("pytorch_model.bin is a pickle"))
                return true;
        return false;
    };
    QTRY_VERIFY_WITH_TIMEOUT(isTold(), 30000);
    QVERIFY(!Settings::value("library/folders").toStringList().contains(path));
}

void PagesTest::aDroppedGgufModelBecomesAFolder() {
    const QString path = m_folder.filePath("story q8.gguf");
    QProcess write;
    write.start(cliPath(), {"export", demoFolder() + "/story-2m", "--format", "gguf-merged",
                            "--type", "q8_0", "--out", path});
    QVERIFY(write.waitForFinished(120000));
    QCOMPARE(write.exitCode(), 0);
    LibraryPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    drop(page, path);
    const QString made =
        QFileInfo(m_folder.filePath("workspace/models/story-q8")).absoluteFilePath();
    const auto isListed = [&] {
        for (const QJsonObject& model : m_bench->catalogue.models())
            if (QFileInfo(model["path"].toString()) == QFileInfo(made))
                return model["can_train"].toBool();
        return false;
    };
    QTRY_VERIFY_WITH_TIMEOUT(isListed(), 60000);
    QVERIFY(QFileInfo::exists(made + "/tokenizer.json"));
    QVERIFY(QFileInfo::exists(path));
}

void PagesTest::aLargeFileShowsItsFirstRowsBeforeAllAreCounted() {
    const QString path = m_folder.filePath("large.jsonl");
    QFile file(path);
    QVERIFY(file.open(QIODevice::WriteOnly));
    for (int i = 0; i < 60000; ++i)
        file.write(QStringLiteral("{\"prompt\": \"Tell me about the number %1 and the %2 others "
                                  "that come before it.\", \"completion\": \"It is %3.\"}\n")
                       .arg(i)
                       .arg(i % 977)
                       .arg(7 * i)
                       .toUtf8());
    file.close();
    QVERIFY(file.size() > (4 << 20));
    DataPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    page.open(path);
    auto* rows = page.findChild<TokenView*>();
    auto* histogram = page.findChild<LengthHistogram*>();
    QTRY_VERIFY_WITH_TIMEOUT(!rows->rows().empty(), 30000);
    QCOMPARE(histogram->rowCount(), 0);  // not counted yet
    QCOMPARE(rows->rows().front().number, 1);
    QTRY_COMPARE_WITH_TIMEOUT(histogram->rowCount(), 60000, 60000);
    QVERIFY(!rows->rows().empty());
}

void PagesTest::settingsAreUndone() {
    SettingsPage page(*m_bench);
    page.resize(1200, 720);
    page.show();
    for (QAbstractButton* each : page.findChildren<QAbstractButton*>())
        if (each->accessibleName() == "Light") each->click();
    QCOMPARE(Settings::value("appearance/theme").toString(), QStringLiteral("light"));
    m_bench->undo.undo();
    QCOMPARE(Settings::value("appearance/theme").toString(), QStringLiteral("dark"));
}

void PagesTest::everyControlHasAName() {
    std::vector<std::unique_ptr<Page>> pages;
    pages.push_back(std::make_unique<StartPage>(*m_bench));
    pages.push_back(std::make_unique<LibraryPage>(*m_bench));
    pages.push_back(std::make_unique<DataPage>(*m_bench));
    pages.push_back(std::make_unique<PlaygroundPage>(*m_bench));
    pages.push_back(std::make_unique<ExportPage>(*m_bench));
    pages.push_back(std::make_unique<SettingsPage>(*m_bench));
    for (const auto& page : pages) {
        page->resize(1200, 720);
        page->show();
        page->enter();
        QTRY_VERIFY_WITH_TIMEOUT(page->isSettled(), 30000);
        for (const QWidget* widget : page->findChildren<QWidget*>()) {
            if (!(widget->focusPolicy() & Qt::TabFocus) || widget->isHidden() ||
                !widget->isVisibleTo(page.get()))
                continue;
            if (qobject_cast<const QScrollArea*>(widget) || widget->objectName().startsWith("qt_"))
                continue;
            const QAccessibleInterface* face =
                QAccessible::queryAccessibleInterface(const_cast<QWidget*>(widget));
            const QString name = face ? face->text(QAccessible::Name) : QString();
            QVERIFY2(!name.trimmed().isEmpty(),
                     qPrintable(page->title() + ": " + widget->metaObject()->className() + " in " +
                                widget->parentWidget()->metaObject()->className()));
        }
    }
}

QTEST_MAIN(PagesTest)
#include "pages_test.moc"
