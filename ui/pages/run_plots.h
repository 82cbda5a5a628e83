// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// The five plots of a run: loss over learning rate, gradient norm, throughput, memory. They read
// the record's vectors in place. A loss that is a sum (T-Few's) has its terms as lines of their own
// beside it.

#include "client/run_record.h"
#include "plots/plot.h"
#include "plots/smoothing.h"

#include <QWidget>

#include <array>
#include <memory>

class QLabel;
class QPushButton;
class QSlider;

namespace luthier::ui {

class PaneHeader;
class SegmentedControl;

class RunPlots final : public QWidget {
    Q_OBJECT
public:
    RunPlots();
    void setRun(int colorIndex, const QJsonObject& config, std::int64_t maxSteps);
    void show(const std::shared_ptr<const RunRecord>& record, bool isLive);
    void exportLoss();

signals:
    void rateEdited(double rate);

private:
    struct Small {
        PaneHeader* header;
        QLabel* value;
        Plot* plot;
        PlotCurve* curve;
    };
    struct Term {
        std::vector<float> RunCurves::* values;
        PlotCurve* curve;
        Smoother smoother{0.9};
        std::vector<float> smoothed;
    };
    void addTerms();
    void showTerms(const RunRecord& record, const std::vector<float>& x);
    Small makeSmall(const QString& title, Plot::YRule rule);
    const std::vector<float>& xs(const RunRecord& record) const;
    std::vector<TipRow> lossTip(double x) const;
    void smooth();

    PlotGroup m_group;
    Plot* m_loss;
    PlotCurve *m_raw, *m_smooth;
    QLabel* m_lossValue;
    SegmentedControl* m_unit;
    QSlider* m_slider;
    QPushButton* m_log;
    Small m_rate, m_norm, m_speed, m_memory;
    Smoother m_smoother{0.9};
    std::vector<float> m_smoothed;
    std::array<Term, 3> m_terms;
    std::shared_ptr<const RunRecord> m_record;  ///< held: every curve reads its vectors
    std::int64_t m_maxSteps = 0;
    double m_clip = 0;
    int m_color = 0;
};

}  // namespace luthier::ui
