// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// What a run will cost, before the click: trainable parameters, file size, memory by part against
// the device, and Start.

#include "widgets/memory_bar.h"

#include <QJsonArray>
#include <QJsonObject>
#include <QWidget>

class QLabel;
class QPushButton;
class QVBoxLayout;

namespace luthier::ui {

class Banner;
class PaneHeader;
class StatTile;

class EstimatePane final : public QWidget {
    Q_OBJECT
public:
    EstimatePane();
    void showEstimate(const QJsonObject& estimate,
                      double secondsPerStep);  ///< NaN: no like run to go by
    void showProblem(const QString& message, const QString& hint);
    void showWaiting(const QString& words);
    void setStart(bool enabled, const QString& tip, const QString& words);

signals:
    void startClicked();
    void queueClicked();
    void compareClicked();

private:
    void showWarnings(const QJsonArray& warnings);

    PaneHeader* m_header;
    QLabel *m_verdict, *m_verdictIcon, *m_count, *m_percent, *m_memoryTotal, *m_device,
        *m_evaluation, *m_note;
    ParameterBar* m_share;
    StatTile *m_file, *m_steps, *m_time;
    MemoryBar* m_bar;
    QWidget* m_legend;
    QWidget* m_body;
    Banner* m_problem;
    QPushButton *m_start, *m_queue, *m_compare;
};

}  // namespace luthier::ui
