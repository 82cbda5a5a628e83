// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The 96 px head of a run: state, name, numbers, progress with evaluation ticks, Pause, Checkpoint,
// Stop.

#include "client/run_feed.h"
#include "client/run_library.h"

#include <QWidget>

class QLabel;
class QPushButton;

namespace luthier::ui {

class Chip;
class ElidedLabel;
class StatTile;

class RunProgress final : public QWidget {
    Q_OBJECT
public:
    RunProgress() { setFixedHeight(6); }
    void set(double share, std::vector<double> ticks, bool isStopped);

protected:
    void paintEvent(QPaintEvent*) override;

private:
    double m_share = 0;
    std::vector<double> m_ticks;
    bool m_isStopped = false;
};

class RunHeader final : public QWidget {
    Q_OBJECT
public:
    RunHeader();
    void show(const RunInfo& info, const RunFeed& feed, const QString& status);

signals:
    void pauseClicked();
    void checkpointClicked();
    void stopClicked();
    void resumeClicked();  ///< an interrupted or stopped run
    void editClicked();
    void tryClicked();
    void exportClicked();
    void folderClicked();
    void curvesToggled(bool shown);  ///< of a failed run, instead of what went wrong

protected:
    void resizeEvent(QResizeEvent*) override;

private:
    Chip* m_chip;
    ElidedLabel *m_name, *m_words;
    StatTile *m_step, *m_epoch, *m_elapsed, *m_left, *m_best, *m_metric, *m_speed;
    RunProgress* m_progress;
    QPushButton *m_pause, *m_checkpoint, *m_stop, *m_resume, *m_edit, *m_try, *m_export, *m_folder,
        *m_curves;
    QString m_id;
};

}  // namespace luthier::ui
