// SPDX-License-Identifier: GPL-3.0-or-later
#include "fixture.h"

#include "widgets/controls.h"
#include "widgets/schema_form.h"

#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QSignalSpy>

using namespace luthier::ui;

namespace {

QJsonObject field(const QString& key, const QString& type, const QJsonValue& fallback,
                  QJsonObject more = {}) {
    more.insert("key", key);
    more.insert("type", type);
    more.insert("default", fallback);
    more.insert("label", "The " + key);
    more.insert("help", "About " + key);
    return more;
}

class Form final {
public:
    explicit Form(const QJsonArray& fields) {
        form.setSections({{"train", "Training", fields, 0, {}}});
        form.resize(700, 500);
        form.show();
        QApplication::setActiveWindow(&form);
    }
    template <class Widget>
    Widget* editor(const QString& key) {
        for (Widget* widget : form.findChildren<Widget*>())
            if (widget->accessibleName() == "The " + key && !widget->window()->isHidden())
                return widget;
        qFatal("no editor for %s", qPrintable(key));
    }
    void type(const QString& key, const QString& text) {
        auto* edit = editor<QLineEdit>(key);
        edit->setFocus();
        edit->selectAll();
        if (text.isEmpty())
            QTest::keyClick(edit, Qt::Key_Delete);
        else
            QTest::keyClicks(edit, text);
    }
    QJsonValue value(const QString& key) { return form.value("train", key); }

    SchemaForm form;
};

}  // namespace

class SchemaFormTest final : public QObject {
    Q_OBJECT
private slots:
    void everyTypeOfTextGivesItsValue_data() {
        QTest::addColumn<QString>("type");
        QTest::addColumn<QString>("typed");
        QTest::addColumn<QJsonValue>("expected");
        QTest::newRow("integer") << "integer" << "12" << QJsonValue(12);
        QTest::newRow("integer with separators") << "integer" << "1,200" << QJsonValue(1200);
        QTest::newRow("real") << "real" << "2e-4" << QJsonValue(2e-4);
        QTest::newRow("text") << "text" << "two words" << QJsonValue("two words");
        QTest::newRow("path") << "path" << "/models/a" << QJsonValue("/models/a");
        QTest::newRow("names") << "names" << "q_proj, v_proj"
                               << QJsonValue(QJsonArray{"q_proj", "v_proj"});
        QTest::newRow("names as an expression")
            << "names" << "layers\\.[0-9]+\\..*_proj" << QJsonValue("layers\\.[0-9]+\\..*_proj");
        QTest::newRow("integers") << "integers" << "0, 3,5" << QJsonValue(QJsonArray{0, 3, 5});
        QTest::newRow("number map")
            << "number_map" << "{\"q_proj\": 16}" << QJsonValue(QJsonObject{{"q_proj", 16}});
    }
    void everyTypeOfTextGivesItsValue() {
        QFETCH(QString, type);
        QFETCH(QString, typed);
        QFETCH(QJsonValue, expected);
        Form f({field("x", type, QJsonValue::Null, {{"nullable", true}})});
        f.type("x", typed);
        QCOMPARE(f.value("x"), expected);
        QCOMPARE(f.form.firstProblem(), QString());
        QCOMPARE(f.form.values("train")["x"], expected);
    }

    void whatIsNoValueIsSaidAndChangesNothing_data() {
        QTest::addColumn<QString>("type");
        QTest::addColumn<QString>("typed");
        QTest::addColumn<QJsonValue>("fallback");
        QTest::newRow("integer") << "integer" << "4.5" << QJsonValue(4);
        QTest::newRow("real") << "real" << "fast" << QJsonValue(0.5);
        QTest::newRow("integers") << "integers" << "1, two" << QJsonValue(QJsonArray{1});
        QTest::newRow("number map") << "number_map" << "q_proj=3" << QJsonValue(QJsonObject{});
    }
    void whatIsNoValueIsSaidAndChangesNothing() {
        QFETCH(QString, type);
        QFETCH(QString, typed);
        QFETCH(QJsonValue, fallback);
        Form f({field("x", type, fallback)});
        f.type("x", typed);
        QVERIFY2(f.form.firstProblem().startsWith("The x: "), qPrintable(f.form.firstProblem()));
        f.form.clearProblems();  // an estimate that succeeded must not hide what was mistyped
        QVERIFY(!f.form.firstProblem().isEmpty());
    }

    void rangesAreCheckedWhileTyping() {
        Form f({field("low", "integer", 8, {{"minimum", 1}}),
                field("both", "real", 0.1, {{"minimum", 0}, {"maximum", 0.9}}),
                field("open", "real", 1.0, {{"minimum", 0}, {"minimum_exclusive", true}})});
        f.type("low", "0");
        QCOMPARE(f.form.firstProblem(), QString("The low: At least 1"));
        f.type("low", "1");
        QCOMPARE(f.form.firstProblem(), QString());
        f.type("both", "1.5");
        QCOMPARE(f.form.firstProblem(), QString("The both: From 0 to 0.9"));
        f.type("both", "0.5");
        QCOMPARE(f.form.firstProblem(), QString());
        f.type("open", "0");
        QCOMPARE(f.form.firstProblem(), QString("The open: More than 0"));
    }

    void togglesAndChoicesGiveTheirValue() {
        Form f({field("flag", "boolean", false),
                field("pick", "choice", "linear", {{"choices", QJsonArray{"linear", "cosine"}}}),
                field("init", "boolean_or_choice", true, {{"choices", QJsonArray{"gaussian"}}})});
        QTest::mouseClick(f.editor<Toggle>("flag"), Qt::LeftButton);
        QCOMPARE(f.value("flag"), QJsonValue(true));
        const auto choose = [&](const QString& key, const QString& text) {
            auto* combo = f.editor<QComboBox>(key);
            const int index = combo->findText(text);
            QVERIFY(index >= 0);
            combo->setFocus();
            while (combo->currentIndex() != index)
                QTest::keyClick(combo, combo->currentIndex() < index ? Qt::Key_Down : Qt::Key_Up);
        };
        choose("pick", "cosine");
        QCOMPARE(f.value("pick"), QJsonValue("cosine"));
        choose("init", "no");
        QCOMPARE(f.value("init"), QJsonValue(false));
        choose("init", "gaussian");
        QCOMPARE(f.value("init"), QJsonValue("gaussian"));
    }

    void linesBecomeTexts() {
        Form f({field("prompts", "texts", QJsonArray{})});
        auto* edit = f.editor<QPlainTextEdit>("prompts");
        edit->setFocus();
        QTest::keyClicks(edit, "one");
        QTest::keyClick(edit, Qt::Key_Return);
        QTest::keyClicks(edit, "two, three");
        QCOMPARE(f.value("prompts"), QJsonValue(QJsonArray{"one", "two, three"}));
    }

    void emptyingANullableFieldGivesNull() {
        Form f({field("steps", "integer", 100, {{"nullable", true}})});
        f.type("steps", "");
        QVERIFY(f.value("steps").isNull());
        QVERIFY(f.form.values("train").contains("steps"));
    }

    void defaultsAreLeftOutAndDottedKeysNest() {
        Form f({field("loss.unlikelihood", "real", 0.0), field("seed", "integer", 42)});
        QVERIFY(f.form.values("train").isEmpty());
        f.type("loss.unlikelihood", "0.5");
        QCOMPARE(f.form.values("train"),
                 (QJsonObject{{"loss", QJsonObject{{"unlikelihood", 0.5}}}}));
        f.type("loss.unlikelihood", "0");
        QVERIFY(f.form.values("train").isEmpty());
    }

    void theDotRestoresTheDefaultByMouseAndByKeyboard() {
        Form f({field("seed", "integer", 42)});
        auto* edit = f.editor<QLineEdit>("seed");
        QWidget* row = edit;
        while (row->parentWidget() != &f.form) row = row->parentWidget();
        for (const bool byMouse : {true, false}) {
            f.type("seed", "7");
            QCOMPARE(f.form.changedCount(), 1);
            if (byMouse)
                QTest::mouseClick(row, Qt::LeftButton, {}, QPoint(6, 14));
            else
                QTest::keyClick(edit, Qt::Key_R, Qt::ControlModifier);
            QCOMPARE(f.form.changedCount(), 0);
            QCOMPARE(edit->text(), QString("42"));
        }
    }

    void aFieldShowsOnlyWhenItApplies() {
        Form f(
            {field("schedule", "choice", "linear", {{"choices", QJsonArray{"linear", "cosine"}}}),
             field("cycles", "integer", 1,
                   {{"applies_when",
                     QJsonObject{{"key", "schedule"}, {"values", QJsonArray{"cosine"}}}}})});
        const auto hasCycles = [&] {
            for (QLineEdit* edit : f.form.findChildren<QLineEdit*>())
                if (edit->accessibleName() == "The cycles" && edit->isVisible()) return true;
            return false;
        };
        QVERIFY(!hasCycles());
        f.form.setValues("train", {{"schedule", "cosine"}, {"cycles", 3}});
        QTRY_VERIFY(hasCycles());
        QCOMPARE(f.form.values("train")["cycles"].toInt(), 3);
        f.form.setValues("train", {{"schedule", "linear"}, {"cycles", 3}});
        QVERIFY(!hasCycles());
        QVERIFY2(!f.form.values("train").contains("cycles"),
                 "a value that does not apply must not reach the engine");
    }

    void aProblemOfTheEngineStandsUnderItsField() {
        Form f({field("learning_rate", "real", 2e-4)});
        f.form.setProblem("train.learning_rate", "Too high.");
        QCOMPARE(f.form.firstProblem(), QString("The learning_rate: Too high."));
        bool isShown = false;
        for (QLabel* label : f.form.findChildren<QLabel*>())
            isShown = isShown || (label->isVisible() && label->text() == "Too high.");
        QVERIFY(isShown);
        f.form.clearProblems();
        QCOMPARE(f.form.firstProblem(), QString());
    }

    void everyEditorHasANameAndHelpFollowsTheFocus() {
        Form f({field("a", "integer", 1), field("b", "boolean", false),
                field("c", "choice", "x", {{"choices", QJsonArray{"x"}}}),
                field("d", "texts", QJsonArray{})});
        QSignalSpy help(&f.form, &SchemaForm::helpWanted);
        f.editor<QPlainTextEdit>("d")->setFocus();
        QTRY_COMPARE(help.count(), 1);
        QCOMPARE(help[0][2].toString(), QString("About d"));
        f.editor<QLineEdit>("a")->setFocus();
        QTRY_COMPARE(help.count(), 2);
        QCOMPARE(help[1][2].toString(), QString("About a"));
        QVERIFY(f.editor<Toggle>("b"));
        QVERIFY(f.editor<QComboBox>("c"));
        QVERIFY(f.editor<QPlainTextEdit>("d"));
    }
};

int main(int argc, char** argv) { return runTest<SchemaFormTest>(argc, argv); }
#include "schema_form_test.moc"
