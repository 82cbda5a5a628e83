// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One column of the playground: what sits on the base (nothing, an adapter, or several mixed by
// weight), the text it writes, and what was measured of it.

#include "theme/theme.h"

#include <QJsonObject>
#include <QWidget>

#include <vector>

class QLabel;
class QPushButton;
class QVBoxLayout;

namespace luthier::ui {

class ColorDot;
class ElidedLabel;
class HeatText;
class StatStrip;

struct AdapterChoice {
    QString path, name, words;  ///< words: "LoRA r 8"
    QColor color;
    double bytes = 0;
};

struct WeightedAdapter {
    QString path;
    double weight = 1;
    bool operator==(const WeightedAdapter&) const = default;
};

/// What a column is made of; empty = the base alone.
using ColumnSpec = QList<WeightedAdapter>;

class PlaygroundColumn final : public QWidget {
    Q_OBJECT
public:
    PlaygroundColumn();

    void setChoices(const QString& modelName, const std::vector<AdapterChoice>& choices);
    void setSpec(const ColumnSpec& spec);
    const ColumnSpec& spec() const { return m_spec; }
    QString title() const;
    QList<QColor> colors() const;
    bool isBase() const { return m_spec.isEmpty(); }
    QJsonObject request() const;  ///< {"adapters": […]}

    void begin();  ///< a new text starts
    void take(const QJsonObject& token);
    void finish(const QJsonObject& document);
    void showProblem(const QString& sentence);
    HeatText* text() { return m_text; }
    double cacheBytes() const { return m_cacheBytes; }

signals:
    void specWanted(const luthier::ui::ColumnSpec& spec, bool isWeightOnly);
    void removeWanted();

private:
    void openMenu();
    void showSpec();
    const AdapterChoice* choice(const QString& path) const;

    std::vector<AdapterChoice> m_choices;
    QString m_modelName;
    ColumnSpec m_spec;
    ColorDot* m_dot;
    ElidedLabel *m_title, *m_note;
    QPushButton* m_menu;
    QWidget* m_mix;
    QVBoxLayout* m_sliders;
    QLabel* m_problem;
    HeatText* m_text;
    StatStrip* m_stats;
    int m_count = 0;
    double m_cacheBytes = 0;
};

}  // namespace luthier::ui
