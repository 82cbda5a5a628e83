// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A form made from settings schemas (`luthier-cli methods --json`): one row per field, two columns,
// a dot on what differs from its default, a problem under the field it names. The values live here
// as flat dotted keys per section; what the engine gets is nested and holds only what was changed.

#include <QJsonArray>
#include <QJsonObject>
#include <QWidget>

#include <map>
#include <vector>

class QLabel;
class QVBoxLayout;

namespace luthier::ui {

class FieldRow;

struct FormSection {
    QString key;  ///< "method", "train"; the first part of problem fields
    QString title;
    QJsonArray fields;
    int column = 0;
    QStringList hidden;  ///< keys that another part of the page edits
};

class SchemaForm final : public QWidget {
    Q_OBJECT
public:
    SchemaForm();
    ~SchemaForm() override;

    void setSections(const std::vector<FormSection>& sections);
    /// Replaces the values of a section by a nested object; missing keys take their defaults.
    void setValues(const QString& section, const QJsonObject& nested);
    QJsonObject values(const QString& section) const;  ///< nested, changed ones only
    QJsonValue value(const QString& section, const QString& key) const;
    void setValue(const QString& section, const QString& key, const QJsonValue& value);
    bool hasField(const QString& section, const QString& key) const;
    QJsonValue defaultOf(const QString& section, const QString& key) const;

    void setShowAll(bool all);
    void setFilter(const QString& text);
    int changedCount() const;
    int fieldCount() const;
    void resetAll();
    /// Marks fields; "" clears. Fields are dotted as in RUN.json: "train.learning_rate".
    void setProblem(const QString& dottedField, const QString& message);
    void clearProblems();
    QString firstProblem() const;

signals:
    void changed();
    void helpWanted(const QString& label, const QString& key, const QString& help);

private:
    void rebuild();
    void addRow(QVBoxLayout* column, const FormSection& section, const QJsonObject& field);
    bool applies(const FormSection& section, const QJsonObject& field) const;
    void userEdited(const QString& section, const QString& key, const QJsonValue& value);
    void refreshRows();

    std::vector<FormSection> m_sections;
    std::map<QString, QJsonObject> m_values;  ///< by section, flat dotted keys
    std::vector<FieldRow*> m_rows;
    QString m_filter;
    bool m_showAll = false;
    QVBoxLayout* m_columns[2];
};

QJsonValue findDotted(const QJsonObject& object, const QString& dottedKey);
void setDotted(QJsonObject& object, const QString& dottedKey, const QJsonValue& value);

}  // namespace luthier::ui
