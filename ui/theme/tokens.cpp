// SPDX-License-Identifier: GPL-3.0-or-later
#include "theme/tokens.h"

namespace luthier::ui {

const Tokens& darkTokens() {
    static const Tokens tokens = [] {
        Tokens t;
        t.name = "dark";
        t.isDark = true;
        t.bg0 = QColor("#121211");
        t.bg1 = QColor("#181817");
        t.bg2 = QColor("#20201E");
        t.bg3 = QColor("#2A2A27");
        t.tip = QColor("#2A2A27");
        t.line = QColor("#2E2D2A");
        t.line2 = QColor("#4A4843");
        t.ctl = QColor("#6F6B65");
        t.t1 = QColor("#ECEAE6");
        t.t2 = QColor("#B8B4AD");
        t.t3 = QColor("#98948D");
        t.dis = QColor("#6B6862");
        t.acc = QColor("#7AA5FF");
        t.fill = QColor("#3A6BDD");
        t.fillHover = QColor("#3161D0");
        t.fillPressed = QColor("#2A55B8");
        t.soft = QColor("#1F2B45");
        t.softline = QColor("#3A5690");
        t.ok = QColor("#5CC98D");
        t.oksoft = QColor("#16291F");
        t.warn = QColor("#E8BD5A");
        t.warnsoft = QColor("#2C2516");
        t.err = QColor("#FF8A80");
        t.errsoft = QColor("#34191A");
        t.frozen = QColor("#6C6963");
        t.frozensoft = QColor("#262523");
        t.act = QColor("#B39B6E");
        t.logit = QColor("#D9C79E");
        t.field = QColor("#121211");
        t.segmentOn = QColor("#2A2A27");
        t.knob = QColor("#ECEAE6");
        t.runs = {QColor("#EBA648"), QColor("#4DADDE"), QColor("#EB5A9D"), QColor("#9DE4BC"),
                  QColor("#815BCD"), QColor("#F0E995"), QColor("#CF3E2A"), QColor("#287C75"),
                  QColor("#FEC3E5"), QColor("#829C68")};
        return t;
    }();
    return tokens;
}

const Tokens& lightTokens() {
    static const Tokens tokens = [] {
        Tokens t;
        t.name = "light";
        t.isDark = false;
        t.bg0 = QColor("#EFEDE9");
        t.bg1 = QColor("#F9F8F5");
        t.bg2 = QColor("#FFFFFF");
        t.bg3 = QColor("#E8E5DF");
        t.tip = QColor("#FFFFFF");
        t.line = QColor("#E0DCD5");
        t.line2 = QColor("#B9B3A9");
        t.ctl = QColor("#8C867C");
        t.t1 = QColor("#1D1B18");
        t.t2 = QColor("#524E47");
        t.t3 = QColor("#69655D");
        t.dis = QColor("#9A958C");
        t.acc = QColor("#1F57C9");
        t.fill = QColor("#2A62D6");
        t.fillHover = QColor("#1F57C9");
        t.fillPressed = QColor("#2A55B8");
        t.soft = QColor("#DFE8FB");
        t.softline = QColor("#9DB8F0");
        t.ok = QColor("#17693F");
        t.oksoft = QColor("#DFF1E6");
        t.warn = QColor("#7A5200");
        t.warnsoft = QColor("#FBEFD2");
        t.err = QColor("#B3261E");
        t.errsoft = QColor("#FBE4E1");
        t.frozen = QColor("#948E84");
        t.frozensoft = QColor("#EDEAE5");
        t.act = QColor("#8A6E33");
        t.logit = QColor("#A98F55");
        t.field = QColor("#FFFFFF");
        t.segmentOn = QColor("#FFFFFF");
        t.knob = QColor("#FFFFFF");
        t.runs = {QColor("#A16507"), QColor("#1A6E8D"), QColor("#9A1660"), QColor("#199D78"),
                  QColor("#551EB3"), QColor("#9C8D3F"), QColor("#AB000F"), QColor("#00423D"),
                  QColor("#BE6DC3"), QColor("#496331")};
        return t;
    }();
    return tokens;
}

const Tokens& highContrastTokens() {
    static const Tokens tokens = [] {
        Tokens t;
        t.name = "contrast";
        t.isDark = true;
        t.bg0 = QColor("#000000");
        t.bg1 = QColor("#000000");
        t.bg2 = QColor("#000000");
        t.bg3 = QColor("#1C1C1A");
        t.tip = QColor("#000000");
        t.line = QColor("#8A867E");
        t.line2 = QColor("#C8C4BC");
        t.ctl = QColor("#C8C4BC");
        t.t1 = QColor("#ECEAE6");
        t.t2 = QColor("#ECEAE6");
        t.t3 = QColor("#ECEAE6");
        t.dis = QColor("#6B6862");
        t.acc = QColor("#9BBEFF");
        t.fill = QColor("#3A6BDD");
        t.fillHover = QColor("#3161D0");
        t.fillPressed = QColor("#2A55B8");
        t.soft = QColor("#1F2B45");
        t.softline = QColor("#3A5690");
        t.ok = QColor("#5CC98D");
        t.oksoft = QColor("#16291F");
        t.warn = QColor("#E8BD5A");
        t.warnsoft = QColor("#2C2516");
        t.err = QColor("#FF8A80");
        t.errsoft = QColor("#34191A");
        t.frozen = QColor("#6C6963");
        t.frozensoft = QColor("#262523");
        t.act = QColor("#B39B6E");
        t.logit = QColor("#D9C79E");
        t.field = QColor("#000000");
        t.segmentOn = QColor("#2A2A27");
        t.knob = QColor("#ECEAE6");
        t.runs = {QColor("#EBA648"), QColor("#4DADDE"), QColor("#EB5A9D"), QColor("#9DE4BC"),
                  QColor("#815BCD"), QColor("#F0E995"), QColor("#CF3E2A"), QColor("#287C75"),
                  QColor("#FEC3E5"), QColor("#829C68")};
        return t;
    }();
    return tokens;
}

std::vector<std::pair<QString, QColor>> Tokens::named() const {
    return {
        {"bg0", bg0},
        {"bg1", bg1},
        {"bg2", bg2},
        {"bg3", bg3},
        {"tip", tip},
        {"line", line},
        {"line2", line2},
        {"ctl", ctl},
        {"t1", t1},
        {"t2", t2},
        {"t3", t3},
        {"dis", dis},
        {"acc", acc},
        {"fill", fill},
        {"fillHover", fillHover},
        {"fillPressed", fillPressed},
        {"soft", soft},
        {"softline", softline},
        {"ok", ok},
        {"oksoft", oksoft},
        {"warn", warn},
        {"warnsoft", warnsoft},
        {"err", err},
        {"errsoft", errsoft},
        {"frozen", frozen},
        {"frozensoft", frozensoft},
        {"act", act},
        {"logit", logit},
        {"field", field},
        {"segmentOn", segmentOn},
        {"knob", knob},
    };
}

QColor mix(const QColor& a, const QColor& b, double share) {
    const auto blend = [share](int x, int y) {
        return static_cast<int>(x + (y - x) * share + 0.5);
    };
    return QColor(blend(a.red(), b.red()), blend(a.green(), b.green()), blend(a.blue(), b.blue()));
}

QColor withAlpha(QColor color, double alpha) {
    color.setAlphaF(static_cast<float>(alpha));
    return color;
}

}  // namespace luthier::ui
