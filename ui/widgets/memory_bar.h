// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Bytes by part against a capacity: frozen, trained, activations, logits, hatch; capacity as a line
// in t1, what is over it dashed.

#include <QWidget>

#include <vector>

namespace luthier::ui {

enum class MemoryPart { Frozen, Trained, Activations, Logits, Other };

struct MemoryShare {
    MemoryPart part;
    double bytes;
};

QColor memoryColor(MemoryPart part);

class MemoryBar final : public QWidget {
    Q_OBJECT
public:
    explicit MemoryBar(int barHeight = 16);
    /// `scale` is the width's worth in bytes; 0 takes the larger of sum and capacity.
    void set(std::vector<MemoryShare> shares, double capacity, double scale = 0);
    QSize sizeHint() const override { return {200, m_barHeight + 8}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    int m_barHeight;
    std::vector<MemoryShare> m_shares;
    double m_capacity = 0, m_scale = 0;
};

/// One share of a whole: trained in acc, the rest frozen grey; and rows of names with bars and
/// counts.
class ParameterBar final : public QWidget {
    Q_OBJECT
public:
    ParameterBar();
    void set(double share);
    QSize sizeHint() const override { return {120, 6}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    double m_share = 0;
};

struct NamedCount {
    QString name;
    double value;
    QString words;
    QColor color;
    QString note;  ///< t3 after the words
};

class CountBars final : public QWidget {
    Q_OBJECT
public:
    explicit CountBars(bool monoNames = true);
    void set(std::vector<NamedCount> rows, double scale = 0);
    QSize sizeHint() const override;
    QSize minimumSizeHint() const override { return {120, sizeHint().height()}; }

protected:
    void paintEvent(QPaintEvent*) override;

private:
    bool m_monoNames;
    std::vector<NamedCount> m_rows;
    double m_scale = 0;
};

}  // namespace luthier::ui
