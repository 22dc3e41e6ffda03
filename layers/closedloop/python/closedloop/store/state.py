"""The State table: what is derived from the ledger or declared by owners.

| pk            | sk                          | what                                                      |
|---------------|-----------------------------|-----------------------------------------------------------|
| S#site        | CURRENT                     | a site's definition                                       |
| S             | site                        | which sites there are                                     |
| S#site        | M#kind#source               | how the files of a source are read that are dropped       |
| C#source      | CLAIM                       | which import of a source writes now                       |
| K#key-hash    | SITE                        | whose write key this is, and whether it is secret         |
| O#origin      | SITE                        | that pages of this origin belong to a site                |
| L#loop        | CURRENT, V#version          | a loop's definition, each version for ever                |
| L#loop        | A#moment#version            | who took that version, from which report                  |
| L             | loop                        | which loops there are                                     |
| N#node        | E#strong or E#node          | evidence that two nodes belong together                   |
| P#person      | PROFILE                     | the fold, with the mark that a decision is due; or the id |
|               |                             | that the person moved to, when two became one             |
| P#person      | CONTACT                     | name and address, the only clear ones                     |
| P#person      | POS#loop                    | where the person stands                                   |
| R#loop#stage  | window#n                    | that a slot of a stage's capacity is taken                |
| P#person      | T#loop#n, V#loop#n#gate     | transitions and verdicts, written once                    |
| P#person      | A#loop#version#campaign     | an action: pending, claimed, sent, failed, unknown        |
| P#person      | M#loop#version#campaign     | how the action ended                                      |
| P#person      | A#~question#submission      | a consent that its address is to confirm, and the mail    |
| A#key         | person                      | that a person has a key of an account, with all their keys |
| GA#group#shard| key                         | which account keys a customer list holds                  |
| G#group#shard | person                      | which persons a customer list holds                       |
| X#identifier  | SUPPRESSED                  | nobody mails this address again                           |
| X#identifier  | ASKED                       | when this address was asked to confirm, of late           |
| W#network     | ASKED                       | when somebody of this network had others asked, of late   |
| X#identifier  | MAILED, FACT#at, ERASING    | and more of an address, see rights.py                     |
| ERASED, ERASURES | tombstone, at#name       | who names nobody any more, and that it was done           |
| NOTICE#loop   | at#person#campaign#version# | a notice to sales and how its delivery to a channel stands |
|               | channel                     |                                                           |
| TASK#loop     | person#campaign#version     | a call to make, and how it ended                          |
| RUN#run       | RUN                         | what a run of the workflow did                            |
| REBUILD       | part of parts               | how far a rebuild of the profiles has come                |
"""

from __future__ import annotations

from closedloop.store.actions import Actions
from closedloop.store.decisions import Decisions
from closedloop.store.evidence import Evidence
from closedloop.store.loops import Loops
from closedloop.store.notices import Notices
from closedloop.store.profiles import Profiles
from closedloop.store.questions import Questions
from closedloop.store.rebuilds import Rebuilds
from closedloop.store.rights import Rights
from closedloop.store.runs import Runs
from closedloop.store.sites import Sites


class State(Sites, Loops, Evidence, Profiles, Decisions, Actions, Notices, Questions, Runs, Rights, Rebuilds):
    """Reads and writes all that is derived or declared; each room of it can be had alone.

    Errors: CallFailed when DynamoDB refuses; ProfileMoved and StageMoved when somebody was faster.
    """
