// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A text of the user's, scored by every column of the playground: underlined where the chosen
// column is surprised, and one bar of perplexity for each.

#include <QColor>
#include <QJsonObject>
#include <QList>
#include <QWidget>

#include <vector>

class QLabel;
class QPlainTextEdit;
class QPushButton;
class QStackedWidget;

namespace luthier::ui {

class ElidedLabel;
class HeatText;
class PerplexityBars;
class SegmentedControl;

struct PerplexityColumn {
    QString key;  ///< model, adapters and weights: what a measurement belongs to
    QString name;
    QList<QColor> colors;
    double perplexity = -1;  ///< below 0: not measured
    QString problem;
    std::vector<double> probabilities;  ///< one a token, below 0 where there is none
};

class PerplexityPane final : public QWidget {
    Q_OBJECT
public:
    PerplexityPane();
    QString text() const;
    void setText(const QString& text);
    void setBusy(bool isBusy);
    /// The columns as they are now; what was measured stays as long as all keys do.
    void setColumns(const std::vector<PerplexityColumn>& columns);
    void take(const QJsonObject& value);  ///< the answer to `perplexity`
    void showProblem(const QString& sentence);

signals:
    void measureWanted();
    void cancelWanted();
    void textEdited();

private:
    void edit();
    void showColumn(int index);

    std::vector<PerplexityColumn> m_columns;
    QStringList m_tokens;
    bool m_isBusy = false;
    QStackedWidget* m_stack;
    QPlainTextEdit* m_edit;
    HeatText* m_heat;
    ElidedLabel* m_note;
    SegmentedControl* m_choice;
    QPushButton* m_button;
    PerplexityBars* m_bars;
};

}  // namespace luthier::ui
