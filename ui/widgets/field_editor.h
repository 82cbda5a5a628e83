// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The editor of one setting, made by its type. It gives a JSON value or says why it cannot.

#include <QJsonObject>
#include <QJsonValue>
#include <QWidget>

namespace luthier::ui {

class FieldEditor : public QWidget {
    Q_OBJECT
public:
    virtual void setValue(const QJsonValue& value) = 0;
    virtual void setProblem(bool isProblem) { Q_UNUSED(isProblem) }

signals:
    void edited(const QJsonValue& value);
    void invalid(const QString& message);  ///< what was typed is not a value of this type
    void focused();
};

FieldEditor* makeFieldEditor(const QJsonObject& field);
/// "" when `value` lies in the field's range and choices, else a sentence.
QString rangeProblem(const QJsonObject& field, const QJsonValue& value);
QString valueText(const QJsonValue& value);

}  // namespace luthier::ui
