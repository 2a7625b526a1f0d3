/* SPDX-License-Identifier: MIT */
#pragma once

/* In a child: the thread that waited is not here, and whoever wants to hear asks again. */
void alert_child(void);
