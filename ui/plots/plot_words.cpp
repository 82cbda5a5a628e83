// SPDX-License-Identifier: GPL-3.0-or-later
// A plot for those who do not see it: one sentence and a table.
#include "plots/plot.h"

#include "theme/format.h"

#include <cmath>

namespace luthier::ui {

QString Plot::xWords(double x) const {
    if (m_group.unit() == XUnit::Time) return format::duration(x);
    if (m_group.unit() == XUnit::Tokens) return tr("%1 tokens").arg(format::shortCount(x));
    return tr("step %1").arg(format::count(static_cast<std::int64_t>(std::llround(x))));
}

QString Plot::summary() const {
    constexpr std::size_t kNamed = 12;
    QStringList parts;
    std::size_t shown = 0;
    const auto text = [this](float value) { return yText ? yText(value) : format::loss(value); };
    for (const auto& curve : curves) {
        if (curve->isRaw || !curve->isVisible || !curve->y || curve->y->empty()) continue;
        if (++shown > kNamed) continue;
        const QString values = tr("%1 at the start, %2 at the end, %3 points")
                                   .arg(text(curve->y->front()), text(curve->y->back()),
                                        format::count(static_cast<std::int64_t>(curve->y->size())));
        const QString name = curve->meaning.isEmpty() ? curve->label : curve->meaning;
        parts << (name.isEmpty() ? values : tr("%1 %2").arg(name, values));
    }
    if (shown > kNamed) parts << tr("and %1 more curves").arg(shown - kNamed);
    if (!pointLabel.isEmpty()) parts << pointLabel;
    return parts.isEmpty() ? tr("%1: no points yet.").arg(accessibleName())
                           : accessibleName() + ": " + parts.join("; ") + ".";
}

PlotNumbers Plot::numbers() const {
    constexpr int kRows = 60;
    PlotNumbers numbers;
    std::vector<const PlotCurve*> shown;
    const PlotCurve* longest = nullptr;
    for (const auto& curve : curves) {
        if (!curve->isVisible || !curve->x || !curve->y || curve->x->empty()) continue;
        shown.push_back(curve.get());
        if (!longest || curve->x->size() > longest->x->size()) longest = curve.get();
    }
    if (!longest) return numbers;
    numbers.columns << (m_group.unit() == XUnit::Step     ? tr("step")
                        : m_group.unit() == XUnit::Tokens ? tr("tokens")
                                                          : tr("time"));
    for (const PlotCurve* curve : shown)
        numbers.columns << (!curve->meaning.isEmpty() ? curve->meaning
                            : !curve->label.isEmpty() ? curve->label
                            : curve->isRaw            ? tr("raw")
                                                      : accessibleName());
    const auto& x = *longest->x;
    const auto first =
        std::lower_bound(x.begin(), x.end(), static_cast<float>(m_group.low())) - x.begin();
    const auto last =
        std::upper_bound(x.begin(), x.end(), static_cast<float>(m_group.high())) - x.begin();
    const auto count = std::min<std::ptrdiff_t>(kRows, last - first);
    for (std::ptrdiff_t i = 0; i < count; ++i) {
        const float at = x[static_cast<std::size_t>(
            count < 2 ? first : first + i * (last - 1 - first) / (count - 1))];
        QStringList row{m_group.xNumber(at)};
        for (const PlotCurve* curve : shown) {
            const int k = at > curve->x->back() ? -1 : nearest(*curve, at);
            const float value = k < 0 ? std::numeric_limits<float>::quiet_NaN()
                                      : (*curve->y)[static_cast<std::size_t>(k)];
            row << (yText && std::isfinite(value) ? yText(value) : format::loss(value));
        }
        numbers.rows.push_back(row);
    }
    return numbers;
}

}  // namespace luthier::ui
