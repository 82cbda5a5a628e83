// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/field_editor.h"

#include "theme/format.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"

#include <QComboBox>
#include <QEvent>
#include <QFileDialog>
#include <QJsonArray>
#include <QJsonDocument>
#include <QPlainTextEdit>
#include <QPointer>
#include <QRegularExpression>
#include <QWheelEvent>

#include <cmath>

namespace luthier::ui {

QString valueText(const QJsonValue& value) {
    if (value.isNull() || value.isUndefined()) return {};
    if (value.isDouble()) return format::real(value.toDouble());
    if (value.isBool()) return value.toBool() ? "true" : "false";
    if (value.isString()) return value.toString();
    if (value.isArray()) {
        QStringList parts;
        for (const QJsonValue& item : value.toArray()) parts << valueText(item);
        return parts.join(", ");
    }
    return QString::fromUtf8(QJsonDocument(value.toObject()).toJson(QJsonDocument::Compact));
}

QString rangeProblem(const QJsonObject& field, const QJsonValue& value) {
    if (!value.isDouble()) return {};
    const double v = value.toDouble();
    const bool hasLow = field.contains("minimum"), hasHigh = field.contains("maximum");
    const double low = field["minimum"].toDouble(), high = field["maximum"].toDouble();
    const bool isLow = hasLow && (field["minimum_exclusive"].toBool() ? v <= low : v < low),
               isHigh = hasHigh && v > high;
    if (!isLow && !isHigh) return {};
    if (hasLow && hasHigh && high < 1e8)
        return QObject::tr("From %1 to %2").arg(format::real(low), format::real(high));
    return isLow ? (field["minimum_exclusive"].toBool()
                        ? QObject::tr("More than %1").arg(format::real(low))
                        : QObject::tr("At least %1").arg(format::real(low)))
                 : QObject::tr("At most %1").arg(format::real(high));
}

namespace {

constexpr int kRanks[] = {8, 16, 32, 64};

class TextEditor final : public FieldEditor {
public:
    explicit TextEditor(const QJsonObject& field)
        : m_type(field["type"].toString()), m_isNullable(field["nullable"].toBool()) {
        m_edit = new UnitField(field["unit"].toString());
        m_edit->setAccessibleName(field["label"].toString());
        if (m_isNullable) m_edit->setPlaceholderText(tr("none"));
        auto* row = makeRow(6);
        row->addWidget(m_edit, 1);
        const bool isNumber = m_type == "integer" || m_type == "real";
        m_edit->setMaximumWidth(isNumber ? px(150) : 400);
        if (field["key"].toString() == "r") {
            m_edit->setMaximumWidth(px(58));
            m_presets = new SegmentedControl({"8", "16", "32", "64"}, 26);
            m_presets->setAccessibleName(tr("Usual ranks"));
            connect(m_presets, &SegmentedControl::changed, this,
                    [this](int index) { emit edited(kRanks[index]); });
            row->addWidget(m_presets);
        }
        if (m_type == "path") {
            auto* browse = makeIconButton("folder", tr("Choose…"));
            connect(browse, &QPushButton::clicked, this, [this] {
                const QPointer<TextEditor> still(
                    this);  // the form may be built anew while the dialog is open
                const QString path = QFileDialog::getExistingDirectory(
                    window(), tr("Choose a folder"), m_edit->text());
                if (still && !path.isEmpty()) emit edited(path);
            });
            row->addWidget(browse);
        }
        row->addStretch(0);
        setLayout(row);
        setMinimumWidth(px(96));  // the presets give way before the form grows wider than its pane
        m_edit->installEventFilter(this);
        connect(m_edit, &QLineEdit::textEdited, this, &TextEditor::parse);
    }
    void setValue(const QJsonValue& value) override {
        const QString text = valueText(value);
        if (!m_edit->hasFocus() || m_edit->text() != text) {
            // While typing, "2e-4" stays what was typed although its value prints as 0.0002 or the
            // other way round.
            bool same = m_edit->hasFocus() && !text.isEmpty() &&
                        m_edit->text().toDouble() == text.toDouble() &&
                        (m_type == "real" || m_type == "integer");
            if (!same && !(m_edit->hasFocus() &&
                           (m_type == "names" || m_type == "integers" || m_type == "number_map"))) {
                m_edit->setText(text);
                if (!m_edit->hasFocus()) m_edit->setCursorPosition(0);
            }
        }
        if (m_presets) {
            int index = -1;
            for (int i = 0; i < 4; ++i)
                if (value.toInt() == kRanks[i]) index = i;
            m_presets->setCurrent(index);
        }
    }
    void setProblem(bool isProblem) override { setLook(m_edit, "state", isProblem ? "err" : ""); }

protected:
    void resizeEvent(QResizeEvent*) override {
        if (m_presets)
            m_presets->setVisible(width() >=
                                  m_edit->maximumWidth() + 6 + m_presets->sizeHint().width());
    }

private:
    bool eventFilter(QObject*, QEvent* event) override {
        if (event->type() == QEvent::FocusIn) emit focused();
        return false;
    }
    void parse(const QString& typed) {
        const QString text = typed.trimmed();
        if (text.isEmpty() && (m_isNullable || m_type == "names" || m_type == "integers"))
            return emit edited(QJsonValue::Null);
        bool ok = true;
        if (m_type == "integer") {
            const qint64 value = QString(text).remove(',').toLongLong(&ok);
            return ok ? emit edited(value) : emit invalid(tr("A whole number"));
        }
        if (m_type == "real") {
            const double value = text.toDouble(&ok);
            return ok && std::isfinite(value) ? emit edited(value)
                                              : emit invalid(tr("A number, such as 2e-4"));
        }
        if (m_type == "names" || m_type == "integers") {
            QJsonArray items;
            for (const QString& part : text.split(',', Qt::SkipEmptyParts)) {
                if (m_type == "names")
                    items << part.trimmed();
                else if (const int value = part.trimmed().toInt(&ok); ok)
                    items << value;
                else
                    return emit invalid(tr("Whole numbers with commas between"));
            }
            const bool isExpression = m_type == "names" && items.size() == 1 &&
                                      text.contains(QRegularExpression("[*^$|()\\\\]"));
            return emit edited(isExpression ? QJsonValue(text) : QJsonValue(items));
        }
        if (m_type == "number_map") {
            QJsonParseError error;
            const QJsonDocument document = QJsonDocument::fromJson(text.toUtf8(), &error);
            return document.isObject() ? emit edited(document.object())
                                       : emit invalid(tr("An object, such as {\"q_proj\": 16}"));
        }
        emit edited(typed);
    }

    QString m_type;
    bool m_isNullable;
    UnitField* m_edit;
    SegmentedControl* m_presets = nullptr;
};

class WheelShield final
    : public QObject {  // a wheel over a closed combo scrolls the page, it never changes a value
public:
    using QObject::QObject;
    bool eventFilter(QObject*, QEvent* event) override {
        if (event->type() != QEvent::Wheel) return false;
        event->ignore();
        return true;
    }
};

class ChoiceEditor final : public FieldEditor {
public:
    explicit ChoiceEditor(const QJsonObject& field) {
        m_combo = new QComboBox;
        m_combo->setAccessibleName(field["label"].toString());
        if (field["type"] == "boolean_or_choice") {
            m_combo->addItem(tr("yes"), true);
            m_combo->addItem(tr("no"), false);
        }
        if (field["nullable"].toBool()) m_combo->addItem(tr("none"), QVariant());
        for (const QJsonValue& choice : field["choices"].toArray())
            m_combo->addItem(QString(choice.toString()).replace('_', ' '), choice.toString());
        m_combo->installEventFilter(new WheelShield(this));
        m_combo->installEventFilter(this);
        m_combo->setMinimumWidth(px(100));
        auto* row = makeRow(0);
        row->addWidget(m_combo, 1);
        setLayout(row);
        connect(m_combo, &QComboBox::activated, this, [this](int index) {
            emit edited(QJsonValue::fromVariant(m_combo->itemData(index)));
        });
    }
    void setValue(const QJsonValue& value) override {
        for (int i = 0; i < m_combo->count(); ++i)
            if (QJsonValue::fromVariant(m_combo->itemData(i)) == value)
                return m_combo->setCurrentIndex(i);
    }

private:
    bool eventFilter(QObject*, QEvent* event) override {
        if (event->type() == QEvent::FocusIn) emit focused();
        return false;
    }
    QComboBox* m_combo;
};

class ToggleEditor final : public FieldEditor {
public:
    explicit ToggleEditor(const QJsonObject& field) {
        m_toggle = new Toggle(field["label"].toString());
        auto* row = makeRow(0);
        row->addWidget(m_toggle);
        row->addStretch(1);
        setLayout(row);
        connect(m_toggle, &QAbstractButton::clicked, this, [this](bool on) {
            emit focused();
            emit edited(on);
        });
    }
    void setValue(const QJsonValue& value) override { m_toggle->setChecked(value.toBool()); }

private:
    Toggle* m_toggle;
};

class LinesEditor final : public FieldEditor {
public:
    explicit LinesEditor(const QJsonObject& field) {
        m_edit = new QPlainTextEdit;
        m_edit->setAccessibleName(field["label"].toString());
        m_edit->setPlaceholderText(tr("one per line"));
        m_edit->setFixedHeight(px(72));
        m_edit->setTabChangesFocus(true);
        auto* row = makeRow(0);
        row->addWidget(m_edit, 1);
        setLayout(row);
        m_edit->installEventFilter(this);
        connect(m_edit, &QPlainTextEdit::textChanged, this, [this] {
            if (m_isSetting) return;
            QJsonArray lines;
            for (const QString& line : m_edit->toPlainText().split('\n'))
                if (!line.isEmpty()) lines << line;
            emit edited(lines);
        });
    }
    void setValue(const QJsonValue& value) override {
        if (m_edit->hasFocus()) return;
        QStringList lines;
        for (const QJsonValue& line : value.toArray()) lines << line.toString();
        m_isSetting = true;
        m_edit->setPlainText(lines.join('\n'));
        m_isSetting = false;
    }

private:
    bool eventFilter(QObject*, QEvent* event) override {
        if (event->type() == QEvent::FocusIn) emit focused();
        return false;
    }
    QPlainTextEdit* m_edit;
    bool m_isSetting = false;
};

}  // namespace

FieldEditor* makeFieldEditor(const QJsonObject& field) {
    const QString type = field["type"].toString();
    if (type == "boolean") return new ToggleEditor(field);
    if (type == "choice" || type == "boolean_or_choice") return new ChoiceEditor(field);
    if (type == "texts") return new LinesEditor(field);
    return new TextEditor(field);
}

}  // namespace luthier::ui
