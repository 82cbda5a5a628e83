// SPDX-License-Identifier: GPL-3.0-or-later
#include "widgets/schema_form.h"

#include "settings/settings.h"
#include "theme/icons.h"
#include "theme/theme.h"
#include "widgets/basics.h"
#include "widgets/controls.h"
#include "widgets/field_editor.h"

#include <QKeyEvent>
#include <QMouseEvent>
#include <QPainter>

#include <functional>

namespace luthier::ui {

QJsonValue findDotted(const QJsonObject& object, const QString& dottedKey) {
    const qsizetype dot = dottedKey.indexOf('.');
    if (dot < 0)
        return object.contains(dottedKey) ? object[dottedKey] : QJsonValue(QJsonValue::Undefined);
    return findDotted(object[dottedKey.left(dot)].toObject(), dottedKey.mid(dot + 1));
}

void setDotted(QJsonObject& object, const QString& dottedKey, const QJsonValue& value) {
    const qsizetype dot = dottedKey.indexOf('.');
    if (dot < 0) {
        object[dottedKey] = value;
        return;
    }
    QJsonObject inner = object[dottedKey.left(dot)].toObject();
    setDotted(inner, dottedKey.mid(dot + 1), value);
    object[dottedKey.left(dot)] = inner;
}

/// Dot, label, editor, problem line.
class FieldRow final : public QWidget {
public:
    FieldRow(const QString& sectionKey, const QJsonObject& fieldSpec)
        : section(sectionKey), field(fieldSpec), key(fieldSpec["key"].toString()) {
        auto* column = makeColumn(2);
        auto* row = makeRow(8);
        label = new ElidedLabel(fieldSpec["label"].toString(key), "body", "t1");
        label->setFixedWidth(px(104));
        editor = makeFieldEditor(fieldSpec);
        editor->setMinimumHeight(px(28));
        row->addSpacing(px(14));
        row->addWidget(label, 0, Qt::AlignTop);
        row->addWidget(editor, 1);
        label->setFixedHeight(px(28));
        column->addLayout(row);
        problemLine = makeLabel({}, "table", "err");
        problemLine->setContentsMargins(px(130), 0, 0, 0);
        problemLine->setWordWrap(true);
        problemLine->hide();
        column->addWidget(problemLine);
        setLayout(column);
    }
    void setProblem(const QString& text) {
        problem = text;
        problemLine->setText(text);
        problemLine->setVisible(!text.isEmpty());
        editor->setProblem(!text.isEmpty());
    }
    QString section;
    QJsonObject field;
    QString key, problem;
    ElidedLabel* label;
    FieldEditor* editor;
    QLabel* problemLine;
    bool isChanged = false, isInvalid = false;  // invalid: what was typed is no value at all
    std::function<void()> onReset;

protected:
    void paintEvent(QPaintEvent*) override {
        if (!isChanged) return;
        QPainter p(this);
        p.setRenderHint(QPainter::Antialiasing);
        p.setPen(Qt::NoPen);
        p.setBrush(Theme::tokens().acc);
        p.drawEllipse(QPointF(px(6), px(14)), 3, 3);
    }
    void keyPressEvent(
        QKeyEvent* event) override {  // the dot's way for the keyboard: no editor uses Ctrl+R
        if (isChanged && onReset && event->key() == Qt::Key_R &&
            event->modifiers() == Qt::ControlModifier)
            onReset();
        else
            QWidget::keyPressEvent(event);
    }
    void mousePressEvent(QMouseEvent* event) override {
        if (isChanged && event->position().x() < px(14) && onReset) onReset();
    }
};

SchemaForm::SchemaForm() {
    auto* row = makeRow(px(16));
    row->setContentsMargins(4, 10, 16, 16);
    const int shares[] = {
        31, 25};  // the first column holds presets and lists, the second short numbers
    for (int i = 0; i < 2; ++i) {
        m_columns[i] = makeColumn(4);
        row->addLayout(m_columns[i], shares[i]);
    }
    setLayout(row);
}

SchemaForm::~SchemaForm() = default;

void SchemaForm::setSections(const std::vector<FormSection>& sections) {
    m_sections = sections;
    rebuild();
}

void SchemaForm::setValues(const QString& section, const QJsonObject& nested) {
    QJsonObject flat;
    for (const FormSection& s : m_sections) {
        if (s.key != section) continue;
        for (const QJsonValue& field : s.fields) {
            const QString key = field["key"].toString();
            const QJsonValue given = findDotted(nested, key);
            if (!given.isUndefined()) flat[key] = given;
        }
    }
    m_values[section] = flat;
    rebuild();
}

QJsonValue SchemaForm::defaultOf(const QString& section, const QString& key) const {
    for (const FormSection& s : m_sections)
        if (s.key == section)
            for (const QJsonValue& field : s.fields)
                if (field["key"].toString() == key) return field["default"];
    return QJsonValue::Undefined;
}

bool SchemaForm::hasField(const QString& section, const QString& key) const {
    return !defaultOf(section, key).isUndefined();
}

QJsonValue SchemaForm::value(const QString& section, const QString& key) const {
    const auto it = m_values.find(section);
    if (it != m_values.end() && it->second.contains(key)) return it->second[key];
    return defaultOf(section, key);
}

void SchemaForm::setValue(const QString& section, const QString& key, const QJsonValue& newValue) {
    if (value(section, key) == newValue) return;
    m_values[section][key] = newValue;
    refreshRows();
    emit changed();
}

QJsonObject SchemaForm::values(const QString& section) const {
    QJsonObject nested;
    const auto it = m_values.find(section);
    if (it == m_values.end()) return nested;
    for (const FormSection& s : m_sections) {
        if (s.key != section) continue;
        for (const QJsonValue& field : s.fields) {
            const QString key = field["key"].toString();
            if (it->second.contains(key) && it->second[key] != field["default"] &&
                applies(s, field.toObject()))
                setDotted(nested, key, it->second[key]);
        }
    }
    return nested;
}

bool SchemaForm::applies(const FormSection& section, const QJsonObject& field) const {
    const QJsonObject when = field["applies_when"].toObject();
    return when.isEmpty() ||
           when["values"].toArray().contains(value(section.key, when["key"].toString()));
}

void SchemaForm::setShowAll(bool all) {
    m_showAll = all;
    rebuild();
}

void SchemaForm::setFilter(const QString& text) {
    m_filter = text.trimmed();
    rebuild();
}

int SchemaForm::changedCount() const {
    int count = 0;
    for (const FormSection& s : m_sections) {
        const auto it = m_values.find(s.key);
        if (it == m_values.end()) continue;
        for (const QJsonValue& field : s.fields) {
            const QString key = field["key"].toString();
            count += !s.hidden.contains(key) && it->second.contains(key) &&
                     it->second[key] != field["default"];
        }
    }
    return count;
}

int SchemaForm::fieldCount() const {
    int count = 0;
    for (const FormSection& s : m_sections)
        count += static_cast<int>(s.fields.size() - s.hidden.size());
    return count;
}

void SchemaForm::resetAll() {
    for (const FormSection& s : m_sections) {
        QJsonObject kept;
        for (const QString& key : s.hidden)
            if (m_values[s.key].contains(key)) kept[key] = m_values[s.key][key];
        m_values[s.key] = kept;
    }
    rebuild();
    emit changed();
}

void SchemaForm::rebuild() {
    setUpdatesEnabled(false);
    m_rows.clear();
    for (QVBoxLayout* column : m_columns)
        while (QLayoutItem* item = column->takeAt(0)) {
            if (item->widget()) {
                item->widget()->hide();
                item->widget()->deleteLater();
            }
            delete item;
        }
    for (const FormSection& section : m_sections) {
        QVBoxLayout* column = m_columns[section.column];
        bool hasTitle = false;
        for (const QJsonValue& value : section.fields) {
            const QJsonObject field = value.toObject();
            const QString key = field["key"].toString();
            if (section.hidden.contains(key) || !applies(section, field)) continue;
            const bool isChanged = m_values[section.key].contains(key) &&
                                   m_values[section.key][key] != field["default"];
            if (!m_filter.isEmpty()) {
                if (!(field["label"].toString() + " " + key + " " + field["help"].toString())
                         .contains(m_filter, Qt::CaseInsensitive))
                    continue;
            } else if (!m_showAll && !field["usual"].toBool(true) && !isChanged) {
                continue;
            }
            if (!hasTitle) {
                auto* title = makeLabel(section.title, "group", "t3");
                title->setContentsMargins(px(14), column->count() > 0 ? 10 : 0, 0, 4);
                column->addWidget(title);
                hasTitle = true;
            }
            addRow(column, section, field);
        }
    }
    for (QVBoxLayout* column : m_columns) column->addStretch(1);
    refreshRows();
    setUpdatesEnabled(true);
}

void SchemaForm::addRow(QVBoxLayout* column, const FormSection& section, const QJsonObject& field) {
    auto* row = new FieldRow(section.key, field);
    const QString key = row->key, sectionKey = section.key;
    QString tip = field["help"].toString();
    row->label->setToolTip(tip);
    row->onReset = [this, sectionKey, key] {
        userEdited(sectionKey, key, defaultOf(sectionKey, key));
    };
    connect(row->editor, &FieldEditor::edited, this, [this, row](const QJsonValue& value) {
        row->isInvalid = false;
        row->setProblem(rangeProblem(row->field, value));
        userEdited(row->section, row->key, value);
    });
    connect(row->editor, &FieldEditor::invalid, this, [this, row](const QString& message) {
        row->isInvalid = true;
        row->setProblem(message);
        emit changed();
    });
    connect(row->editor, &FieldEditor::focused, this, [this, row] {
        emit helpWanted(row->field["label"].toString(row->key), row->key,
                        row->field["help"].toString());
    });
    column->addWidget(row);
    m_rows.push_back(row);
}

void SchemaForm::userEdited(const QString& section, const QString& key,
                            const QJsonValue& newValue) {
    const auto decides = [&](const FieldRow* row) {
        return row->field["applies_when"]["key"].toString() == key && row->section == section;
    };
    m_values[section][key] = newValue;
    bool others = std::any_of(m_rows.begin(), m_rows.end(), decides);
    for (const FormSection& s : m_sections)
        if (s.key == section)
            for (const QJsonValue& field : s.fields)
                others = others || field["applies_when"]["key"].toString() == key;
    if (others)
        rebuild();
    else
        refreshRows();
    emit changed();
}

void SchemaForm::refreshRows() {
    for (FieldRow* row : m_rows) {
        const QJsonValue now = value(row->section, row->key);
        if (row->problem.isEmpty() || !rangeProblem(row->field, now).isEmpty())
            row->editor->setValue(now);
        row->isChanged = now != row->field["default"];
        row->setToolTip(row->isChanged
                            ? tr("Default: %1. Click the dot or press Ctrl+R to restore it.")
                                  .arg(valueText(row->field["default"]).isEmpty()
                                           ? tr("none")
                                           : valueText(row->field["default"]))
                            : QString());
        row->update();
    }
}

void SchemaForm::setProblem(const QString& dottedField, const QString& message) {
    for (FieldRow* row : m_rows)
        if (row->section + "." + row->key == dottedField) row->setProblem(message);
}

void SchemaForm::clearProblems() {
    for (FieldRow* row : m_rows)
        if (!row->problem.isEmpty() && !row->isInvalid &&
            rangeProblem(row->field, value(row->section, row->key)).isEmpty())
            row->setProblem({});
}

QString SchemaForm::firstProblem() const {
    for (const FieldRow* row : m_rows)
        if (!row->problem.isEmpty())
            return row->field["label"].toString(row->key) + ": " + row->problem;
    return {};
}

}  // namespace luthier::ui
