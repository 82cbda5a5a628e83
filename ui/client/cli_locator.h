// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Where things are: the engine's program, the demo, the workspace. $LUTHIER_CLI wins, then beside
// this program, then $PATH.

#include <QString>

namespace luthier::ui {

QString cliPath();     ///< "" when there is none
QString demoFolder();  ///< resources/demo beside the program, in the source tree or installed; ""
                       ///< when absent
QString defaultWorkspace();  ///< $LUTHIER_WORKSPACE, else $XDG_DATA_HOME/luthier

}  // namespace luthier::ui
