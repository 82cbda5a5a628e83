// SPDX-License-Identifier: GPL-3.0-or-later
#include "client/run_record.h"
#include "plots/minmax_pyramid.h"
#include "plots/smoothing.h"

#include <QTest>

#include <cmath>

using namespace luthier::ui;

class PlotDataTest final : public QObject {
    Q_OBJECT
private slots:
    void pyramidEqualsPlainScanOnEveryRange() {
        std::vector<float> values;
        MinMaxPyramid pyramid;
        for (int i = 0; i < 1000; ++i) {
            values.push_back(static_cast<float>((i * 7919) % 1013));
            if (i % 37 == 0) pyramid.extend(values);
        }
        values[500] = std::nanf("");
        pyramid.clear();
        pyramid.extend(values);
        for (std::size_t a = 0; a < 1000; a += 13)
            for (std::size_t b = a + 1; b <= 1000; b += 17) {
                MinMax plain;
                for (std::size_t i = a; i < b; ++i) plain.add(values[i]);
                const MinMax fast = pyramid.query(values, a, b);
                QCOMPARE(fast.low, plain.low);
                QCOMPARE(fast.high, plain.high);
            }
    }
    void smoothingOfAConstantIsThatConstant() {
        Smoother smoother(0.9);
        const std::vector<float> in(50, 2.5f);
        std::vector<float> out;
        smoother.extend(in, out);
        for (float v : out) QVERIFY(std::fabs(v - 2.5f) < 1e-5f);
    }
    void resumingDropsStepsTakenAgain() {
        RunRecord record;
        for (int i = 1; i <= 10; ++i)
            record.applyLine(QStringLiteral("{\"type\":\"step\",\"time\":1,\"run\":\"a\",\"step\":%"
                                            "1,\"loss\":2.0,\"tokens\":10,\"step_seconds\":0.1}")
                                 .arg(i)
                                 .toStdString());
        record.applyLine("{\"type\":\"resumed\",\"time\":2,\"run\":\"a\",\"step\":4}");
        QCOMPARE(record.curves.size(), std::size_t(4));
        QCOMPARE(record.curves.tokens.back(), 40.0f);
    }
    void lossThatIsNotANumberIsKeptAsSuch() {
        RunRecord record;
        record.applyLine("{\"type\":\"step\",\"step\":1,\"loss\":null,\"loss_state\":\"nan\"}");
        QVERIFY(std::isnan(record.curves.loss.back()));
    }
};

QTEST_GUILESS_MAIN(PlotDataTest)
#include "plot_data_test.moc"
