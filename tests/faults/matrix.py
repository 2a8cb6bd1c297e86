"""The faults of a whole run, one after the other."""

from tests.faults import front
from tests.faults.faults import Fault, nothing
from tests.faults.fleet import LEASE_SECONDS
from tests.faults.machines import clock_moved, database_killed, database_paused, disk_full
from tests.faults.partners import (
    forged_reports,
    ordered,
    pharmacy,
    receiver_behaves,
    receiver_gone,
    receiver_slow_while_asked_again,
)
from tests.faults.processes import apis_terminated, killed, worker_stopped_past_its_lease, workers_terminated

ANYWHERE = (
    Fault("nothing", nothing),
    Fault("API killed -9", killed("api")),
    Fault("worker killed -9", killed("worker")),
    Fault("API and worker killed -9", killed("api", "worker")),
    Fault("worker stopped past its lease", worker_stopped_past_its_lease),
    Fault("APIs terminated", apis_terminated),
    Fault("workers terminated", workers_terminated),
    Fault("pharmacy hangs", pharmacy("/orders", front.hang, LEASE_SECONDS + 1)),
    Fault("pharmacy resets", pharmacy("/orders", front.reset)),
    Fault("pharmacy cuts its answer", pharmacy("/orders", front.cut_off)),
    Fault("pharmacy answers garbage", pharmacy("/orders", front.garbage)),
    Fault("pharmacy answers 500", pharmacy("/orders", front.broken)),
    Fault("pharmacy answers 429", pharmacy("/orders", front.busy)),
    Fault("pharmacy answers too late", pharmacy("/orders", front.late, LEASE_SECONDS + 1)),
    Fault("pharmacy reports twice", ordered, ("drug-duplicate-reports",)),
    Fault("pharmacy reports out of order", ordered, ("drug-out-of-order",)),
    Fault("pharmacy reports nothing", ordered, ("drug-silent",)),
    Fault("reports are forged", forged_reports),
    Fault("document is a gzip bomb", pharmacy("/documents", front.gzip_bomb)),
    Fault("document is endless", pharmacy("/documents", front.endless)),
    Fault("document is cut short", pharmacy("/documents", front.truncated)),
    Fault("document is of another type", pharmacy("/documents", front.other_type)),
    Fault("document has another checksum", pharmacy("/documents", front.other_bytes)),
    Fault("document redirects inward", pharmacy("/documents", front.redirect_inward)),
    Fault("receiver is slow, and asked again", receiver_slow_while_asked_again),
    Fault("receiver hangs", receiver_behaves(delay=LEASE_SECONDS + 2)),
    Fault("receiver answers 500", receiver_behaves(status=500)),
    Fault("receiver redirects", receiver_behaves(status=302)),
    Fault("receiver answers 410", receiver_gone),
)
ON_A_SERVER = (
    Fault("PostgreSQL killed -9", database_killed),
    Fault("PostgreSQL paused for 20 s", database_paused),
)
ON_A_SMALL_DISK = (Fault("disk full", disk_full),)
UNDER_ANOTHER_CLOCK = (
    # Work that waits by the clock waits for as long as it is wrong.
    Fault("clock 2 days back and right again", clock_moved("-2d", back_again=True)),
    Fault("clock 3 h ahead", clock_moved("+3h")),
)
