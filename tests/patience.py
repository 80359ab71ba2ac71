"""How long tests wait for what is sure to come. Leaves out times that are what a test is about: those stand in the test.

Rule: a limit on waiting is a guard against a test that would hang for ever, and nothing is shown by it. A machine that is
busy with other work takes many times as long as an idle one, so there is one limit for all, and only a broken test meets it.
Where something else would end the waiting by itself, as the end of a lease would, the test makes that later than this.
"""

from __future__ import annotations

PATIENCE_S = 120
